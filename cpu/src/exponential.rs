//! The exponential function of many numbers at a time, without branches, so that it compiles to vector instructions.

/// Replaces each element `x` by `eˣ`, accurate to two units in the last place. Below -87.3, where results become subnormal, it is
/// 0.
#[inline(always)]
pub fn exp(x: &mut [f32]) {
    // eˣ = 2ᵏ · eᵗ with k = round(x / ln 2) and |t| ≤ ln 2 / 2; splitting ln 2 keeps t exact.
    const HIGH: f32 = 0.693_359_4;
    const LOW: f32 = -2.121_944_4e-4;
    // Adding 1.5 · 2²³ rounds to an integer, which the lowest bits then hold.
    const ROUND: f32 = 12_582_912.0;
    for x in x {
        let bounded = if *x > -87.3 { *x } else { -87.3 };
        let bounded = if bounded < 88.7 { bounded } else { 88.7 };
        let shifted = bounded * std::f32::consts::LOG2_E + ROUND;
        let k = shifted - ROUND;
        let t = (bounded - k * HIGH) - k * LOW;
        // Minimax polynomial of eᵗ on this interval (Cephes library).
        let mut p = 1.987_569_1e-4f32;
        p = p * t + 1.398_199_9e-3;
        p = p * t + 8.333_452e-3;
        p = p * t + 4.166_579_6e-2;
        p = p * t + 1.666_666_5e-1;
        p = p * t + 0.5;
        let e = p * t * t + t + 1.0;
        let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
        let y = e * power;
        *x = if x.is_nan() {
            *x
        } else if *x <= -87.3 {
            0.0
        } else {
            y
        };
    }
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn agrees_with_the_library() {
        let inputs: Vec<f32> =
            (0..200_000).map(|i| -90.0 + i as f32 * 8.0e-4).chain([0.0, -0.0, 1e-20]).collect();
        let mut y = inputs.clone();
        exp(&mut y);
        for (x, y) in inputs.iter().zip(&y) {
            let expected = f64::from(*x).exp();
            if *x <= -87.3 {
                assert_eq!(*y, 0.0, "{x}");
            } else {
                let error = (f64::from(*y) - expected).abs() / expected;
                assert!(error < 2.5e-7, "{x}: {y}, {expected} expected, {error:e}");
            }
        }
    }

    #[test]
    fn handles_infinity_and_nan() {
        let mut y = [f32::NEG_INFINITY, f32::MIN, f32::NAN];
        exp(&mut y);
        assert_eq!(y[..2], [0.0, 0.0]);
        assert!(y[2].is_nan());
    }
}
