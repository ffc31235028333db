//! Agreement of a tensor of two results, computed for each sample of the batch without padding.

use dlbc_ops::tensor::Tensor;
use serde::Serialize;

use super::labels::Labels;
use crate::statistics::{correlation, ranks};

/// Comparison of a tensor of two results. Rank correlation, cosine and overlap of a batch are means over the samples.
#[derive(Debug, Serialize)]
pub struct Compared {
    /// Name of the tensor.
    pub tensor: String,
    /// Agreement over all samples.
    #[serde(flatten)]
    pub agreement: Agreement,
    /// Agreement of each sample, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Agreement>,
    /// Elements that differ most, largest difference first.
    pub moves: Vec<Move>,
}

/// Agreement of two vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Agreement {
    /// Spearman's rank correlation.
    pub rank: f64,
    /// Cosine of the angle between them.
    pub cosine: f64,
    /// `Σ|a - b| / Σ|a|`.
    pub l1: f64,
    /// Share of the largest elements of the first that are among the largest of the second, from 0 to 1.
    pub overlap: f64,
}

/// Element whose values in both results differ, `before` in the first and `after` in the second.
#[derive(Debug, Serialize)]
pub struct Move {
    /// Index of the element along each axis.
    pub index: Vec<usize>,
    /// Token or feature of the element; both tokens where those of the two texts differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Value in the first result.
    pub before: f64,
    /// Value in the second result.
    pub after: f64,
}

/// Numbers of elements and samples to compare and list.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Number of largest elements of the first that are looked for among as many of the second.
    pub top: usize,
    /// Number of listed moves of a tensor.
    pub moves: usize,
    /// Samples in the batch.
    pub samples: usize,
}

/// Compares a tensor of two results, of one shape. `labels` name its elements and say which of them are padding.
pub fn compare(
    tensor: String,
    (a, b): (&Tensor, &Tensor),
    (first, second): (Option<&Labels>, Option<&Labels>),
    extent: Extent,
) -> Compared {
    let dims = a.dims().to_vec();
    let (a, b) = (a.to_f64(), b.to_f64());
    // An element that is padding in both results explains nothing.
    let pads = |labels: Option<&Labels>, i| labels.is_none_or(|l| l.is_padding(i));
    let labelled = first.is_some() || second.is_some();
    let counts: Vec<bool> = (0..a.len()).map(|i| !(labelled && pads(first, i) && pads(second, i))).collect();
    let several = dims.len() > 1 && dims[0] == extent.samples && dims[0] > 1;
    let size = if several { a.len() / dims[0] } else { a.len() }.max(1);
    let unpadded = |values: &[f64], from: usize| -> Vec<f64> {
        let to = (from + size).min(values.len());
        (from..to).filter(|i| counts[*i]).map(|i| values[i]).collect()
    };
    let starts = (0..a.len().max(1)).step_by(size);
    let samples: Vec<Agreement> =
        starts.map(|from| agreement(&unpadded(&a, from), &unpadded(&b, from), extent.top)).collect();
    let mut agreement = mean(&samples);
    if several {
        let (off, sum) = (0..a.len())
            .filter(|i| counts[*i])
            .fold((0.0, 0.0), |(off, sum), i| (off + (a[i] - b[i]).abs(), sum + a[i].abs()));
        agreement.l1 = quotient(off, sum);
    }
    let mut order: Vec<usize> = (0..a.len()).filter(|i| a[*i] != b[*i] && counts[*i]).collect();
    order.sort_by(|i, j| (a[*j] - b[*j]).abs().total_cmp(&(a[*i] - b[*i]).abs()).then(i.cmp(j)));
    let named = |i: usize| match (first.and_then(|l| l.name(i)), second.and_then(|l| l.name(i))) {
        (Some(a), Some(b)) if a != b => Some(format!("{a} / {b}")),
        (a, b) => a.or(b).map(ToString::to_string),
    };
    let moves = order.into_iter().take(extent.moves);
    let moves = moves.map(|i| Move { index: index(i, &dims), name: named(i), before: a[i], after: b[i] });
    Compared { tensor, agreement, samples: if several { samples } else { vec![] }, moves: moves.collect() }
}

fn agreement(a: &[f64], b: &[f64], top: usize) -> Agreement {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let (off, size): (f64, f64) =
        (a.iter().zip(b).map(|(x, y)| (x - y).abs()).sum(), a.iter().map(|x| x.abs()).sum());
    let largest = |x: &[f64]| -> Vec<usize> {
        let mut order: Vec<usize> = (0..x.len()).collect();
        order.sort_by(|i, j| x[*j].total_cmp(&x[*i]).then(i.cmp(j)));
        order.truncate(top.max(1));
        order.sort_unstable();
        order
    };
    let (first, second) = (largest(a), largest(b));
    let common = first.iter().filter(|i| second.binary_search(i).is_ok()).count();
    Agreement {
        rank: correlation(&ranks(a), &ranks(b)),
        cosine: quotient(dot(a, b), (dot(a, a) * dot(b, b)).sqrt()),
        l1: quotient(off, size),
        overlap: quotient(common as f64, first.len() as f64),
    }
}

/// Returns the mean of each number; NaN propagates.
fn mean(samples: &[Agreement]) -> Agreement {
    let average =
        |number: fn(&Agreement) -> f64| samples.iter().map(number).sum::<f64>() / samples.len().max(1) as f64;
    Agreement {
        rank: average(|s| s.rank),
        cosine: average(|s| s.cosine),
        l1: average(|s| s.l1),
        overlap: average(|s| s.overlap),
    }
}

/// Returns `a / b`; 0 if both are 0.
fn quotient(a: f64, b: f64) -> f64 {
    if b == 0.0 && a == 0.0 { 0.0 } else { a / b }
}

fn index(flat: usize, dims: &[usize]) -> Vec<usize> {
    let mut rest = flat;
    let mut index: Vec<usize> = dims
        .iter()
        .rev()
        .map(|d| {
            let at = rest % d.max(&1);
            rest /= d.max(&1);
            at
        })
        .collect();
    index.reverse();
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(a: &Tensor, b: &Tensor, top: usize, moves: usize) -> Compared {
        compare("x".into(), (a, b), (None, None), Extent { top, moves, samples: 1 })
    }

    #[test]
    fn a_tensor_and_its_negative() {
        let a = Tensor::from_f32(&[2, 2], &[1.0, -2.0, 3.0, 4.0]);
        let b = Tensor::from_f32(&[2, 2], &[-1.0, 2.0, -3.0, -4.0]);
        let Compared { agreement: same, moves, .. } = plain(&a, &a, 2, 5);
        assert_eq!((same.rank, same.l1, same.overlap, moves.len()), (1.0, 0.0, 1.0, 0));
        assert!((same.cosine - 1.0).abs() < 1e-12);
        let Compared { agreement: other, moves, .. } = plain(&a, &b, 2, 5);
        assert_eq!((other.rank, other.l1, other.overlap), (-1.0, 2.0, 0.0));
        assert_eq!(moves[0].index, [1, 1]);
    }

    #[test]
    fn numbers_of_scipy_and_numpy() {
        // scipy.stats.spearmanr, and a·b / |a||b|.
        let a = Tensor::from_f32(&[6], &[1.0, 2.0, 2.0, 4.0, 5.0, 0.5]);
        let b = Tensor::from_f32(&[6], &[2.0, 1.0, 4.0, 3.0, 3.0, -7.0]);
        let c = plain(&a, &b, 3, 2);
        assert!(
            (c.agreement.rank - 0.647_058_823_529_411_8).abs() < 1e-12
                && (c.agreement.cosine - 0.533_849_676_556_665_4).abs() < 1e-12,
            "{c:?}"
        );
        // The three largest stand at 4, 3, 1 and at 2, 3, 4.
        assert!((c.agreement.overlap - 2.0 / 3.0).abs() < 1e-12);
        let moves: Vec<usize> = c.moves.iter().map(|m| m.index[0]).collect();
        assert_eq!(moves, [5, 2]);
    }

    #[test]
    fn each_sample_is_compared_on_its_own_without_padding() {
        let word = |w: &str| Some(w.to_string());
        let labels = Labels::Rows(vec![
            vec![word("good"), word("film"), None],
            vec![word("bad"), word("film"), word("!")],
        ]);
        let a = Tensor::from_f32(&[2, 3], &[1.0, 2.0, 0.0, 300.0, 200.0, 100.0]);
        // The padding differs, and does not count.
        let b = Tensor::from_f32(&[2, 3], &[2.0, 1.0, 9.0, 300.0, 200.0, 100.0]);
        let extent = Extent { top: 1, moves: 5, samples: 2 };
        let c = compare("ids".into(), (&a, &b), (Some(&labels), Some(&labels)), extent);
        assert_eq!((c.samples[0].rank, c.samples[1].rank, c.agreement.rank), (-1.0, 1.0, 0.0));
        let moves: Vec<_> = c.moves.iter().map(|m| (m.index.clone(), m.name.clone().unwrap())).collect();
        assert_eq!(moves, [(vec![0, 0], "good".to_string()), (vec![0, 1], "film".to_string())]);
        assert!((c.agreement.l1 - 2.0 / 603.0).abs() < 1e-12);
    }
}
