//! Products and convolutions. An element may be off by a few roundings of the sum of magnitudes that it adds up.

use dlbc_ops::prim::{ConvGeometry, Part, Prim, Window};
use dlbc_ops::tensor::{Array, Dim};
use dlbc_ptx::Params as _;
use dlbc_ptx::kernel::conv::{Conv, ConvParams, ENTRY, Way};
use dlbc_ptx::kernel::gemm::{GemmParams, Tile};

use super::{Case, Random, Role, check, expected, words};

const ROUNDING: f64 = 1e-6;

fn parts(name: &str) -> [Part; 2] {
    match name {
        n if n.contains("_abs_k_abs") => [Part::Abs; 2],
        n if n.contains("_pos_k_neg") => [Part::Pos, Part::Neg],
        n if n.contains("_square_k_one") => [Part::Square, Part::One],
        _ => [Part::Id; 2],
    }
}

fn tile(name: &str) -> Option<Tile> {
    [Tile::FLAT, Tile::SMALL, Tile::LARGE, Tile::TENSOR].into_iter().find(|t| name.ends_with(&t.name()))
}

/// Magnitudes by element, for the bound.
fn magnitudes(array: &Array) -> Vec<f64> {
    match array {
        Array::F(a) => a.iter().map(|v| v.abs()).collect(),
        Array::I(_) | Array::B(_) => vec![],
    }
}

pub fn gemm(name: &str) -> Vec<Case> {
    let integer = name.contains("integer");
    let parts = parts(name);
    // Stored with the depth outermost or innermost, as the variant likes it.
    let (ta, tb) = (name == "gemm_id_id_k_64x64x16", name == "gemm_id_id_k_64x64x16");
    let tile = tile(name).unwrap_or(Tile::SMALL);
    let (r, c, d) = (tile.rows as usize, tile.columns as usize, tile.depth as usize);
    let mut shapes =
        vec![([2, 1], r + 3, c + 5, 2 * d + 3), ([1, 3], 1, 1, 1), ([1, 1], r, c, 3 * d), ([2, 2], 3, 2, 0)];
    if integer {
        shapes = vec![([2, 3], 3, 5, 7), ([1, 2], 20, 15, 4), ([1, 1], 1, 1, 0)];
    }
    let mut random = Random::new(11);
    let mut made = vec![];
    for ([outer, inner], m, n, k) in shapes {
        let mut tensor = |dims: &[usize]| if integer { random.integers(dims) } else { random.floats(dims) };
        // `a` lacks the inner batch axis, `b` the outer one: both broadcast.
        let a = tensor(&[&[outer, 1][..], &if ta { [k, m] } else { [m, k] }].concat());
        let b = tensor(&[&[1, inner][..], &if tb { [n, k] } else { [k, n] }].concat());
        let op = |parts: [Part; 2]| Prim::MatMul { a: parts[0], b: parts[1], ta, tb };
        let size = |p: Part| if p == Part::One { p } else { Part::Abs };
        let bounds = match parts {
            [Part::Square, _] => expected(&op(parts), &[&a, &b]),
            _ => expected(&op(parts.map(size)), &[&a, &b]),
        };
        let bounds = magnitudes(&bounds);
        let pair = |swap: bool, rows: usize, columns: usize| {
            if swap { [1, rows as i32] } else { [columns as i32, 1] }
        };
        let params = GemmParams {
            m: m as u32,
            n: n as u32,
            k: k as u32,
            tiles: if integer { 1 } else { (n as u32).div_ceil(tile.columns) },
            a_strides: pair(ta, m, k),
            b_strides: pair(tb, k, n),
            batch: [1, 1, outer as u32, inner as u32],
            a_batch: [0, 0, (m * k) as i32, 0],
            b_batch: [0, 0, 0, (k * n) as i32],
            ..GemmParams::default()
        };
        let batch = (outer * inner) as u32;
        let grid = match integer {
            true => [(batch * (m * n) as u32).div_ceil(256), 1, 1],
            false => [params.tiles * batch, (m as u32).div_ceil(tile.rows), 1],
        };
        let result = expected(&op(parts), &[&a, &b]);
        let width = if integer { 2 } else { 1 };
        made.push(Case {
            shape: format!("{outer}x{inner} of {m}x{n}x{k}"),
            grid,
            buffers: vec![
                (Role::Read, words(&a)),
                (Role::Read, words(&b)),
                (Role::Write, vec![0; outer * inner * m * n * width]),
            ],
            params: Box::new(move |at| GemmParams { a: at[0], b: at[1], c: at[2], ..params }.bytes()),
            check: check(result, move |i, _| ROUNDING * bounds[i]),
        });
    }
    made
}

pub fn conv(name: &str) -> Vec<Case> {
    let way = match name {
        n if n.starts_with("conv_adjoint_strided") => Way::AdjointStrided,
        n if n.starts_with("conv_adjoint") => Way::Adjoint,
        _ => Way::Forward,
    };
    let variant = Conv { way, part: Part::Abs, bias: way == Way::Forward, tile: tile(name) };
    let strides = match way {
        Way::Forward => [2, 1, 3],
        Way::Adjoint => [1, 1, 1],
        // Every element of the data lies in some window.
        Way::AdjointStrided => [2, 1, 2],
    };
    let (rows, columns) = variant.tile.map_or((3, 40), |t| (t.rows as usize, t.columns as usize));
    let mut made = vec![];
    let mut random = Random::new(12);
    // More of both than a tile has.
    let wide = if way == Way::Forward { [4, 6, columns / 4] } else { [2, 4, columns / 8 + 1] };
    for (images, groups, channels, outputs, from) in
        [(2, 2, 2, rows + 2, wide), (1, 3, 1, 1, [3, 5, 4]), (3, 1, 5, 2, [2, 6, 5])]
    {
        let window = Window {
            kernel: vec![2, 3, 2],
            strides: strides.to_vec(),
            before: vec![1, 0, 2],
            after: vec![0, 2, 1],
            dilations: vec![1, 2, 3],
            ceil: false,
        };
        let dims: Vec<Dim> = from.iter().map(|d| Dim::known(*d as i64)).collect();
        let Ok(to) = window.output(&dims) else { continue };
        let to: Vec<usize> = to.iter().map(|d| d.as_known().unwrap() as usize).collect();
        let geometry = ConvGeometry { window, groups };
        // The adjoint has channels where the convolution has outputs.
        let (c, o) = if way == Way::Forward { (channels, outputs) } else { (outputs, channels) };
        let w = random.floats(&[o * groups, c, 2, 3, 2]);
        let bias = random.floats(&[o * groups]);
        let (x_dims, y_dims) =
            ([&[images, c * groups][..], &from].concat(), [&[images, o * groups][..], &to].concat());
        let (data, result, out, sizes) = if way == Way::Forward {
            let x = random.floats(&x_dims);
            let op = |w| Prim::Conv { geometry: geometry.clone(), w };
            let result = expected(&op(Part::Abs), &[&x, &w, &bias]);
            let all = dlbc_ops::tensor::Tensor::from_f32(
                &x_dims,
                &x.to_f32().iter().map(|v| v.abs()).collect::<Vec<_>>(),
            );
            let sizes = magnitudes(&expected(&op(Part::Abs), &[&all, &w]));
            (x, result, y_dims.clone(), sizes)
        } else {
            let s = random.floats(&y_dims);
            let op = |w| Prim::ConvTranspose { geometry: geometry.clone(), w, to: dims.clone() };
            let result = expected(&op(Part::Abs), &[&s, &w]);
            let all = dlbc_ops::tensor::Tensor::from_f32(
                &y_dims,
                &s.to_f32().iter().map(|v| v.abs()).collect::<Vec<_>>(),
            );
            let sizes = magnitudes(&expected(&op(Part::Abs), &[&all, &w]));
            (s, result, x_dims.clone(), sizes)
        };
        let (taps, depth_channels) = (12, if way == Way::Forward { c } else { o });
        let size: usize = data.dims()[2..].iter().product();
        let mut table = vec![];
        for depth in 0..depth_channels * taps {
            let (channel, tap) = (depth / taps, depth % taps);
            let far = [tap / 6, tap / 2 % 3 * 2, tap % 2 * 3];
            let weight = channel * c * taps + tap;
            let entry: [usize; ENTRY] = [channel * size, far[0], far[1], far[2], weight, 0, 0, 0];
            table.extend(entry.map(|v| v as u32));
        }
        let positions: usize = out[2..].iter().product();
        let (m, n) = (out[1] / groups, images * positions);
        let three = |d: &[usize]| -> [u32; 3] { std::array::from_fn(|i| d[i] as u32) };
        let params = ConvParams {
            m: m as u32,
            n: n as u32,
            k: (depth_channels * taps) as u32,
            weight_row: if way == Way::Forward { c * taps } else { taps } as u32,
            weight_group: (o * c * taps) as u32,
            data_image: (data.dims()[1] * size) as u32,
            data_group: (data.dims()[1] / groups * size) as u32,
            positions: positions as u32,
            channels: out[1] as u32,
            from: three(&data.dims()[2..]),
            to: three(&out[2..]),
            strides: strides.map(|s| s as u32),
            before: [1, 0, 2],
            ..ConvParams::default()
        };
        made.push(Case {
            shape: format!("{images} images, {groups} groups, {:?} to {out:?}", data.dims()),
            grid: variant.grid(m as u32, n as u32, groups as u32),
            buffers: vec![
                (Role::Read, words(&data)),
                (Role::Read, words(&w)),
                (Role::Read, words(&bias)),
                (Role::Read, table),
                (Role::Write, vec![0; out.iter().product()]),
            ],
            params: Box::new(move |at| {
                let [data, weight, bias, table, out] = [at[0], at[1], at[2], at[3], at[4]];
                ConvParams { data, weight, bias, table, out, ..params }.bytes()
            }),
            check: check(result, move |i, _| ROUNDING * (sizes[i] + 1.0)),
        });
    }
    made
}
