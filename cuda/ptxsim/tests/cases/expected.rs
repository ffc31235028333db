//! Expected contents of the buffers that a launch writes, with a bound for each element.

use std::cmp::Ordering;

use dlbc_ops::tensor::Array;
use dlbc_ptx::kernel::storage::Storage;

use super::{rounded, unpacked, words_of};

/// Expected contents of a buffer.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Floats of 32 bits: values and bounds of their differences. An infinite bound admits anything, NaN expects NaN.
    Floats(Vec<f64>, Vec<f64>),
    /// Floats of 16 bits: the rounded values of numbers within a bound of these.
    Narrow(Storage, Vec<f64>, Vec<f64>),
    /// Floats of 64 bits, likewise.
    Doubles(Vec<f64>, Vec<f64>),
    /// Words, exactly.
    Words(Vec<u32>),
    /// Words, exactly, other than those that are open.
    Some(Vec<Option<u32>>),
    /// Contents that the launch leaves open.
    Any,
}

impl Expected {
    /// Expects floats, each within `bound` of its index and value.
    pub fn floats(values: Vec<f64>, bound: impl Fn(usize, f64) -> f64) -> Expected {
        let bounds = values.iter().enumerate().map(|(i, e)| bound(i, *e)).collect();
        Expected::Floats(values, bounds)
    }

    /// Expects an array: integers and booleans exactly, floats within the bound of each element.
    pub fn array(array: &Array, bound: impl Fn(usize, f64) -> f64) -> Expected {
        match array {
            Array::F(a) => Expected::floats(a.iter().copied().collect(), bound),
            Array::I(a) => Expected::Words(a.iter().flat_map(|v| [*v as u32, (*v >> 32) as u32]).collect()),
            Array::B(a) => Expected::Words(a.iter().map(|v| u32::from(*v)).collect()),
        }
    }

    /// Returns the expectation of floats that are stored in this type.
    pub fn stored(self, storage: Storage) -> Expected {
        match self {
            Expected::Floats(values, bounds) if storage != Storage::F32 => {
                Expected::Narrow(storage, values, bounds)
            }
            other => other,
        }
    }

    /// Returns the share of elements that are not open.
    pub fn determined(&self) -> f64 {
        let share = |count: usize, all: usize| count as f64 / all.max(1) as f64;
        match self {
            Expected::Floats(_, bounds) | Expected::Doubles(_, bounds) | Expected::Narrow(_, _, bounds) => {
                share(bounds.iter().filter(|b| b.is_finite()).count(), bounds.len())
            }
            Expected::Words(_) => 1.0,
            Expected::Some(words) => share(words.iter().flatten().count(), words.len()),
            Expected::Any => 0.0,
        }
    }

    /// Compares the words of a buffer; fails with the first element that differs.
    pub fn check(&self, words: &[u32]) -> Result<(), String> {
        match self {
            Expected::Any => Ok(()),
            Expected::Words(expected) => {
                let same = expected.len() == words.len();
                let at = words.iter().zip(expected).position(|(w, e)| w != e);
                match at {
                    Some(at) => Err(format!("word {at} is {:#x}, expected {:#x}", words[at], expected[at])),
                    None if same => Ok(()),
                    None => Err(format!("{} words, expected {}", words.len(), expected.len())),
                }
            }
            Expected::Some(expected) => {
                let differs = |(w, e): (&u32, &Option<u32>)| e.is_some_and(|e| e != *w);
                match words.iter().zip(expected).position(differs) {
                    Some(at) => Err(format!("word {at} is {:#x}, expected {:?}", words[at], expected[at])),
                    None if expected.len() == words.len() => Ok(()),
                    None => Err(format!("{} words, expected {}", words.len(), expected.len())),
                }
            }
            Expected::Floats(values, bounds) => {
                let floats = words.iter().map(|w| f64::from(f32::from_bits(*w)));
                near(floats, values, bounds, |e| f64::from(e as f32))
            }
            Expected::Narrow(storage, values, bounds) => {
                let floats = unpacked(*storage, words, values.len());
                if words_of(*storage, values.len()) != words.len() {
                    return Err(format!("{} words for {} floats", words.len(), values.len()));
                }
                let (values, bounds) = rounding(*storage, values, bounds);
                near(floats.iter().map(|f| f64::from(*f)), &values, &bounds, |e| e)
            }
            Expected::Doubles(values, bounds) => {
                let double = |w: &[u32]| f64::from_bits(u64::from(w[0]) | u64::from(w[1]) << 32);
                near(words.chunks_exact(2).map(double), values, bounds, |e| e)
            }
        }
    }
}

/// Returns rounded values and how far the rounded values of numbers within the bounds are from them.
pub fn rounding(storage: Storage, values: &[f64], bounds: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let to_storage = |list: Vec<f64>| -> Vec<f64> {
        let floats: Vec<f32> = list.into_iter().map(|v| v as f32).collect();
        rounded(storage, &floats).into_iter().map(f64::from).collect()
    };
    let end = |side: f64| to_storage(values.iter().zip(bounds).map(|(v, b)| v + side * b).collect());
    let (nearest, low, high) = (to_storage(values.to_vec()), end(-1.0), end(1.0));
    let distance = |i: usize| match (high[i] - nearest[i]).max(nearest[i] - low[i]) {
        _ if bounds[i].is_infinite() => f64::INFINITY,
        distance if distance.is_finite() => distance,
        // An infinite value is itself.
        _ => 0.0,
    };
    let distances = (0..values.len()).map(distance).collect();
    (nearest, distances)
}

/// Compares floats, each within its bound or equal to the rounded value.
fn near(
    floats: impl ExactSizeIterator<Item = f64>,
    values: &[f64],
    bounds: &[f64],
    round: impl Fn(f64) -> f64,
) -> Result<(), String> {
    if floats.len() != values.len() {
        return Err(format!("{} floats, expected {}", floats.len(), values.len()));
    }
    for (i, ((f, e), bound)) in floats.zip(values).zip(bounds).enumerate() {
        let same = f == round(*e) || (f.is_nan() && e.is_nan());
        if !same && !bound.is_infinite() && (f - e).abs().partial_cmp(bound).is_none_or(Ordering::is_gt) {
            return Err(format!("element {i} is {f:e}, expected {e:e} within {bound:e}"));
        }
    }
    Ok(())
}
