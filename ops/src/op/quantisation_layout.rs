//! Scales and zero points of a tensor: one for all elements, one for each index of an axis, or one for each block of indices of an axis.

use std::sync::Arc;

use super::Expand;
use super::quantisation::Steps;
use super::read::{Narrow, Reading, resolve};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{Compact, DType, Dim, Numbers, Shape, Steps as Scales, Tensor};

/// Axis and blocks by which the elements of a tensor have scales.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Layout {
    /// One scale for all elements.
    Tensor,
    /// One scale for each `block` indices of an axis, and for each index of the axes in `others`.
    Axis {
        /// The axis.
        axis: usize,
        /// Number of indices that share a scale.
        block: usize,
        /// True if each index of the other axes has scales of its own.
        blocked: bool,
    },
}

impl Layout {
    /// Returns the layout of a scale: that of all elements, or of each index of the axis.
    pub fn of(r: &Reading, scale: Value, axis: impl Fn() -> usize) -> Layout {
        let shape = r.ty(scale).shape;
        match shape.0.as_slice() {
            [] => Layout::Tensor,
            [n] if n.is(1) => Layout::Tensor,
            _ => Layout::Axis { axis: axis(), block: 1, blocked: false },
        }
    }

    /// Reads `axis` and `block_size` of a node whose operand `x` has the scale `scale`.
    ///
    /// # Errors
    /// If the axis is out of range or the block size is negative.
    pub fn read(r: &Reading, x: Value, scale: Value) -> Result<Layout, OpError> {
        let (axis, block) = (r.int_or("axis", 1)?, r.int_or("block_size", 0)?);
        let scales = r.ty(scale).shape;
        if scales.rank() == 0 || (block == 0 && scales.rank() == 1 && scales.0[0].is(1)) {
            return Ok(Layout::Tensor);
        }
        let axis = resolve(axis, r.ty(x).rank())?;
        match usize::try_from(block) {
            Ok(0) => Ok(Layout::Axis { axis, block: 1, blocked: false }),
            Ok(block) => Ok(Layout::Axis { axis, block, blocked: true }),
            Err(_) => Err(OpError::invalid("block_size", "at least 0", block)),
        }
    }

    /// Checks that scale and zero point have the shape that the layout asks for, and that the zero point has the type of `x`.
    ///
    /// # Errors
    /// If they do not.
    pub fn check(self, r: &Reading, x: Value, scale: Value, zero: Option<Value>) -> Result<(), OpError> {
        let shape = r.ty(x).shape;
        let expected = match self {
            Layout::Tensor => None,
            Layout::Axis { axis, blocked: false, .. } => Some(vec![shape.0[axis].clone()]),
            Layout::Axis { axis, block, blocked: true } => {
                let mut dims = shape.0.clone();
                dims[axis] = dims[axis].ceil_div(block as i64);
                Some(dims)
            }
        };
        let scales = r.ty(scale).shape;
        if let Some(expected) = expected.map(Shape).filter(|expected| *expected != scales) {
            let property = format!("shape of scale `{}`", r.graph.value_name(scale));
            return Err(OpError::shapes(&property, &expected, &scales));
        }
        let Some(zero) = zero else { return Ok(()) };
        let (ty, numbers) = (r.ty(zero), r.ty(x).dtype);
        if numbers.is_integer() && ty.dtype != numbers {
            let property = format!("element type of zero point `{}`", r.graph.value_name(zero));
            return Err(OpError::invalid(&property, numbers, ty.dtype));
        }
        if numbers == DType::I32
            && let Some(zeros) = r.constant(zero)
            && let Some(number) = zeros.to_f64().into_iter().find(|number| *number != 0.0)
        {
            let property = format!("zero point `{}` of i32 numbers", r.graph.value_name(zero));
            return Err(OpError::invalid(&property, 0, number));
        }
        let is_single = self == Layout::Tensor && ty.shape.elems().is(1);
        if !is_single && ty.shape != scales {
            let property = format!("shape of zero point `{}`", r.graph.value_name(zero));
            return Err(OpError::shapes(&property, &scales, &ty.shape));
        }
        Ok(())
    }

    /// Adds scale and zero point in shapes that broadcast to `x`.
    ///
    /// # Errors
    /// As [`Reading::add`].
    pub fn steps(
        self,
        r: &mut Reading,
        x: Value,
        scale: Value,
        zero: Option<Value>,
    ) -> Result<Steps, OpError> {
        let scale = r.cast(scale, DType::F32)?;
        let scale = self.broadcast(r, x, scale)?;
        let zero = zero.map(|zero| self.broadcast(r, x, zero)).transpose()?;
        Ok(Steps { scale, zero })
    }

    /// Adds `v`, a scale or zero point, in a shape that broadcasts to `x`.
    fn broadcast(self, r: &mut Reading, x: Value, v: Value) -> Result<Value, OpError> {
        let shape = r.ty(x).shape;
        let Layout::Axis { axis, block, blocked } = self else { return r.reshape(v, Shape(vec![])) };
        if !blocked {
            let mut dims = vec![Dim::known(1); shape.rank()];
            dims[axis] = shape.0[axis].clone();
            return r.reshape(v, Shape(dims));
        }
        // [.., blocks, ..] → [.., blocks, 1, ..] → [.., blocks, block, ..] → [.., blocks · block, ..] → [.., n, ..]
        let dims = r.ty(v).shape.0;
        let (before, after) = (&dims[..=axis], &dims[axis + 1..]);
        let with = |n: i64| Shape([before, &[Dim::known(n)], after].concat());
        let spread = r.reshape(v, with(1))?;
        let spread = r.add(Expand { to: with(block as i64) }, &[spread])?;
        let mut merged = dims.clone();
        merged[axis] = &dims[axis] * &Dim::known(block as i64);
        let merged = r.reshape(spread, Shape(merged))?;
        if r.ty(merged).shape == shape {
            return Ok(merged);
        }
        r.slice(merged, axis, Dim::known(0), shape.0[axis].clone())
    }

    /// Returns the constant `(number - zero point) · scale`, in which numbers of at most 8 bits stay as they are. `narrow` is the
    /// element type in the file of numbers that tensors have no type for.
    ///
    /// # Errors
    /// If there are not as many scales as the layout asks for.
    pub fn values(
        self,
        numbers: &Tensor,
        narrow: Option<Narrow>,
        scales: Vec<f32>,
        zeros: Vec<f32>,
    ) -> Result<Tensor, OpError> {
        let dims = numbers.dims();
        let (len, inner, block, by_element) = match self {
            Layout::Tensor => (1, 1, 1, false),
            Layout::Axis { axis, block, blocked } => {
                (dims[axis], dims[axis + 1..].iter().product(), block, blocked)
            }
        };
        let zeros = match zeros.first() {
            Some(zero) if zeros.iter().all(|z| z == zero) => vec![*zero],
            _ => zeros,
        };
        let steps = Scales { scales, zeros, len, inner, block, by_element };
        if numbers.elems() == 0 {
            return Ok(numbers.to_f32_tensor());
        }
        let bits = narrow.and_then(Narrow::bits).unwrap_or(8);
        let values = match (Numbers::of(numbers.dtype()), numbers.shared()) {
            (Some(Numbers::Whole { signed, .. }), Some(bytes)) => {
                let bytes = match bits {
                    8 => bytes,
                    bits => Arc::new(Compact::pack(bits, numbers.bytes().iter().copied())),
                };
                Compact::new(Numbers::Whole { bits, signed }, numbers.elems(), bytes, Some(steps))
            }
            _ => {
                let mut values = numbers.to_f32();
                if steps.fits(values.len()) {
                    steps.apply(0, &mut values);
                    return Ok(Tensor::from_f32(dims, &values));
                }
                None
            }
        };
        let tensor = values.and_then(|values| Tensor::compact_if_large(dims, values));
        tensor.ok_or_else(|| OpError::invalid("scales", "those of the shape of the numbers", "others"))
    }
}

/// Refuses constant scales that are not positive and finite.
///
/// # Errors
/// If there is one.
pub(super) fn positive(r: &Reading, scale: Value) -> Result<(), OpError> {
    check_scale(r, scale, "positive and finite", |s| s.is_finite() && s > 0.0)
}

/// Refuses constant scales that are not finite.
///
/// # Errors
/// If there is one.
pub(super) fn finite(r: &Reading, scale: Value) -> Result<(), OpError> {
    check_scale(r, scale, "finite", f32::is_finite)
}

fn check_scale(r: &Reading, scale: Value, expected: &str, is_valid: fn(f32) -> bool) -> Result<(), OpError> {
    let Some(scales) = r.constant(scale) else { return Ok(()) };
    match scales.to_f32().into_iter().find(|s| !is_valid(*s)) {
        Some(s) => Err(OpError::invalid(&format!("scale `{}`", r.graph.value_name(scale)), expected, s)),
        None => Ok(()),
    }
}
