//! Separation of the explanation of a batch into those of its samples.

use dlbc_ops::tensor::Tensor;
use dlbc_runtime::{Explanation, Position, Request, rows};

/// Returns whether the explanation of a batch can be separated by sample: the request asks for nothing that sums over the rows.
pub fn is_separable(request: &Request) -> bool {
    let sums_rows = request.ledger || request.modules || request.heads || request.experts;
    let varies_positions = request.positions_first || !matches!(request.position, Position::At(_));
    let keeps_tensors = request.keep_all || !request.keep.is_empty();
    let is_tensor = request.baseline.is_some() || request.seed.is_some();
    !(sums_rows || varies_positions || keeps_tensors || is_tensor)
}

/// Returns the explanation of each sample of a batch; `None` in contrastive mode, for boxes, and when a tensor does not have one
/// row per sample.
pub fn separate(batch: &Explanation, samples: usize) -> Option<Vec<Explanation>> {
    if batch.opposing.is_some() || !batch.boxes.is_empty() {
        return None;
    }
    (0..samples).map(|row| explanation_of_row(batch, row, samples)).collect()
}

/// Returns the explanation of one row of a batch.
fn explanation_of_row(batch: &Explanation, row: usize, samples: usize) -> Option<Explanation> {
    let slice = |tensor: &Tensor| {
        (tensor.dims().first() == Some(&samples)).then(|| rows::slice(tensor, row, 1)).flatten()
    };
    let unit = |units: &[i64]| match units.len() {
        0 => Some(vec![]),
        n if n == samples => Some(vec![units[row]]),
        _ => None,
    };
    let mut explanation = batch.clone();
    for tensor in explanation.outputs.values_mut().chain(explanation.supporting.relevance.values_mut()) {
        *tensor = slice(tensor)?;
    }
    explanation.seed = slice(&batch.seed)?;
    explanation.argmax = unit(&batch.argmax)?;
    explanation.targets = unit(&batch.targets)?;
    let track = &mut explanation.supporting;
    track.seed_sum = explanation.seed.to_f64().iter().sum();
    for (name, sum) in &mut track.input_sums {
        *sum = track.relevance.get(name)?.to_f64().iter().sum();
    }
    track.absorbed = track.seed_sum - track.input_sums.values().sum::<f64>();
    Some(explanation)
}
