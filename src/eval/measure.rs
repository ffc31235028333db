//! Metrics that are functions of relevance and mask alone.

/// Direction in which [`order`] sorts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Largest value first.
    Descending,
    /// Smallest value first.
    Ascending,
}

/// Returns the indices of the values in sorted order; equal values stay in order of their indices.
pub fn order(values: &[f64], direction: Order) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    match direction {
        Order::Descending => order.sort_by(|i, j| values[*j].total_cmp(&values[*i])),
        Order::Ascending => order.sort_by(|i, j| values[*i].total_cmp(&values[*j])),
    }
    order
}

/// Returns the mean height of a curve by the trapezoid rule; `NaN` for an empty curve.
pub fn area(curve: &[f64]) -> f64 {
    match curve {
        [] => f64::NAN,
        [only] => *only,
        _ => curve.windows(2).map(|w| (w[0] + w[1]) / 2.0).sum::<f64>() / (curve.len() - 1) as f64,
    }
}

/// Returns the mean; `NaN` for no values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Returns the softmax of logits.
pub fn softmax(logits: &[f64]) -> Vec<f64> {
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|v| (v - top).exp()).collect();
    let total: f64 = powers.iter().sum();
    powers.iter().map(|v| v / total).collect()
}

/// Divides values by their largest magnitude; zeros stay as they are.
pub fn normalised(values: &[f64]) -> Vec<f64> {
    let top = values.iter().map(|v| v.abs()).fold(0.0, f64::max);
    if top > 0.0 { values.iter().map(|v| v / top).collect() } else { values.to_vec() }
}

/// Returns the Gini index of the magnitudes of normalised values, each with 1e-7 added.
pub fn sparseness(values: &[f64]) -> f64 {
    let mut sizes: Vec<f64> = normalised(values).iter().map(|v| v.abs() + 1e-7).collect();
    sizes.sort_by(f64::total_cmp);
    let n = sizes.len() as f64;
    let ranked = sizes.iter().enumerate().map(|(k, v)| (2.0 * (k + 1) as f64 - n - 1.0) * v);
    ranked.sum::<f64>() / (n * sizes.iter().sum::<f64>())
}

/// Returns the entropy of the shares of the magnitudes, in nats; `NaN` where all are 0.
pub fn complexity(values: &[f64]) -> f64 {
    let total: f64 = values.iter().map(|v| v.abs()).sum();
    let term = |v: &f64| {
        let share = v.abs() / total;
        -share * (share + 1e-12).ln()
    };
    if total > 0.0 { values.iter().map(term).sum() } else { f64::NAN }
}

/// Returns the share of the `K` largest values that lie in a mask of `K` features; `NaN` for an empty mask.
pub fn rank_accuracy(values: &[f64], mask: &[bool]) -> f64 {
    let count = mask.iter().filter(|m| **m).count();
    let hits = order(values, Order::Descending).into_iter().take(count).filter(|i| mask[*i]).count();
    hits as f64 / count as f64
}

/// Returns the sum of the values in a mask as a share of the sum of all, with signs; `NaN` for an empty mask.
pub fn mass_accuracy(values: &[f64], mask: &[bool]) -> f64 {
    if !mask.contains(&true) {
        return f64::NAN;
    }
    let inside: f64 = values.iter().zip(mask).filter(|(_, m)| **m).map(|(v, _)| v).sum();
    inside / values.iter().sum::<f64>()
}

/// Returns 1 if one of the largest values lies in the mask, else 0; `NaN` for an empty mask.
pub fn pointing(values: &[f64], mask: &[bool]) -> f64 {
    let top = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let hit = values.iter().zip(mask).any(|(v, m)| *v == top && *m);
    if mask.contains(&true) { f64::from(u8::from(hit)) } else { f64::NAN }
}

/// Returns the relative change `‖before − after‖ / ‖before‖`.
pub fn change(before: &[f64], after: &[f64]) -> f64 {
    let off: f64 = before.iter().zip(after).map(|(a, b)| (a - b) * (a - b)).sum();
    (off / before.iter().map(|a| a * a).sum::<f64>()).sqrt()
}

/// Returns the mean structural similarity of two lists in windows of 7 (the largest odd number when they are shorter) with sample
/// covariances, the range being that of both together [wang2004]; 1 where both are the same constant.
pub fn similarity(a: &[f64], b: &[f64]) -> f64 {
    let window = a.len().min(7);
    let window = if window.is_multiple_of(2) { window.saturating_sub(1) } else { window };
    if window < 3 {
        return f64::NAN;
    }
    let both = || a.iter().chain(b).copied();
    let range = both().fold(f64::NEG_INFINITY, f64::max) - both().fold(f64::INFINITY, f64::min);
    if range == 0.0 {
        return 1.0;
    }
    let (c1, c2) = ((0.01 * range).powi(2), (0.03 * range).powi(2));
    let n = window as f64;
    let score = |(x, y): (&[f64], &[f64])| {
        let (mx, my) = (mean(x), mean(y));
        let covariance = |u: &[f64], mu: f64, v: &[f64], mv: f64| {
            u.iter().zip(v).map(|(u, v)| (u - mu) * (v - mv)).sum::<f64>() / (n - 1.0)
        };
        let (vx, vy, vxy) = (covariance(x, mx, x, mx), covariance(y, my, y, my), covariance(x, mx, y, my));
        ((2.0 * mx * my + c1) * (2.0 * vxy + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    };
    let scores: Vec<f64> = a.windows(window).zip(b.windows(window)).map(score).collect();
    mean(&scores)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, wanted: f64) {
        assert!((value - wanted).abs() < 1e-6, "{value}, not {wanted}");
    }

    #[test]
    fn orders_and_areas() {
        assert_eq!(order(&[1.0, 3.0, 1.0, 2.0], Order::Descending), [1, 3, 0, 2]);
        assert_eq!(order(&[1.0, 3.0, 1.0, 2.0], Order::Ascending), [0, 2, 3, 1]);
        near(area(&[1.0, 0.0, 0.5]), (0.5 + 0.25) / 2.0);
        near(area(&[0.7]), 0.7);
        assert!(area(&[]).is_nan());
        near(softmax(&[1000.0, 1000.0 + 2f64.ln()])[1], 2.0 / 3.0);
    }

    #[test]
    fn sparseness_and_complexity() {
        // One of four: (2·4 - 4 - 1) / 4. Equal values: 0, and all of the entropy.
        near(sparseness(&[0.0, 0.0, -8.0, 0.0]), 0.75);
        near(sparseness(&[2.0; 4]), 0.0);
        near(complexity(&[0.0, 5.0]), 0.0);
        near(complexity(&[-3.0, 3.0, 3.0, -3.0]), 4f64.ln());
        assert!(complexity(&[0.0, 0.0]).is_nan());
    }

    #[test]
    fn localisation() {
        let mask = [true, true, false, false];
        near(rank_accuracy(&[4.0, 1.0, 3.0, -9.0], &mask), 0.5);
        near(mass_accuracy(&[4.0, 1.0, 3.0, -3.0], &mask), 1.0);
        near(mass_accuracy(&[1.0, 1.0, 6.0, 0.0], &mask), 0.25);
        near(pointing(&[4.0, 1.0, 4.0, 0.0], &mask), 1.0);
        near(pointing(&[0.0, 1.0, 4.0, 0.0], &mask), 0.0);
        for metric in [rank_accuracy, mass_accuracy, pointing] {
            assert!(metric(&[1.0, 2.0], &[false, false]).is_nan());
        }
    }

    #[test]
    fn changes_and_similarities() {
        near(change(&[3.0, 4.0], &[3.0, 4.0]), 0.0);
        near(change(&[3.0, 4.0], &[0.0, 0.0]), 1.0);
        near(change(&[3.0, 4.0], &[6.0, 8.0]), 1.0);
        let a: Vec<f64> = (0..20).map(|i| f64::from(i * i % 7)).collect();
        near(similarity(&a, &a), 1.0);
        near(similarity(&[1.0; 9], &[1.0; 9]), 1.0);
        // One window, by hand: means 1 and 2, variances 1 and 1, covariance -1, range 3.
        let (c1, c2) = (0.0009, 0.0081);
        let wanted = ((4.0 + c1) * (-2.0 + c2)) / ((5.0 + c1) * (2.0 + c2));
        near(similarity(&[0.0, 1.0, 2.0], &[3.0, 2.0, 1.0]), wanted);
        assert!(similarity(&a, &a.iter().rev().copied().collect::<Vec<_>>()) < 0.9);
        assert!(similarity(&[1.0, 2.0], &[1.0, 2.0]).is_nan());
    }
}
