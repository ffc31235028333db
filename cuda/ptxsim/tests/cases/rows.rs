//! Kernels along rows, against a float64 evaluation that carries an error bound for each value.

use dlbc_ops::prim::Reduction;
use dlbc_ops::tensor::Array;
use dlbc_ptx::kernel::pointwise::{Kind, Term};
use dlbc_ptx::kernel::rows::{RowTerm, Rows, RowsArgs};
use dlbc_ptx::kernel::storage::Storage;

use super::bounded::{Bounded, evaluate};
use super::{Case, Expected, Random, Role, packed, result, unpacked};

/// Relative error of a float64 sum that is rounded to float32, with respect to the sum of magnitudes.
const ROUNDING: f64 = 1e-7;

/// Contents of a slot over all rows: floats, their bounds, and words.
type Stored = (Vec<f64>, Vec<f64>, Vec<Option<u32>>);

pub fn rows(kernel: &Rows) -> Vec<Case> {
    [(5, 70), (1, 1), (3, 600)].into_iter().map(|shape| case(kernel, shape)).collect()
}

/// Returns the terms that a term reads, and the term that reads operands 0, 1, … in their place.
fn alone(term: &Term) -> (Vec<usize>, Term) {
    match term {
        Term::Unary(f, a) => (vec![*a], Term::Unary(*f, 0)),
        Term::Cast(to, a) => (vec![*a], Term::Cast(*to, 0)),
        Term::Binary(f, a, b) => (vec![*a, *b], Term::Binary(*f, 0, 1)),
        Term::Select(c, a, b) => (vec![*c, *a, *b], Term::Select(0, 1, 2)),
        other => (vec![], other.clone()),
    }
}

/// Evaluates the terms for a row of operands, each of as many elements as the row.
fn values(kernel: &Rows, operands: &[Bounded], dim: usize) -> Vec<Bounded> {
    let mut values: Vec<Bounded> = vec![];
    for (term, kind) in &kernel.terms {
        let value = match term {
            RowTerm::Element(Term::Operand(i)) => operands[*i].clone(),
            RowTerm::Element(term) => {
                let (inputs, term) = alone(term);
                let read: Vec<Bounded> = inputs.iter().map(|i| values[*i].clone()).collect();
                let kinds = inputs.iter().enumerate().map(|(n, i)| (Term::Operand(n), kernel.terms[*i].1));
                let terms: Vec<(Term, Kind)> = kinds.chain([(term, *kind)]).collect();
                evaluate(&terms, &read, dim).result
            }
            RowTerm::Reduce(reduction, x) => {
                let floats = values[*x].to_floats();
                let bounds = &values[*x].bounds;
                let size: f64 = floats.iter().map(|v| v.abs()).sum();
                let worst = bounds.iter().copied().fold(0.0, f64::max);
                let (value, bound) = match reduction {
                    Reduction::Sum => (floats.iter().sum(), bounds.iter().sum::<f64>() + ROUNDING * size),
                    Reduction::Max => (floats.iter().copied().fold(f64::NAN, f64::max), worst),
                    Reduction::Min => (floats.iter().copied().fold(f64::NAN, f64::min), worst),
                    other => panic!("{other:?}"),
                };
                let bound = if bound.is_nan() { f64::INFINITY } else { bound };
                Bounded::floats(vec![value; dim], vec![bound; dim])
            }
        };
        values.push(value);
    }
    values
}

fn case(kernel: &Rows, (rows, dim): (usize, usize)) -> Case {
    let mut random = Random::new(31);
    let mut buffers = vec![];
    let mut strides = vec![];
    for (i, operand) in kernel.operands.iter().enumerate() {
        // The second operand is the same for every row, if it varies along one.
        let (row, along) = match (operand.varies, i == 1) {
            (true, false) => (dim, 1),
            (true, true) => (0, 1),
            (false, _) => (1, 0),
        };
        let count = if row == 0 { dim } else { row * rows };
        buffers.push(match operand.kind {
            Kind::B => {
                let words = (0..count).map(|_| u32::from(random.bits().is_multiple_of(3)));
                (Role::Read, words.collect::<Vec<u32>>())
            }
            _ => {
                let floats: Vec<f32> = (0..count).map(|_| random.float() + 0.25).collect();
                (Role::Read, packed(operand.storage, &floats))
            }
        });
        strides.push([row as i32, along]);
    }
    let varies: Vec<bool> = kernel.varying();
    let mut stored: Vec<Stored> = vec![Default::default(); kernel.stores.len()];
    for row in 0..rows {
        let operand = |((operand, (_, words)), strides): ((_, &(Role, Vec<u32>)), &[i32; 2])| {
            let operand: &dlbc_ptx::kernel::rows::RowOperand = operand;
            let place = |i: usize| row * strides[0] as usize + i * strides[1] as usize;
            match operand.kind {
                Kind::B => {
                    let bools: Vec<bool> = (0..dim).map(|i| words[place(i)] != 0).collect();
                    Bounded::exact(Array::B(ndarray::Array1::from(bools).into_dyn()))
                }
                _ => {
                    let all = unpacked(operand.storage, words, usize::MAX);
                    let floats = (0..dim).map(|i| f64::from(all[place(i)]));
                    Bounded::floats(floats.collect(), vec![0.0; dim])
                }
            }
        };
        let operands: Vec<Bounded> =
            kernel.operands.iter().zip(&buffers).zip(&strides).map(operand).collect();
        let values = values(kernel, &operands, dim);
        for (slot, store) in kernel.stores.iter().enumerate() {
            let count = if varies[store.term] { dim } else { 1 };
            let Bounded { values, bounds } = &values[store.term];
            match values {
                Array::F(a) => {
                    stored[slot].0.extend(a.iter().take(count));
                    stored[slot].1.extend(&bounds[..count]);
                }
                Array::B(a) => {
                    let words = a.iter().zip(bounds).map(|(v, b)| b.is_finite().then_some(u32::from(*v)));
                    stored[slot].2.extend(words.take(count));
                }
                Array::I(_) => panic!("integers in rows"),
            }
        }
    }
    let storages: Vec<Storage> = kernel.stores.iter().map(|store| store.storage).collect();
    for ((floats, _, words), storage) in stored.iter().zip(&storages) {
        let storage = if words.is_empty() { *storage } else { Storage::F32 };
        buffers.push(result(storage, floats.len() + words.len()));
    }
    let expected =
        stored.into_iter().zip(storages).map(|((floats, bounds, words), storage)| match words.is_empty() {
            true => Expected::Floats(floats, bounds).stored(storage),
            false => Expected::Some(words),
        });
    let expected = expected.collect();
    let grid = [kernel.blocks(rows as u32), 1, 1];
    let (kernel, reads) = (kernel.clone(), kernel.operands.len());
    Case {
        shape: format!("{rows} rows of {dim}"),
        grid,
        buffers,
        params: Box::new(move |at| {
            kernel.params(&RowsArgs {
                rows: rows as u32,
                dim: dim as u32,
                operands: at[..reads].iter().copied().zip(strides.iter().copied()).collect(),
                stores: at[reads..].to_vec(),
            })
        }),
        expected,
    }
}
