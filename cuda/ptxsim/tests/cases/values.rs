//! Elementwise chains, reductions, softmax.

use dlbc_ops::prim::{self, Prim, Reduction};
use dlbc_ops::tensor::{Array, DType, Tensor};
use dlbc_ptx::Params as _;
use dlbc_ptx::kernel::pointwise::{Access, ChainArgs, Kind, Operand, Term};
use dlbc_ptx::kernel::reduce::{Pass, Reduce, ReduceParams, Team};
use dlbc_ptx::kernel::softmax::{SoftmaxParams, blocks};
use dlbc_ptx::library::chains;

use super::{Case, Random, Role, check, expected, packed, rounded, words};

fn bools(values: impl Iterator<Item = bool>, dims: &[usize]) -> Tensor {
    let bytes: Vec<u8> = values.map(u8::from).collect();
    Tensor::from_bytes(DType::Bool, dims.to_vec(), std::sync::Arc::new(bytes)).unwrap()
}

/// Builds an operand from special values: zeros, infinities, NaN, subnormals, ties. With `mild`, large magnitudes are replaced.
fn operand(kind: Kind, place: usize, count: usize, mild: bool) -> Tensor {
    let floats = [
        0.0f32,
        -0.0,
        1.0,
        -1.0,
        0.5,
        -0.5,
        2.0,
        -2.5,
        3.0,
        -7.25,
        1e-3,
        -1e-30,
        0.7,
        0.9999,
        1.0001,
        20.0,
        -20.0,
        100.0,
        -100.0,
        1e-40,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        3.4e38,
        65520.0,
        300.5,
        -129.0,
        1e19,
        1.5,
        4.5,
        -0.63,
        0.61,
    ];
    let integers =
        [0i64, 1, -1, 2, -2, 3, -3, 5, 7, -8, 70, 200, -200, 1 << 33, -(1 << 40), i64::MAX, i64::MIN];
    let step = [1, 7, 3][place % 3];
    // The list repeats with a shift, so that neighbouring reads past the end differ.
    match kind {
        Kind::F => {
            let value = |i: usize| floats[(i * step + i / floats.len() * place) % floats.len()];
            let mut v: Vec<f32> = (0..count).map(value).collect();
            if mild {
                v.iter_mut().for_each(|v| *v = if v.abs() < 50.0 { *v } else { 1.25 });
            }
            Tensor::from_f32(&[count], &v)
        }
        Kind::I => {
            let value = |i: usize| integers[(i * step + i / integers.len() * place) % integers.len()];
            let v: Vec<i64> = (0..count).map(value).map(|v| if mild { v.clamp(-9, 66) } else { v }).collect();
            Tensor::from_i64(&[count], &v)
        }
        Kind::B => bools((0..count).map(|i| (i / (place + 1)).is_multiple_of(2)), &[count]),
    }
}

pub fn pointwise(name: &str) -> Vec<Case> {
    let short = name.strip_prefix("pointwise_").unwrap();
    let (_, chain) = chains().into_iter().find(|(n, _)| n == short).unwrap();
    if chain.out == Access::Strided {
        return vec![strided(chain)];
    }
    if chain.rank > 0 {
        return vec![transposed(chain)];
    }
    let mut cases = vec![];
    // The second case has a divisor of 0, which fails for integers.
    for (count, zero) in [(600usize, false), (600, true)] {
        if zero && !chain.fails() {
            continue;
        }
        let kinds: Vec<Kind> = chain.operands.iter().map(|o| o.kind).collect();
        let mild = ["mod", "pow", "sin", "cos", "pow_s64"].contains(&short);
        let mut inputs: Vec<Tensor> = kinds
            .iter()
            .enumerate()
            .map(|(i, k)| match chain.operands[i].access {
                Access::Scalar => Tensor::from_f32(&[1], &[0.375]),
                Access::Linear | Access::Strided => operand(*k, i, count, mild),
            })
            .collect();
        if short == "mod" {
            // Divisors are large enough that rounding the quotient does not change the remainder.
            let divisors: Vec<f32> =
                inputs[1].to_f32().iter().map(|v| if v.abs() > 0.1 { *v } else { 0.75 }).collect();
            inputs[1] = Tensor::from_f32(&[count], &divisors);
            let dividends: Vec<f32> =
                inputs[0].to_f32().iter().map(|v| if v.is_finite() { v * 1.003 } else { 2.2 }).collect();
            inputs[0] = Tensor::from_f32(&[count], &dividends);
        }
        if chain.fails() && !zero {
            let nonzero: Vec<i64> = if short == "pow_s64" {
                inputs[0] = Tensor::from_i64(
                    &[count],
                    &inputs[0].to_i64().iter().map(|v| if *v == 0 { 6 } else { *v }).collect::<Vec<_>>(),
                );
                inputs[1].to_i64()
            } else {
                inputs[1].to_i64().iter().map(|v| if *v == 0 { 4 } else { *v }).collect()
            };
            inputs[1] = Tensor::from_i64(&[count], &nonzero);
        }
        for (input, operand) in inputs.iter_mut().zip(&chain.operands).filter(|(_, o)| o.kind == Kind::F) {
            *input = Tensor::from_f32(input.dims(), &rounded(operand.storage, &input.to_f32()));
        }
        let mut values: Vec<Array> = vec![];
        let whole = |t: &Tensor| {
            if t.elems() == 1 { Tensor::from_f32(&[count], &vec![t.to_f32()[0]; count]) } else { t.clone() }
        };
        for (term, _) in &chain.terms {
            let eval = |op: Prim, operands: &[usize]| {
                let arrays: Vec<&Array> = operands.iter().map(|i| &values[*i]).collect();
                dlbc_ops::prim::reference::eval(&op, &arrays)
                    .unwrap_or_else(|_| Array::from_tensor(&inputs[0]))
            };
            let value = match term {
                Term::Operand(i) => Array::from_tensor(&whole(&inputs[*i])),
                Term::Unary(f, a) => eval(Prim::Unary(*f), &[*a]),
                Term::Binary(f, a, b) => eval(Prim::Binary(*f), &[*a, *b]),
                Term::Cast(to, a) => eval(Prim::Cast(prim::Cast { to: *to }), &[*a]),
                Term::Select(..) | Term::Float(_) | Term::Int(_) | Term::Bool(_) => unreachable!(),
            };
            values.push(value);
        }
        let result = values.pop().unwrap();
        let stored = |(t, o): (&Tensor, &Operand)| match o.kind {
            Kind::F => (Role::Read, packed(o.storage, &t.to_f32())),
            Kind::I | Kind::B => (Role::Read, words(t)),
        };
        let mut buffers: Vec<(Role, Vec<u32>)> = inputs.iter().zip(&chain.operands).map(stored).collect();
        let width = if chain.result() == Kind::I { 2 } else { 1 };
        buffers.push((Role::Write, vec![0; count * width]));
        buffers.push((Role::Update, vec![0]));
        let operands = inputs.len();
        let blocks = chain.blocks(count as u32);
        // A sum of several terms may cancel.
        let floor = if chain.terms.len() > 4 { 1e-6 } else { 1e-37 };
        let chain = chain.clone();
        let check = Box::new(move |results: &[Vec<u32>]| {
            if (results[1][0] == 1) != zero {
                return Err("wrong status".into());
            }
            if zero { Ok(()) } else { super::holds(&results[0], &result, |_, e| 1e-6 * e.abs() + floor) }
        });
        cases.push(Case {
            shape: format!("{count}"),
            grid: [blocks, 1, 1],
            buffers,
            params: Box::new(move |at| {
                chain.params(&ChainArgs {
                    out: at[operands],
                    status: at[operands + 1],
                    operands: at[..operands].to_vec(),
                    count: count as u32,
                    ..ChainArgs::default()
                })
            }),
            check,
        });
    }
    cases
}

/// A stored matrix `[35, 9]`, read transposed.
fn transposed(chain: dlbc_ptx::kernel::pointwise::Chain) -> Case {
    let storage = chain.operands[0].storage;
    let x = rounded(storage, &operand(Kind::F, 1, 315, false).to_f32());
    let result: Vec<f32> = (0..315).map(|i| x[i % 35 * 9 + i / 35]).collect();
    let args = ChainArgs { count: 315, dims: vec![9, 35], strides: vec![vec![1, 9]], ..ChainArgs::default() };
    Case {
        shape: "9x35".into(),
        grid: [chain.blocks(315), 1, 1],
        buffers: vec![(Role::Read, packed(storage, &x)), (Role::Write, vec![0; 315])],
        params: Box::new(move |at| {
            chain.params(&ChainArgs { out: at[1], operands: vec![at[0]], ..args.clone() })
        }),
        check: check(Array::from_tensor(&Tensor::from_f32(&[315], &result)), |_, _| 0.0),
    }
}

/// `where(c, a, b)` over `[7, 5, 9]`: `c` transposed, `a` a row that repeats, into every second place.
fn strided(chain: dlbc_ptx::kernel::pointwise::Chain) -> Case {
    let kind = chain.result();
    let dims = [7usize, 5, 9];
    let count = 315;
    let c = operand(Kind::B, 0, count, false);
    let (a, b) = (operand(kind, 1, 9, true), operand(kind, 2, count, true));
    // The kernel reads `c`, of shape [9, 5, 7], transposed.
    let conditions: Vec<i64> = c.to_i64();
    let transposed = |i: usize| conditions[i % 9 * 35 + i / 9 % 5 * 7 + i / 45] != 0;
    let mut expected_words = vec![];
    let (aw, bw) = (words(&a), words(&b));
    let width = if kind == Kind::I { 2 } else { 1 };
    for i in 0..count {
        let selected = if transposed(i) { &aw[i % 9 * width..][..width] } else { &bw[i * width..][..width] };
        expected_words.extend(selected);
    }
    let args = ChainArgs {
        count: count as u32,
        dims: dims.map(|d| d as u32).to_vec(),
        out_strides: vec![90, 18, 2],
        strides: vec![vec![1, 7, 35], vec![0, 0, 1]],
        ..ChainArgs::default()
    };
    let blocks = chain.blocks(count as u32);
    Case {
        shape: "7x5x9".into(),
        grid: [blocks, 1, 1],
        buffers: vec![
            (Role::Read, words(&c)),
            (Role::Read, aw.clone()),
            (Role::Read, bw.clone()),
            (Role::Update, vec![7; 2 * count * width]),
        ],
        params: Box::new(move |at| {
            chain.params(&ChainArgs { out: at[3], operands: at[..3].to_vec(), ..args.clone() })
        }),
        check: Box::new(move |results| {
            let right = results[0].chunks(width).enumerate().all(|(i, w)| match i % 2 {
                0 => w == &expected_words[i / 2 * width..][..width],
                _ => w.iter().all(|w| *w == 7),
            });
            if right { Ok(()) } else { Err("wrong numbers".into()) }
        }),
    }
}

fn doubles(values: &[f64]) -> Vec<u32> {
    values.iter().flat_map(|v| [v.to_bits() as u32, (v.to_bits() >> 32) as u32]).collect()
}

/// Builds a case for the accumulators of slices. Axes 0 and 2 remain, axes 1 and 3 are reduced.
fn slices(variant: Reduce, x: &Tensor) -> Case {
    let [a, b, c, d] = [0, 1, 2, 3].map(|i| x.dims()[i]);
    let count = b * d;
    let slice = if count > 600 { 512 } else { 256 };
    let slices = count.div_ceil(slice) + 1;
    let values = x.to_f64();
    let mut accumulators: Vec<f64> = vec![];
    for output in 0..a * c {
        for index in 0..slices {
            let elements = (index * slice..count.min((index + 1) * slice))
                .map(|i| values[((output / c * b + i / d) * c + output % c) * d + i % d]);
            accumulators.push(match variant.reduction {
                Reduction::Sum => elements.sum(),
                _ => elements.fold(f64::NAN, f64::max),
            });
        }
    }
    let (is_integer, reduction) = (variant.dtype == Kind::I, variant.reduction);
    let width = variant.accumulator_bytes() as usize / 4;
    let blocks = (a * c * slices) as u32;
    let u = [a, b, c, d].map(|d| d as u32);
    let params = ReduceParams {
        outputs: u[0] * u[2],
        count: u[1] * u[3],
        kept_dims: [u[0], u[2], 1, 1],
        kept_strides: [(b * c * d) as i32, d as i32, 0, 0],
        reduced_dims: [u[1], u[3], 1, 1],
        reduced_strides: [(c * d) as i32, 1, 0, 0],
        slices: slices as u32,
        slice: slice as u32,
        ..ReduceParams::default()
    };
    Case {
        shape: format!("{:?} in {slices}", x.dims()),
        grid: [blocks, 1, 1],
        buffers: vec![(Role::Read, words(x)), (Role::Write, vec![0; accumulators.len() * width])],
        params: Box::new(move |at| ReduceParams { x: at[0], y: at[1], ..params }.bytes()),
        check: Box::new(move |results| {
            let value = |i: usize| match (width, is_integer) {
                (1, _) => f64::from(f32::from_bits(results[0][i])),
                (_, is_integer) => {
                    let bits = u64::from(results[0][2 * i]) | u64::from(results[0][2 * i + 1]) << 32;
                    if is_integer { bits as i64 as f64 } else { f64::from_bits(bits) }
                }
            };
            let bound = if reduction == Reduction::Sum && !is_integer { 1e-13 } else { 0.0 };
            let same = |(i, e): (usize, &f64)| {
                let f = value(i);
                f == *e || (f.is_nan() && e.is_nan()) || (f - e).abs() <= bound
            };
            if accumulators.iter().enumerate().all(same) { Ok(()) } else { Err("wrong numbers".into()) }
        }),
    }
}

pub fn reduce(name: &str) -> Vec<Case> {
    let reductions = [
        ("_sum_", Reduction::Sum),
        ("_max_", Reduction::Max),
        ("_min_", Reduction::Min),
        ("_prod_", Reduction::Prod),
        ("_argmax_", Reduction::ArgMax),
        ("_argmin_", Reduction::ArgMin),
    ];
    let reduction = reductions.iter().find(|(n, _)| name.contains(n)).unwrap().1;
    let team = [("_thread_", Team::Thread), ("_warp_", Team::Warp), ("_block_", Team::Block)];
    let team = team.iter().find(|(n, _)| name.contains(n)).unwrap().1;
    let dtype = if name.contains("s64") { Kind::I } else { Kind::F };
    let rank = if name.contains("2_2") { 2 } else { 1 };
    let passes = [("_slices", Pass::Slices), ("_join", Pass::Join)];
    let pass = passes.iter().find(|(n, _)| name.ends_with(n)).map_or(Pass::Whole, |(_, pass)| *pass);
    let variant = Reduce { reduction, dtype, team, kept_axes: rank, reduced_axes: rank, pass };
    let returns_index = matches!(reduction, Reduction::ArgMax | Reduction::ArgMin);
    let mut random = Random::new(13);
    let mut cases = vec![];
    // Axes 0 and 2 remain, axes 1 and 3 are reduced; variants of rank 1 have only 0 and 1.
    let shapes: &[[usize; 4]] = match rank {
        1 => &[[300, 40, 1, 1], [5, 700, 1, 1], [1, 1, 1, 1]],
        _ => &[[17, 6, 16, 9], [3, 70, 2, 9], [1, 1, 1, 1]],
    };
    for dims in shapes {
        let x = match dtype {
            Kind::I => random.integers(dims),
            _ if returns_index => random.steps(dims),
            _ if reduction == Reduction::Prod => {
                let near_one: Vec<f32> =
                    (0..dims.iter().product()).map(|_| 1.0 + 0.02 * random.float()).collect();
                Tensor::from_f32(dims, &near_one)
            }
            _ => random.floats(dims),
        };
        let op = Prim::Reduce(prim::Reduce { kind: reduction, axes: vec![1, 3], keep: false });
        if pass == Pass::Slices {
            cases.push(slices(variant, &x));
            continue;
        }
        let result = if returns_index {
            let flat = x.with_dims(&[dims[0], dims[1]]).unwrap();
            expected(&Prim::Reduce(prim::Reduce { kind: reduction, axes: vec![1], keep: false }), &[&flat])
        } else {
            expected(&op, &[&x])
        };
        let [_, b, c, d] = dims.map(|d| d as i32);
        let outputs = (dims[0] * dims[2]) as u32;
        let u = dims.map(|d| d as u32);
        let params = ReduceParams {
            outputs,
            count: u[1] * u[3],
            kept_dims: [u[0], u[2], 1, 1],
            kept_strides: [b * c * d, d, 0, 0],
            reduced_dims: [u[1], u[3], 1, 1],
            reduced_strides: [c * d, 1, 0, 0],
            ..ReduceParams::default()
        };
        let width = if returns_index || dtype == Kind::I { 2 } else { 1 };
        cases.push(Case {
            shape: format!("{dims:?}"),
            grid: [variant.blocks(outputs), 1, 1],
            buffers: vec![
                (Role::Read, if pass == Pass::Join { doubles(&x.to_f64()) } else { words(&x) }),
                (Role::Write, vec![0; outputs as usize * width]),
            ],
            params: Box::new(move |at| ReduceParams { x: at[0], y: at[1], ..params }.bytes()),
            check: check(result, |_, e| 1e-7 * e.abs() + 1e-12),
        });
    }
    cases
}

pub fn softmax() -> Vec<Case> {
    let mut random = Random::new(14);
    let mut cases = vec![];
    for dims in [[3usize, 40, 3], [1, 1, 1], [2, 70, 1]] {
        let mut x = random.floats(&dims).to_f32();
        x.iter_mut()
            .enumerate()
            .for_each(|(i, v)| *v = if i % 5 == 4 { f32::NEG_INFINITY } else { *v * 30.0 });
        let x = Tensor::from_f32(&dims, &x);
        let result = expected(&Prim::Softmax(prim::Softmax { axis: 1 }), &[&x]);
        let rows = (dims[0] * dims[2]) as u32;
        cases.push(Case {
            shape: format!("{dims:?}"),
            grid: [blocks(rows), 1, 1],
            buffers: vec![(Role::Read, words(&x)), (Role::Write, vec![0; x.elems()])],
            params: Box::new(move |at| {
                SoftmaxParams { x: at[0], y: at[1], rows, dim: dims[1] as u32, inner: dims[2] as u32 }.bytes()
            }),
            check: check(result, |_, e| 2e-6 * e + 1e-20),
        });
    }
    cases
}
