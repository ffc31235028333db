//! Deep sums of one sign on tensor cores that truncate, as hardware does: each element within the bound of its arithmetic, and no
//! bias that grows with the depth.

#![allow(clippy::unwrap_used, missing_docs)]

use dlbc_ops::prim::Transform;
use dlbc_ptx::kernel::attention::{End, Group, Matrix, Operands, Tiled, TiledArgs, Unit};
use dlbc_ptx::kernel::epilogue::Epilogue;
use dlbc_ptx::kernel::gemm::{Gemm, GemmParams, Layout, Math, Tile};
use dlbc_ptx::kernel::pointwise::{Kind, Term};
use dlbc_ptx::{Params as _, Region};
use dlbc_ptxsim::{Memory, Settings, TensorSums, launch, load};

/// Rows and columns of the result, one tile.
const SIDE: usize = 64;
/// Bound on the mean error of 3xTF32, relative to the sum.
const BIAS: f64 = 1.0 / (1 << 20) as f64;

/// Draws numbers in (0, 1), the same on every run.
fn draw(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 + 0.5) / (1u64 << 24) as f32
    };
    (0..count).map(next).collect()
}

/// Relative error of every element of a product of positive matrices, `depth` deep.
fn errors(math: Math, depth: usize, tensor_sums: TensorSums) -> Vec<f64> {
    let along = Layout { depth_first: true, vectorised: true, ..Layout::default() };
    let variant = Gemm {
        transforms: [Transform::Abs; 2],
        second: None,
        layouts: [along; 2],
        tile: Tile::tensor(math),
        epilogue: Epilogue::default(),
    };
    let program = load(&variant.emit()).unwrap();
    let [a, b] = [1, 2].map(|seed| draw(SIDE * depth, seed));
    let mut memory = Memory::new(None);
    let bytes = 4 * (SIDE * depth) as u64;
    let addresses = [bytes, bytes, 4 * (SIDE * SIDE) as u64].map(|n| memory.allocate(n).unwrap());
    for (address, values) in addresses.iter().zip([&a, &b]) {
        memory.upload(*address, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
    }
    let params = GemmParams {
        a: addresses[0],
        b: addresses[1],
        c: addresses[2],
        m: SIDE as u32,
        n: SIDE as u32,
        k: depth as u32,
        slice: depth as u32,
        tiles: 1,
        batches: 1,
        a_strides: [depth as i32, 1],
        b_strides: [depth as i32, 1],
        batch: [1; 4],
        ..GemmParams::default()
    };
    let [left, right, out] = [0, 1, 2].map(|i| Region {
        address: addresses[i],
        bytes: if i < 2 { bytes } else { 4 * (SIDE * SIDE) as u64 },
    });
    let settings = Settings { tensor_sums, ..Settings::default() };
    let regions = [&[left, right][..], &[out], &[]];
    launch(&program, &params.bytes(), variant.grid(&params), &mut memory, regions, settings).unwrap();
    let mut result = vec![0; 4 * SIDE * SIDE];
    memory.download(addresses[2], &mut result).unwrap();
    let results = result.chunks(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())));
    let row = |matrix: &[f32], lane: usize| -> Vec<f64> {
        matrix[lane * depth..][..depth].iter().map(|v| f64::from(*v)).collect()
    };
    let columns: Vec<Vec<f64>> = (0..SIDE).map(|lane| row(&b, lane)).collect();
    let relative = |(i, result): (usize, f64)| {
        let exact: f64 = row(&a, i / SIDE).iter().zip(&columns[i % SIDE]).map(|(a, b)| a * b).sum();
        (result - exact) / exact
    };
    results.enumerate().map(relative).collect()
}

#[test]
fn deep_sums_of_one_sign_stay_within_their_bounds_on_truncating_units() {
    let mut faults = vec![];
    for math in [Math::Split, Math::Tf32, Math::Bf16] {
        for depth in [16, 4096, 14336] {
            for sums in [TensorSums::Rounded, TensorSums::Truncated] {
                let errors = errors(math, depth, sums);
                let bias = errors.iter().sum::<f64>() / errors.len() as f64;
                let worst = errors.iter().fold(0.0f64, |w, e| w.max(e.abs()));
                let bound = math.error(depth);
                let line = format!(
                    "{math:?}, {depth} deep, {sums:?}: mean {bias:+.2e}, worst {worst:.2e}, bound {bound:.2e}"
                );
                println!("{line}");
                // Errors from rounded operands have no sign, but few of them do not cancel.
                let biased =
                    bias.abs() > BIAS + if math == Math::Split { 0.0 } else { math.rounding() / 20.0 };
                if worst > bound || biased {
                    faults.push(line);
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Relative error of every element of `(a bᵀ) w` in an attention's kernel, for positive matrices: `a` is `[16, depth]`, `b` is
/// `[columns, depth]`, `w` is `[columns, 8]`.
fn attention_errors(operands: Operands, [depth, columns]: [usize; 2], tensor_sums: TensorSums) -> Vec<f64> {
    const ROWS: usize = 16;
    const WIDTH: usize = 8;
    let variant = Tiled {
        groups: vec![Group { depth_first: [true; 2], parts: vec![[Transform::Id; 2]] }],
        operands: vec![],
        terms: vec![(Term::Operand(0), Kind::F)],
        end: End::Product { part: Transform::Id, across: true },
        unit: Unit::Tensor(operands),
        spans: 1,
        skips: false,
    };
    let program = load(&variant.emit()).unwrap();
    let shapes = [[columns, WIDTH], [ROWS, depth], [columns, depth]];
    let sources = [3, 4, 5].map(|seed| draw(shapes[seed as usize - 3].iter().product(), seed));
    let mut memory = Memory::new(None);
    let mut region = |elements: usize| {
        let bytes = 4 * elements as u64;
        Region { address: memory.allocate(bytes).unwrap(), bytes }
    };
    let out = region(ROWS * WIDTH);
    let reads = sources.each_ref().map(|values| region(values.len()));
    for (read, values) in reads.iter().zip(&sources) {
        memory.upload(read.address, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
    }
    let matrix = |region: &Region, width: usize| Matrix {
        address: region.address,
        strides: [width as i32, 1],
        batch: [0; 4],
    };
    let args = TiledArgs {
        rows: ROWS as u32,
        columns: columns as u32,
        width: WIDTH as u32,
        batch: [1; 4],
        depths: vec![depth as u32],
        matrices: [(&out, WIDTH), (&reads[0], WIDTH), (&reads[1], depth), (&reads[2], depth)]
            .map(|(region, width)| matrix(region, width))
            .to_vec(),
    };
    let settings = Settings { tensor_sums, ..Settings::default() };
    let regions = [&reads[..], &[out], &[]];
    launch(&program, &variant.params(&args), variant.blocks(&args), &mut memory, regions, settings).unwrap();
    let mut result = vec![0; 4 * ROWS * WIDTH];
    memory.download(args.matrices[0].address, &mut result).unwrap();
    let [w, a, b] = sources.map(|values| values.into_iter().map(f64::from).collect::<Vec<f64>>());
    let row = |matrix: &[f64], row: usize| matrix[row * depth..][..depth].to_vec();
    let scores: Vec<Vec<f64>> = (0..ROWS)
        .map(|i| (0..columns).map(|j| row(&a, i).iter().zip(row(&b, j)).map(|(a, b)| a * b).sum()).collect())
        .collect();
    let relative = |(i, bytes): (usize, &[u8])| {
        let score = &scores[i / WIDTH];
        let exact: f64 = (0..columns).map(|j| score[j] * w[j * WIDTH + i % WIDTH]).sum();
        (f64::from(f32::from_le_bytes(bytes.try_into().unwrap())) - exact) / exact
    };
    result.chunks(4).enumerate().map(relative).collect()
}

#[test]
fn an_attention_of_one_sign_stays_within_its_bound_on_truncating_units() {
    let mut faults = vec![];
    for operands in [Operands::Split, Operands::Rounded] {
        for sizes in [[512, 192], [64, 1500]] {
            for sums in [TensorSums::Rounded, TensorSums::Truncated] {
                let errors = attention_errors(operands, sizes, sums);
                let bias = errors.iter().sum::<f64>() / errors.len() as f64;
                let worst = errors.iter().fold(0.0f64, |w, e| w.max(e.abs()));
                let bound: f64 = sizes.iter().map(|depth| operands.error(*depth)).sum();
                let line = format!(
                    "{operands:?}, {sizes:?}, {sums:?}: mean {bias:+.2e}, worst {worst:.2e}, bound {bound:.2e}"
                );
                println!("{line}");
                // Of two sums, one after the other.
                let biased = operands == Operands::Split && bias.abs() > 2.0 * BIAS;
                if worst > bound || biased {
                    faults.push(line);
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
