//! Medians, rank and linear correlation, largest units.

/// Returns the rank of each value; equal values share their mean rank.
pub fn ranks(x: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|i, j| x[*i].total_cmp(&x[*j]));
    let mut ranks = vec![0.0; x.len()];
    let mut start = 0;
    while start < order.len() {
        let equal = order[start..].iter().take_while(|i| x[**i] == x[order[start]]).count().max(1);
        let mean = (2 * start + equal - 1) as f64 / 2.0;
        order[start..start + equal].iter().for_each(|i| ranks[*i] = mean);
        start += equal;
    }
    ranks
}

/// Returns Pearson's correlation; 1 if both are constant, 0 if one of them is.
pub fn correlation(x: &[f64], y: &[f64]) -> f64 {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len().max(1) as f64;
    let (mx, my) = (mean(x), mean(y));
    let sum = |f: &dyn Fn(f64, f64) -> f64| x.iter().zip(y).map(|(a, b)| f(a - mx, b - my)).sum::<f64>();
    let (xx, yy, xy) = (sum(&|a, _| a * a), sum(&|_, b| b * b), sum(&|a, b| a * b));
    match (xx == 0.0, yy == 0.0) {
        (true, true) => 1.0,
        (true, false) | (false, true) => 0.0,
        _ => xy / (xx * yy).sqrt(),
    }
}

/// Returns the index of the largest value: the first of equal ones, 0 for no values.
pub fn argmax(row: &[f64]) -> usize {
    (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

/// Returns the units of each row of an output `[..., row, unit]`; for `[row, position, unit]` those at the last position.
pub fn unit_rows<'a>(dims: &[usize], values: &'a [f64]) -> Vec<&'a [f64]> {
    let units = dims.last().copied().unwrap_or(1).max(1);
    let positions = if let [_, positions, _] = dims { (*positions).max(1) } else { 1 };
    let rows: Vec<&[f64]> = values.chunks(units).collect();
    rows.chunks(positions).filter_map(|row| row.last().copied()).collect()
}

/// Sorts the values and returns their median; 0 for no values.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values {
        [] => 0.0,
        _ => (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_unit_at_the_last_position() {
        let values = [9.0, 0.0, 0.0, 1.0];
        assert_eq!(unit_rows(&[1, 2, 2], &values), [&values[2..]]);
        assert_eq!(unit_rows(&[2, 2], &values), [&values[..2], &values[2..]]);
        assert!(unit_rows(&[0, 3], &[]).is_empty() && unit_rows(&[2, 0], &[]).is_empty());
        assert_eq!((argmax(&values), argmax(&[1.0, 1.0]), argmax(&[])), (0, 0, 0));
    }

    #[test]
    fn medians() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn ranks_of_ties_are_their_mean() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 0.0]), [2.5, 1.0, 2.5, 0.0]);
        assert_eq!(correlation(&[0.0, 1.0, 2.0], &[5.0, 7.0, 9.0]), 1.0);
        assert_eq!(correlation(&[0.0, 1.0], &[1.0, 1.0]), 0.0);
    }
}
