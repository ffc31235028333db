//! Elementwise chains on special and ordinary values, linear, strided and broadcast.

use std::sync::Arc;

use dlbc_ops::tensor::{Array, DType, Tensor};
use dlbc_ptx::kernel::pointwise::{Access, Chain, ChainArgs, Kind, Operand};
use dlbc_ptx::kernel::storage::Storage;

use super::bounded::{Bounded, Evaluated, evaluate};
use super::{Case, Expected, Random, Role, packed, rounded, words};

/// Zeros, infinities, NaN, subnormals, ties, limits of other types.
const FLOATS: [f32; 32] = [
    0.0,
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
const INTEGERS: [i64; 17] =
    [0, 1, -1, 2, -2, 3, -3, 5, 7, -8, 70, 200, -200, 1 << 33, -(1 << 40), i64::MAX, i64::MIN];

/// Draws an operand. A special one has values of the lists; another one small numbers other than 0.
fn operand(random: &mut Random, kind: Kind, count: usize, special: bool) -> Tensor {
    let mut draw = |n: usize| random.bits() as usize % n;
    match kind {
        Kind::F if special => {
            let values: Vec<f32> = (0..count).map(|_| FLOATS[draw(FLOATS.len())]).collect();
            Tensor::from_f32(&[count], &values)
        }
        Kind::F => Tensor::from_f32(
            &[count],
            &(0..count)
                .map(|_| random.float() * 4.0 + 0.01)
                .map(|v| v + v.signum() * 0.1)
                .collect::<Vec<_>>(),
        ),
        Kind::I => {
            let values: Vec<i64> = match special {
                true => (0..count).map(|_| INTEGERS[draw(INTEGERS.len())]).collect(),
                false => {
                    (0..count).map(|_| draw(17) as i64 - 8).map(|v| if v == 0 { 9 } else { v }).collect()
                }
            };
            Tensor::from_i64(&[count], &values)
        }
        Kind::B => {
            let bytes: Vec<u8> = (0..count).map(|_| draw(2) as u8).collect();
            Tensor::from_bytes(DType::Bool, vec![count], Arc::new(bytes)).unwrap()
        }
    }
}

/// Dimensions of an index space of this rank, of about 300 elements.
fn dims_of(rank: usize) -> Vec<usize> {
    let dims: &[usize] = match rank {
        0 => &[],
        1 => &[301],
        2 => &[13, 23],
        3 => &[7, 5, 9],
        4 => &[4, 3, 5, 6],
        _ => &[3, 2, 4, 3, 5, 2, 1, 2],
    };
    dims[..rank].to_vec()
}

/// Strides along axes in another order, some of them 0, and the number of elements that they reach.
fn strides_of(random: &mut Random, dims: &[usize]) -> (Vec<i32>, usize) {
    let mut axes: Vec<usize> = (0..dims.len()).collect();
    axes.sort_by_key(|_| random.bits());
    let (mut strides, mut next) = (vec![0; dims.len()], 1);
    for axis in axes {
        if dims[axis] > 1 && !random.bits().is_multiple_of(4) {
            strides[axis] = next as i32;
            next *= dims[axis];
        }
    }
    (strides, next)
}

/// Index of an element of the index space under strides.
fn offset(index: usize, dims: &[usize], strides: &[i32]) -> usize {
    let (mut rest, mut sum) = (index, 0);
    for (dim, stride) in dims.iter().zip(strides).rev() {
        sum += rest % dim * *stride as usize;
        rest /= dim;
    }
    sum
}

fn picked(t: &Tensor, places: &[usize]) -> Array {
    let all = t.to_f64();
    match t.dtype() {
        DType::Bool => {
            let values: Vec<bool> = places.iter().map(|p| all[*p] != 0.0).collect();
            Array::B(ndarray::Array1::from(values).into_dyn())
        }
        dtype if dtype.is_float() => {
            let values: Vec<f64> = places.iter().map(|p| all[*p]).collect();
            Array::F(ndarray::Array1::from(values).into_dyn())
        }
        _ => {
            let all = t.to_i64();
            let values: Vec<i64> = places.iter().map(|p| all[*p]).collect();
            Array::I(ndarray::Array1::from(values).into_dyn())
        }
    }
}

/// Builds cases on special values and on ordinary ones.
pub fn chain(chain: &Chain) -> Vec<Case> {
    [true, false].map(|special| case(chain, special)).into()
}

fn case(chain: &Chain, special: bool) -> Case {
    let mut random = Random::new(29);
    let dims = dims_of(chain.rank);
    let count = if dims.is_empty() { 600 } else { dims.iter().product() };
    let (mut tensors, mut operands, mut strides) = (vec![], vec![], vec![]);
    for o in &chain.operands {
        let (places, length): (Vec<usize>, usize) = match o.access {
            Access::Linear => ((0..count).collect(), count),
            Access::Scalar => (vec![0; count], 1),
            Access::Strided => {
                let (list, length) = strides_of(&mut random, &dims);
                let places = (0..count).map(|i| offset(i, &dims, &list)).collect();
                strides.push(list);
                (places, length)
            }
        };
        // One special value for all would say little of the others.
        let mut tensor = operand(&mut random, o.kind, length, special && length > 1);
        if o.kind == Kind::F {
            tensor = Tensor::from_f32(&[length], &rounded(o.storage, &tensor.to_f32()));
        }
        operands.push(Bounded::exact(picked(&tensor, &places)));
        tensors.push(tensor);
    }
    let Evaluated { result, fails } = evaluate(&chain.terms, &operands, count);
    let stored = |(t, o): (&Tensor, &Operand)| match o.kind {
        Kind::F => (Role::Read, packed(o.storage, &t.to_f32())),
        Kind::I | Kind::B => (Role::Read, words(t)),
    };
    let width = if chain.result() == Kind::I { 2 } else { 1 };
    let mut buffers: Vec<(Role, Vec<u32>)> = tensors.iter().zip(&chain.operands).map(stored).collect();
    let (mut out_strides, mut expected) = (vec![], result.expected());
    let is_narrow = chain.result() == Kind::F && chain.storage != Storage::F32;
    if chain.out == Access::Strided {
        // Into every second place; those between stay as they are.
        let mut next = 2;
        for dim in dims.iter().rev() {
            out_strides.insert(0, next);
            next *= *dim as i32;
        }
        expected = spread(&expected, width);
        buffers.push((Role::Update, vec![BETWEEN; 2 * count * width]));
    } else if is_narrow {
        expected = expected.stored(chain.storage);
        buffers.push(super::result(chain.storage, count));
    } else {
        buffers.push((Role::Write, vec![0; count * width]));
    }
    buffers.push((Role::Update, vec![0]));
    let last = tensors.len();
    let args = ChainArgs {
        count: count as u32,
        dims: dims.iter().map(|d| *d as u32).collect(),
        out_strides,
        strides,
        ..ChainArgs::default()
    };
    let layout = chain.clone();
    Case {
        shape: format!("{count} {} values", if special { "special" } else { "ordinary" }),
        grid: [chain.blocks(count as u32), 1, 1],
        buffers,
        params: Box::new(move |at| {
            let args = args.clone();
            layout.params(&ChainArgs {
                out: at[last],
                status: at[last + 1],
                operands: at[..last].to_vec(),
                ..args
            })
        }),
        expected: vec![expected, Expected::Words(vec![u32::from(fails)])],
    }
}

/// Initial words of a strided result.
const BETWEEN: u32 = 7;

/// Expects elements in every second place, and what was there before between them.
fn spread(expected: &Expected, width: usize) -> Expected {
    let between = vec![Some(BETWEEN); width];
    match expected {
        Expected::Some(words) => {
            Expected::Some(words.chunks(width).flat_map(|w| [w, &between].concat()).collect())
        }
        Expected::Floats(values, bounds) => {
            let before = f64::from(f32::from_bits(BETWEEN));
            Expected::Floats(
                values.iter().flat_map(|v| [*v, before]).collect(),
                bounds.iter().flat_map(|b| [*b, 0.0]).collect(),
            )
        }
        other => panic!("{other:?}"),
    }
}
