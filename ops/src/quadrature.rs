//! Gauss-Legendre quadrature.

/// Returns `(node, weight)` of each of the `n` points of Gauss-Legendre quadrature on [0, 1], which integrates
/// polynomials of degree `2n - 1` exactly.
pub fn gauss_legendre(n: usize) -> Vec<(f64, f64)> {
    let root = |i: usize| {
        let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (n as f64 + 0.5)).cos();
        let mut slope = 1.0;
        for _ in 0..100 {
            let (mut p, mut previous) = (1.0, 0.0);
            for k in 1..=n {
                let k = k as f64;
                (p, previous) = (((2.0 * k - 1.0) * x * p - (k - 1.0) * previous) / k, p);
            }
            slope = n as f64 * (x * p - previous) / (x * x - 1.0);
            let step = p / slope;
            x -= step;
            if step.abs() < 1e-15 {
                break;
            }
        }
        ((1.0 - x) / 2.0, 1.0 / ((1.0 - x * x) * slope * slope))
    };
    (0..n).map(root).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quadrature_is_exact_for_polynomials() {
        for n in [1, 2, 5, 32, 200] {
            let rule = gauss_legendre(n);
            for degree in [0, 1, 2 * n - 1] {
                let integral: f64 = rule.iter().map(|(x, w)| w * x.powi(degree as i32)).sum();
                assert!(
                    (integral - 1.0 / (degree + 1) as f64).abs() < 1e-12,
                    "{n} points, degree {degree}: {integral}"
                );
            }
            assert!(
                rule.windows(2).all(|w| w[0].0 < w[1].0) && rule.iter().all(|(x, _)| 0.0 < *x && *x < 1.0)
            );
        }
    }
}
