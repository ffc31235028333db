//! Reductions and softmax.

use dlbc_ops::prim::{self, Prim, Reduction};
use dlbc_ops::tensor::Tensor;
use dlbc_ptx::Params as _;
use dlbc_ptx::kernel::pointwise::Kind;
use dlbc_ptx::kernel::reduce::{Pass, Reduce, ReduceParams};
use dlbc_ptx::kernel::softmax::{SoftmaxParams, blocks};

use super::{Case, Expected, Random, Role, expected, words};

fn doubles(values: &[f64]) -> Vec<u32> {
    values.iter().flat_map(|v| [v.to_bits() as u32, (v.to_bits() >> 32) as u32]).collect()
}

/// An operand of a reduction: axes that remain alternate with axes that are reduced.
struct Operand {
    x: Tensor,
    rest: Vec<usize>,
    reduced: Vec<usize>,
}

impl Operand {
    /// Dimensions of all axes, in order, and whether each is reduced.
    fn axes(rest: &[usize], reduced: &[usize]) -> Vec<(usize, bool)> {
        let alternate = |i: usize| [rest.get(i).map(|d| (*d, false)), reduced.get(i).map(|d| (*d, true))];
        (0..rest.len().max(reduced.len())).flat_map(alternate).flatten().collect()
    }

    /// Strides of the axes that are reduced, or of the others.
    fn strides(&self, of_reduced: bool) -> Vec<usize> {
        let axes = Operand::axes(&self.rest, &self.reduced);
        let stride = |i: usize| axes[i + 1..].iter().map(|(d, _)| d).product::<usize>();
        (0..axes.len()).filter(|i| axes[*i].1 == of_reduced).map(stride).collect()
    }

    /// Index of each combination of the axes that are reduced, or of the others, from the first element.
    fn offsets(&self, of_reduced: bool) -> Vec<usize> {
        let dims = if of_reduced { &self.reduced } else { &self.rest };
        let mut offsets = vec![0];
        for (dim, stride) in dims.iter().zip(self.strides(of_reduced)) {
            offsets = offsets.iter().flat_map(|o| (0..*dim).map(move |i| o + i * stride)).collect();
        }
        offsets
    }

    /// Elements of each row, in the order in which they are reduced.
    fn rows(&self) -> Tensor {
        let (rows, columns) = (self.offsets(false), self.offsets(true));
        let places = rows.iter().flat_map(|r| columns.iter().map(move |c| r + c));
        let dims = [rows.len(), columns.len()];
        if self.x.dtype().is_float() {
            let values = self.x.to_f32();
            Tensor::from_f32(&dims, &places.map(|p| values[p]).collect::<Vec<_>>())
        } else {
            let values = self.x.to_i64();
            Tensor::from_i64(&dims, &places.map(|p| values[p]).collect::<Vec<_>>())
        }
    }

    fn params(&self) -> ReduceParams {
        let dims = |dims: &[usize]| std::array::from_fn(|i| dims.get(i).map_or(1, |d| *d as u32));
        let strides = |strides: Vec<usize>| std::array::from_fn(|i| strides.get(i).map_or(0, |s| *s as i32));
        ReduceParams {
            outputs: self.rest.iter().product::<usize>() as u32,
            count: self.reduced.iter().product::<usize>() as u32,
            kept_dims: dims(&self.rest),
            kept_strides: strides(self.strides(false)),
            reduced_dims: dims(&self.reduced),
            reduced_strides: strides(self.strides(true)),
            ..ReduceParams::default()
        }
    }
}

/// Builds a case for the accumulators of slices.
fn slices(variant: Reduce, operand: &Operand) -> Case {
    let (outputs, count) =
        (operand.rest.iter().product::<usize>(), operand.reduced.iter().product::<usize>());
    let slice = if count > 600 { 512 } else { 256 };
    let slices = count.div_ceil(slice) + 1;
    let mut accumulators: Vec<f64> = vec![];
    for row in operand.rows().to_f64().chunks(count) {
        for index in 0..slices {
            let part = &row[(index * slice).min(count)..count.min((index + 1) * slice)];
            accumulators.push(match variant.reduction {
                Reduction::Sum => part.iter().sum(),
                Reduction::Prod => part.iter().product(),
                Reduction::Min => part.iter().copied().fold(f64::NAN, f64::min),
                _ => part.iter().copied().fold(f64::NAN, f64::max),
            });
        }
    }
    let is_integer = variant.dtype == Kind::I;
    let sums = matches!(variant.reduction, Reduction::Sum | Reduction::Prod);
    let width = variant.accumulator_bytes() as usize / 4;
    let expected = match (width, is_integer) {
        (_, true) => {
            let words = |v: &f64| [*v as i64 as u32, (*v as i64 >> 32) as u32];
            Expected::Words(accumulators.iter().flat_map(words).collect())
        }
        (1, false) => Expected::floats(accumulators.clone(), |_, _| 0.0),
        (_, false) => {
            let bound = if sums { 1e-13 } else { 0.0 };
            Expected::Doubles(accumulators.clone(), vec![bound; accumulators.len()])
        }
    };
    let params = ReduceParams { slices: slices as u32, slice: slice as u32, ..operand.params() };
    Case {
        shape: format!("{:?} by {:?} in {slices}", operand.rest, operand.reduced),
        grid: [(outputs * slices) as u32, 1, 1],
        buffers: vec![(Role::Read, words(&operand.x)), (Role::Write, vec![0; accumulators.len() * width])],
        params: Box::new(move |at| ReduceParams { x: at[0], y: at[1], ..params }.bytes()),
        expected: vec![expected],
    }
}

pub fn reduce(variant: Reduce) -> Vec<Case> {
    let Reduce { reduction, dtype, pass, .. } = variant;
    let returns_index = matches!(reduction, Reduction::ArgMax | Reduction::ArgMin);
    let mut random = Random::new(13);
    let mut cases = vec![];
    let first = |dims: &[usize], count: usize| dims[..count].to_vec();
    // Many rows, long rows, a single element.
    let shapes: [[&[usize]; 2]; 3] = match (variant.kept_axes, variant.reduced_axes) {
        (0 | 1, 0 | 1) => [[&[300], &[40]], [&[5], &[700]], [&[1], &[1]]],
        _ => [[&[17, 16, 2, 3], &[6, 9, 2, 2]], [&[3, 2, 2, 1], &[70, 9, 1, 2]], [&[1; 4], &[1; 4]]],
    };
    for [rest, reduced] in shapes {
        let (rest, reduced) = (first(rest, variant.kept_axes), first(reduced, variant.reduced_axes));
        let dims: Vec<usize> = Operand::axes(&rest, &reduced).into_iter().map(|(d, _)| d).collect();
        let x = match dtype {
            Kind::I => random.integers(&dims),
            _ if returns_index => random.steps(&dims),
            _ if reduction == Reduction::Prod => {
                let near_one: Vec<f32> =
                    (0..dims.iter().product()).map(|_| 1.0 + 0.02 * random.float()).collect();
                Tensor::from_f32(&dims, &near_one)
            }
            _ => random.floats(&dims),
        };
        let operand = Operand { x, rest, reduced };
        if pass == Pass::Slices {
            cases.push(slices(variant, &operand));
            continue;
        }
        let op = Prim::Reduce(prim::Reduce { kind: reduction, axes: vec![1], keep: false });
        let result = expected(&op, &[&operand.rows()]);
        let params = operand.params();
        let width = if returns_index || dtype == Kind::I { 2 } else { 1 };
        let x = match pass {
            Pass::Join => doubles(&operand.x.to_f64()),
            _ => words(&operand.x),
        };
        cases.push(Case {
            shape: format!("{:?} by {:?}", operand.rest, operand.reduced),
            grid: [variant.blocks(params.outputs), 1, 1],
            buffers: vec![(Role::Read, x), (Role::Write, vec![0; params.outputs as usize * width])],
            params: Box::new(move |at| ReduceParams { x: at[0], y: at[1], ..params }.bytes()),
            expected: vec![Expected::array(&result, |_, e| 1e-7 * e.abs() + 1e-12)],
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
            expected: vec![Expected::array(&result, |_, e| 2e-6 * e + 1e-20)],
        });
    }
    cases
}
