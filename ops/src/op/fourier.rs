//! Discrete Fourier transforms, read as products with matrices of cosines and sines. Reads `DFT` and `STFT`.
//!
//! Shapes: x `[…, n, …, 1 or 2]` with the real and the imaginary part along the last axis, y likewise with 2.

use super::read::{Reader, Reading, resolve};
use super::{Add, Concat, Linear, Mul, Pad, Range, Sub, Transpose};
use crate::OpError;
use crate::graph::Value;
use crate::prim::PadMode;
use crate::tensor::{DType, Dim, Shape, Tensor};

/// Returns the readers of `DFT` and `STFT`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("DFT", 17, read_dft), Reader::new("STFT", 17, read_stft)]
}

/// A transform of one length.
struct Transform {
    /// Number of samples.
    length: usize,
    /// True if the sign of the exponent is positive and the result is divided by the length.
    inverse: bool,
    /// True if only the frequencies up to half of the sampling rate are computed or, for the inverse, present.
    onesided: bool,
}

impl Transform {
    /// Returns the number of frequencies.
    fn frequencies(&self) -> usize {
        if self.onesided { self.length / 2 + 1 } else { self.length }
    }

    /// Returns the matrices of cosines and sines, `[from, to]`.
    fn matrices(&self, r: &Reading) -> Result<[Tensor; 2], OpError> {
        let (length, frequencies) = (self.length, self.frequencies());
        let bytes = (length as u64).saturating_mul(frequencies as u64).saturating_mul(4);
        if bytes > r.max_tensor_bytes {
            let what = format!("matrix of a Fourier transform of length {length}");
            return Err(OpError::TensorBytes { what, bytes, limit: r.max_tensor_bytes });
        }
        let (rows, columns) = if self.inverse { (frequencies, length) } else { (length, frequencies) };
        let scale = if self.inverse { 1.0 / length as f64 } else { 1.0 };
        // A frequency of a one-sided inverse stands for its mirror image, too.
        let mirrored = |k: usize| self.inverse && self.onesided && k != 0 && 2 * k != length;
        let entry = |f: fn(f64) -> f64, i: usize| {
            let (row, column) = (i / columns, i % columns);
            let turns = ((row as u128 * column as u128) % length as u128) as f64 / length as f64;
            let weight = if mirrored(row) { 2.0 } else { 1.0 };
            (f(2.0 * std::f64::consts::PI * turns) * scale * weight) as f32
        };
        let matrix = |f: fn(f64) -> f64| {
            let values: Vec<f32> = (0..rows * columns).map(|i| entry(f, i)).collect();
            Tensor::from_f32(&[rows, columns], &values)
        };
        Ok([matrix(f64::cos), matrix(f64::sin)])
    }

    /// Adds the transform along the axis before the last: `[…, n, 1 or 2]` → `[…, frequencies, 2]`.
    fn apply(&self, r: &mut Reading, x: Value) -> Result<Value, OpError> {
        let shape = r.ty(x).shape;
        let parts_axis = shape.rank() - 1;
        let part = |r: &mut Reading, i: i64| -> Result<Value, OpError> {
            let part = r.slice(x, parts_axis, Dim::known(i), Dim::known(1))?;
            r.reshape(part, Shape(shape.0[..parts_axis].to_vec()))
        };
        let is_complex = match &shape.0[parts_axis] {
            d if d.is(1) => false,
            d if d.is(2) => true,
            d => return Err(OpError::mismatch("last axis", "1 or 2", d)),
        };
        let [cosines, sines] = self.matrices(r)?;
        let (cosines, sines) = (r.add_constant(cosines), r.add_constant(sines));
        let product = |r: &mut Reading, x: Value, m: Value| r.add(Linear { transposed: false }, &[x, m]);
        let real = part(r, 0)?;
        // e^(-jωt) = cos - j sin; the inverse has the other sign.
        let mut result_real = product(r, real, cosines)?;
        let mut result_imaginary = product(r, real, sines)?;
        if !self.inverse {
            result_imaginary = r.unary(crate::prim::Unary::Neg, result_imaginary)?;
        }
        if is_complex {
            let imaginary = part(r, 1)?;
            let (by_cosine, by_sine) = (product(r, imaginary, cosines)?, product(r, imaginary, sines)?);
            result_imaginary = r.add(Add, &[result_imaginary, by_cosine])?;
            result_real = match self.inverse {
                true => r.add(Sub, &[result_real, by_sine])?,
                false => r.add(Add, &[result_real, by_sine])?,
            };
        }
        let column = |r: &mut Reading, v: Value| {
            let shape = r.ty(v).shape;
            r.reshape(v, Shape([shape.0, vec![Dim::known(1)]].concat()))
        };
        let result_real = column(r, result_real)?;
        if self.inverse && self.onesided {
            return Ok(result_real);
        }
        let result_imaginary = column(r, result_imaginary)?;
        r.add(Concat { axis: parts_axis }, &[result_real, result_imaginary])
    }
}

fn known_length(dim: &Dim, what: &str) -> Result<usize, OpError> {
    let length = dim.as_known().and_then(|n| usize::try_from(n).ok());
    let length = length.ok_or_else(|| OpError::symbolic(what, "a known number", dim))?;
    if length == 0 { Err(OpError::mismatch(what, "at least 1", 0)) } else { Ok(length) }
}

/// Reads `DFT`. The axis is an attribute (1 by default) up to opset 19, and an operand (-2 by default) afterwards.
fn read_dft(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let rank = r.ty(x).rank();
    if rank < 2 {
        return Err(OpError::mismatch("rank of the operand", "at least 2", rank));
    }
    let (inverse, onesided) = (r.flag("inverse", false)?, r.flag("onesided", false)?);
    let length = match r.optional(1) {
        None => None,
        Some(v) => match r.dims_of(v, "dft_length")?.as_slice() {
            [length] => Some(length.clone()),
            other => return Err(OpError::mismatch("dft_length", "one value", other.len())),
        },
    };
    let axis = match (r.opset >= 20, r.optional(2)) {
        (true, None) => -2,
        (true, Some(v)) => match r.ints_of(v, "axis")?.as_slice() {
            [axis] => *axis,
            other => return Err(OpError::mismatch("axis", "one value", other.len())),
        },
        (false, _) => r.int_or("axis", 1)?,
    };
    let axis = resolve(axis, rank)?;
    if axis + 1 == rank {
        return Err(OpError::mismatch("axis", "an axis of the signal", axis));
    }
    // The transformed axis goes before the parts.
    let mut perm: Vec<usize> = (0..rank).filter(|a| *a != axis && a + 1 != rank).collect();
    perm.extend([axis, rank - 1]);
    let signal = r.add(Transpose { perm: perm.clone() }, &[x])?;
    let present = r.ty(signal).dim(rank - 2).clone();
    let length = match length {
        Some(length) => known_length(&length, "dft_length")?,
        None if inverse && onesided => 2 * (known_length(&present, "length of the signal")? - 1),
        None => known_length(&present, "length of the signal")?,
    };
    let transform = Transform { length, inverse, onesided };
    let from = if inverse { transform.frequencies() } else { length };
    let signal = resized(r, signal, rank - 2, from)?;
    let y = transform.apply(r, signal)?;
    let mut back = vec![0; rank];
    perm.iter().enumerate().for_each(|(to, from)| back[*from] = to);
    Ok(vec![r.add(Transpose { perm: back }, &[y])?])
}

/// Crops or pads an axis at its end to `length` elements.
fn resized(r: &mut Reading, x: Value, axis: usize, length: usize) -> Result<Value, OpError> {
    let ty = r.ty(x);
    let missing = length as i64 - known_length(ty.dim(axis), "length of the signal")? as i64;
    if missing <= 0 {
        return if missing == 0 { Ok(x) } else { r.slice(x, axis, Dim::known(0), Dim::known(length as i64)) };
    }
    let before = vec![Dim::known(0); ty.rank()];
    let mut after = before.clone();
    after[axis] = Dim::known(missing);
    r.add(Pad { before, after, mode: PadMode::Constant(0.0) }, &[x])
}

/// Reads `STFT`: frames of the signal, times the window, transformed. Operands: signal `[batch, samples, 1 or 2]`, or
/// `[batch, samples]` as PyTorch writes it, step, window (optional), length of a frame (optional).
fn read_stft(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (mut signal, step) = (r.input(0)?, r.input(1)?);
    let mut shape = r.ty(signal).shape;
    if shape.rank() == 2 {
        shape.0.push(Dim::known(1));
        signal = r.reshape(signal, shape.clone())?;
    }
    let [batch, samples, parts] = shape.0.as_slice() else {
        return Err(OpError::mismatch("rank of the signal", "2 or 3", shape.rank()));
    };
    let scalar = |r: &mut Reading, v: Value, what: &str| match r.dims_of(v, what)?.as_slice() {
        [d] => known_length(d, what),
        other => Err(OpError::mismatch(what, "one value", other.len())),
    };
    let step = scalar(r, step, "frame_step")?;
    let window = r.optional(2);
    let length = match (r.optional(3), window) {
        (Some(v), _) => scalar(r, v, "frame_length")?,
        (None, Some(window)) => known_length(r.ty(window).dim(0), "length of the window")?,
        (None, None) => known_length(samples, "length of the signal")?,
    };
    let last = samples - &Dim::known(length as i64);
    let frames = &last.floor_div(&Dim::known(step as i64)) + &Dim::known(1);
    let start = r.count_along(&frames, 0, 2)?;
    let step = r.add_scalar(step as f64, DType::I64);
    let start = r.add(Mul, &[start, step])?;
    let within = r.add(Range { start: Dim::known(0), step: 1, len: Dim::known(length as i64) }, &[])?;
    let index = r.add(Add, &[start, within])?;
    let mut framed = r.add(super::Gather { axis: 1 }, &[signal, index])?;
    if let Some(window) = window {
        let window = r.reshape(window, Shape(vec![Dim::known(length as i64), Dim::known(1)]))?;
        framed = r.add(Mul, &[framed, window])?;
    }
    let to = vec![batch.clone(), frames, Dim::known(length as i64), parts.clone()];
    let framed = r.reshape(framed, Shape(to))?;
    let transform = Transform { length, inverse: false, onesided: r.flag("onesided", true)? };
    Ok(vec![transform.apply(r, framed)?])
}
