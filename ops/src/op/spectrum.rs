//! Constants of spectral analysis: windows and the matrix of mel bands. Reads `HannWindow`, `HammingWindow`, `BlackmanWindow` and
//! `MelWeightMatrix`.

use super::read::{Reader, Reading};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{DType, Tensor};

/// Returns the readers of the windows and of `MelWeightMatrix`.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("HannWindow", 17, |r| window(r, &[0.5, -0.5])),
        // The coefficients of the specification are these fractions.
        Reader::new("HammingWindow", 17, |r| window(r, &[25.0 / 46.0, -21.0 / 46.0])),
        Reader::new("BlackmanWindow", 17, |r| window(r, &[0.42, -0.5, 0.08])),
        Reader::new("MelWeightMatrix", 17, mel_weights),
    ]
}

/// Returns the value of an operand that must be known and have one element.
fn scalar(r: &Reading, i: usize, what: &str) -> Result<f64, OpError> {
    let v = r.input(i)?;
    if r.ty(v).dtype.is_float() {
        return r.float_of(v, what).map(f64::from);
    }
    match r.ints_of(v, what)?.as_slice() {
        [value] => Ok(*value as f64),
        other => Err(OpError::mismatch(what, "one value", other.len())),
    }
}

/// Adds a computed constant in the element type that attribute `output_datatype` names.
fn constant(r: &mut Reading, dims: &[usize], values: &[f32]) -> Result<Vec<Value>, OpError> {
    let dtype = super::element_type(r.int_or("output_datatype", 1)?)?;
    let values = r.add_constant(Tensor::from_f32(dims, values));
    Ok(vec![r.cast(values, if dtype.is_float() { DType::F32 } else { dtype })?])
}

/// Reads a window `Σ cₖ cos(2πki / n)`.
fn window(r: &mut Reading, coefficients: &[f64]) -> Result<Vec<Value>, OpError> {
    let size = scalar(r, 0, "size")?;
    if !(0.0..=1e9).contains(&size) {
        return Err(OpError::mismatch("size", "0 to 1000000000", size));
    }
    let period = if r.flag("periodic", true)? { size } else { size - 1.0 };
    let term = |k: usize, i: f64| (2.0 * std::f64::consts::PI * k as f64 * i / period).cos();
    let value = |i: f64| coefficients.iter().enumerate().map(|(k, c)| c * term(k, i)).sum::<f64>();
    let values: Vec<f32> = (0..size as usize).map(|i| value(i as f64) as f32).collect();
    constant(r, &[values.len()], &values)
}

/// Reads `MelWeightMatrix`: triangles over the bins of a spectrum, `[bins, bands]`. Operands: bands, length of the transform,
/// sampling rate, lowest and highest frequency in hertz.
fn mel_weights(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let bands = scalar(r, 0, "num_mel_bins")?;
    let length = scalar(r, 1, "dft_length")?;
    let rate = scalar(r, 2, "sample_rate")?;
    let (low, high) = (scalar(r, 3, "lower_edge_hertz")?, scalar(r, 4, "upper_edge_hertz")?);
    if !(0.0..=1e5).contains(&bands) || !(1.0..=1e7).contains(&length) || rate <= 0.0 {
        let sizes = format!("{bands} bands, length {length}, {rate} samples a second");
        return Err(OpError::mismatch("num_mel_bins, dft_length and sample_rate", "positive values", sizes));
    }
    let (bands, bins) = (bands as usize, length as usize / 2 + 1);
    let bytes = 4 * (bands * bins) as u64;
    if bytes > r.max_tensor_bytes {
        let what = format!("matrix of {bins} bins and {bands} bands");
        return Err(OpError::TensorBytes { what, bytes, limit: r.max_tensor_bytes });
    }
    let mel = |hertz: f64| 2595.0 * (1.0 + hertz / 700.0).log10();
    let step = (mel(high) - mel(low)) / (bands + 2) as f64;
    let edge = |i: usize| {
        let hertz = 700.0 * (10f64.powf((mel(low) + i as f64 * step) / 2595.0) - 1.0);
        ((length + 1.0) * hertz / rate).floor().clamp(0.0, bins as f64) as usize
    };
    let mut weights = vec![0.0; bins * bands];
    for band in 0..bands {
        let (left, centre, right) = (edge(band), edge(band + 1), edge(band + 2));
        let mut set = |bin: usize, value: f64| {
            if bin < bins {
                weights[bin * bands + band] = value as f32;
            }
        };
        let width = |a: usize, b: usize| b.saturating_sub(a) as f64;
        if left == centre {
            set(centre, 1.0);
        } else {
            (left..=centre).for_each(|bin| set(bin, width(left, bin) / width(left, centre)));
        }
        (centre..right).for_each(|bin| set(bin, width(bin, right) / width(centre, right)));
    }
    constant(r, &[bins, bands], &weights)
}
