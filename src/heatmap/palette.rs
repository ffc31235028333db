//! Colours of relevance: a symmetric diverging scale, white at zero.

use image::Rgb;

/// Colours of a heat map, from negative to positive; zero is white.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colors {
    /// Blue to red.
    #[default]
    BlueRed,
    /// Purple to orange, for every kind of colour vision.
    PurpleOrange,
}

/// Anchors from zero to the largest value, for one sign.
type Ramp = [[f64; 3]; 4];

const WHITE: [f64; 3] = [255.0; 3];
const RED: Ramp = [WHITE, [253.0, 199.0, 173.0], [226.0, 94.0, 74.0], [158.0, 10.0, 33.0]];
const BLUE: Ramp = [WHITE, [178.0, 210.0, 236.0], [74.0, 144.0, 200.0], [10.0, 58.0, 122.0]];
const ORANGE: Ramp = [WHITE, [254.0, 210.0, 150.0], [229.0, 135.0, 30.0], [122.0, 58.0, 0.0]];
const PURPLE: Ramp = [WHITE, [208.0, 200.0, 229.0], [139.0, 121.0, 181.0], [84.0, 39.0, 130.0]];

/// Colour of NaN.
const UNDEFINED: Rgb<u8> = Rgb([128, 128, 128]);

/// Share of the largest values that are clipped, because single outliers would pale everything else.
const CLIPPED: f64 = 0.005;

/// Returns the colour of `t`, clamped to -1..1.
pub fn color(colors: Colors, t: f64) -> Rgb<u8> {
    if t.is_nan() {
        return UNDEFINED;
    }
    let ramp = match (colors, t < 0.0) {
        (Colors::BlueRed, false) => RED,
        (Colors::BlueRed, true) => BLUE,
        (Colors::PurpleOrange, false) => ORANGE,
        (Colors::PurpleOrange, true) => PURPLE,
    };
    let at = t.abs().min(1.0) * (ramp.len() - 1) as f64;
    let below = (at as usize).min(ramp.len() - 2);
    let share = at - below as f64;
    Rgb(std::array::from_fn(|c| (ramp[below][c] * (1.0 - share) + ramp[below + 1][c] * share).round() as u8))
}

/// Blends `share` of `b` over `a`.
pub fn blend(a: Rgb<u8>, b: Rgb<u8>, share: f64) -> Rgb<u8> {
    Rgb(std::array::from_fn(|c| {
        (f64::from(a.0[c]) * (1.0 - share) + f64::from(b.0[c]) * share).round() as u8
    }))
}

/// Returns the magnitude that gets the strongest colour: the largest after the clipped share. 0 if all values are 0.
pub fn scale(values: &[f64]) -> f64 {
    let mut sizes: Vec<f64> = values.iter().map(|v| v.abs()).filter(|v| v.is_finite()).collect();
    sizes.sort_by(f64::total_cmp);
    let Some(last) = sizes.len().checked_sub(1) else { return 0.0 };
    let strongest = sizes[last - (CLIPPED * sizes.len() as f64) as usize];
    if strongest > 0.0 { strongest } else { sizes[last] }
}

/// Divides `value` by `scale`; 0 for a scale of 0.
pub fn relative(value: f64, scale: f64) -> f64 {
    if scale > 0.0 { value / scale } else { value * 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_white_and_signs_differ() {
        for colors in [Colors::BlueRed, Colors::PurpleOrange] {
            assert_eq!(color(colors, 0.0), Rgb([255; 3]));
            assert_eq!(color(colors, -0.0), Rgb([255; 3]));
            assert_eq!(color(colors, 7.0), color(colors, 1.0));
            for t in [0.1, 0.5, 1.0] {
                let (up, down) = (color(colors, t).0, color(colors, -t).0);
                assert!(up[0] > up[2] && down[2] > down[0], "{t}: {up:?} {down:?}");
            }
        }
    }

    #[test]
    fn both_signs_darken_alike() {
        let light =
            |c: Rgb<u8>| c.0.iter().zip([0.299, 0.587, 0.114]).map(|(v, w)| f64::from(*v) * w).sum::<f64>();
        for colors in [Colors::BlueRed, Colors::PurpleOrange] {
            let mut last = 256.0;
            for step in 1..=20 {
                let t = f64::from(step) / 20.0;
                let (up, down) = (light(color(colors, t)), light(color(colors, -t)));
                assert!(up < last && (up - down).abs() < 30.0, "{colors:?} {t}: {up} {down}");
                last = up;
            }
        }
    }

    #[test]
    fn outliers_are_clipped() {
        let mut values = vec![-1.0; 999];
        values.push(1000.0);
        assert_eq!(scale(&values), 1.0);
        assert_eq!((scale(&[]), scale(&[0.0, 0.0]), scale(&[0.0, -2.0])), (0.0, 0.0, 2.0));
        let mut sparse = vec![0.0; 999];
        sparse.push(3.0);
        assert_eq!(scale(&sparse), 3.0);
        assert_eq!(relative(5.0, 0.0), 0.0);
    }
}
