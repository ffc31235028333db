//! A run of several samples taken apart, row by row.

use dlbc_ops::tensor::Tensor;
use dlbc_runtime::{Explanation, Position, Request, rows};

/// Returns whether a request asks for nothing that sums over the rows of a batch, so that its explanation can be taken apart.
pub fn is_separable(request: &Request) -> bool {
    let whole = request.ledger || request.modules || request.heads || request.experts;
    let positions = request.positions_first || !matches!(request.position, Position::At(_));
    !(whole || positions || request.keep_all || !request.keep.is_empty() || request.baseline.is_some())
}

/// The explanation of each row; `None` where a tensor has not a row a sample.
pub fn separate(whole: &Explanation, samples: usize) -> Option<Vec<Explanation>> {
    if whole.opposing.is_some() || !whole.boxes.is_empty() {
        return None;
    }
    (0..samples).map(|row| one(whole, row, samples)).collect()
}

fn one(whole: &Explanation, row: usize, samples: usize) -> Option<Explanation> {
    let slice = |tensor: &Tensor| {
        (tensor.dims().first() == Some(&samples)).then(|| rows::slice(tensor, row, 1)).flatten()
    };
    let unit = |units: &[i64]| match units.len() {
        0 => Some(vec![]),
        n if n == samples => Some(vec![units[row]]),
        _ => None,
    };
    let mut one = whole.clone();
    for tensor in one.outputs.values_mut().chain(one.supporting.relevance.values_mut()) {
        *tensor = slice(tensor)?;
    }
    one.seed = slice(&whole.seed)?;
    one.argmax = unit(&whole.argmax)?;
    one.targets = unit(&whole.targets)?;
    let track = &mut one.supporting;
    track.start = one.seed.to_f64().iter().sum();
    for (name, sum) in &mut track.inputs {
        *sum = track.relevance.get(name)?.to_f64().iter().sum();
    }
    track.absorbed = track.start - track.inputs.values().sum::<f64>();
    Some(one)
}
