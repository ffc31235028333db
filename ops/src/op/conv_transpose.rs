//! Transposed convolution over any number of spatial axes: the adjoint of a convolution, plus a bias.
//!
//! Reads ONNX `ConvTranspose`. Shapes: x `[n, c, …]`, w `[c, o/groups, …]`, bias `[o]` (optional), y `[n, o, to…]`.

use super::Operator;
use super::conv::{read_groups, read_kernel, with_bias};
use super::read::{Reader, Reading};
use super::role::{BilinearMap, LinearMap, Role, Site};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Builder, ConvGeometry, Transform, Window};
use crate::tensor::{Dim, Shape, TensorType};

/// Transposed convolution. Operands: x, w, bias (optional).
#[derive(Clone, Debug, PartialEq)]
pub struct ConvTranspose {
    /// Window and groups of the convolution of which this is the adjoint; `auto_pad` is resolved when the node is read.
    pub geometry: ConvGeometry,
    /// Spatial dimensions of the result.
    pub to: Vec<Dim>,
}

impl ConvTranspose {
    /// Reshapes the bias such that it broadcasts to a result of `rank` axes.
    fn bias_by_channel(b: &mut Builder, bias: Value, rank: usize) -> Value {
        let mut shape = vec![Dim::known(1); rank];
        shape[1] = b.ty(bias).dim(0).clone();
        b.reshape(bias, &Shape(shape))
    }
}

impl Operator for ConvTranspose {
    fn attributes(&self) -> String {
        format!(" {} to={:?}", self.geometry, self.to)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        let y = b.conv_transpose(&self.geometry, inputs[0], inputs[1], Transform::Id, &self.to);
        let Some(bias) = inputs.get(2) else { return vec![y] };
        let rank = b.ty(y).rank();
        let bias = Self::bias_by_channel(b, *bias, rank);
        vec![b.plus(y, bias)]
    }

    fn role(&self, live: &[bool]) -> Role<'_> {
        if live.starts_with(&[true, true]) { Role::Bilinear(self) } else { Role::Linear(self) }
    }
}

impl LinearMap for ConvTranspose {
    fn has_weight(&self) -> bool {
        true
    }

    fn apply(&self, b: &mut Builder, site: &Site, x: Value, transform: Transform) -> Value {
        if site.data() == 0 {
            return b.conv_transpose(&self.geometry, x, site.inputs[1], transform, &self.to);
        }
        let constant = b.transformed(site.inputs[0], transform);
        b.conv_transpose(&self.geometry, constant, x, Transform::Id, &self.to)
    }

    fn transpose(&self, b: &mut Builder, site: &Site, s: Value, transform: Transform) -> Value {
        if site.data() == 0 {
            return b.conv(&self.geometry, s, site.inputs[1], transform, None);
        }
        let constant = b.transformed(site.inputs[0], transform);
        b.conv_weight(&self.geometry, s, constant)
    }

    fn bias(&self, b: &mut Builder, site: &Site) -> Option<Value> {
        let rank = b.ty(site.y()).rank();
        site.inputs.get(2).map(|bias| Self::bias_by_channel(b, *bias, rank))
    }
}

/// Both operands are live: a weight that is an input, or that another network computes.
impl BilinearMap for ConvTranspose {
    fn product(&self, b: &mut Builder, x: Value, y: Value) -> Value {
        b.conv_transpose(&self.geometry, x, y, Transform::Id, &self.to)
    }

    fn left(&self, b: &mut Builder, _: &Site, s: Value, y: Value) -> Value {
        b.conv(&self.geometry, s, y, Transform::Id, None)
    }

    fn right(&self, b: &mut Builder, _: &Site, s: Value, x: Value) -> Value {
        b.conv_weight(&self.geometry, s, x)
    }
}

/// Returns the reader of `ConvTranspose`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("ConvTranspose", 1, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (x, w) = (r.input(0)?, r.input(1)?);
    let (tx, tw) = (r.ty(x), r.ty(w));
    let kernel = read_kernel(r, [x, w])?;
    if kernel.len() != tx.rank() - 2 {
        return Err(OpError::mismatch("kernel_shape", format!("{} values", tx.rank() - 2), kernel.len()));
    }
    let groups = read_groups(r, "group")?;
    let (window, to) = read_geometry(r, kernel, &tx)?;
    // The bias is added separately, so the product does not check its length.
    let bias = r.optional(2);
    if let Some(bias) = bias {
        let channels = tw.dim(1) * &Dim::known(groups as i64);
        if r.ty(bias).shape != Shape(vec![channels.clone()]) {
            return Err(OpError::mismatch("bias", Shape(vec![channels]), r.ty(bias)));
        }
    }
    let conv = ConvTranspose { geometry: ConvGeometry { window, groups }, to };
    Ok(vec![with_bias(r, conv, [x, w], bias)?])
}

/// Reads the window and the spatial dimensions of the result.
fn read_geometry(r: &Reading, kernel: Vec<usize>, x: &TensorType) -> Result<(Window, Vec<Dim>), OpError> {
    let rank = kernel.len();
    let list = |name: &str, default: usize, len: usize| -> Result<Vec<usize>, OpError> {
        let values = r.sizes(name)?.unwrap_or_else(|| vec![default; len]);
        match values.len() == len {
            true => Ok(values),
            false => Err(OpError::mismatch(name, format!("{len} values"), values.len())),
        }
    };
    let strides = list("strides", 1, rank)?;
    let dilations = list("dilations", 1, rank)?;
    let pads = list("pads", 0, 2 * rank)?;
    let extra = list("output_padding", 0, rank)?;
    let shape = match r.sizes("output_shape")? {
        // Some exporters include batch and channels.
        Some(shape) if shape.len() == rank + 2 => Some(shape[2..].to_vec()),
        Some(shape) if shape.len() == rank => Some(shape),
        Some(shape) if !shape.is_empty() => {
            return Err(OpError::mismatch("output_shape", format!("{rank} values"), shape.len()));
        }
        _ => None,
    };
    let (before, after) = (pads[..rank].to_vec(), pads[rank..].to_vec());
    let mut window = Window { kernel, strides, before, after, dilations, ceil: false };
    window.check()?;
    let pad = r.string_or("auto_pad", "NOTSET")?;
    if !["", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"].contains(&pad.as_str()) {
        return Err(OpError::mismatch("auto_pad", "NOTSET, VALID, SAME_UPPER or SAME_LOWER", pad));
    }
    let (upper, same) = (pad == "SAME_UPPER", pad.starts_with("SAME"));
    let mut to = vec![];
    for i in 0..rank {
        let (stride, input) = (window.strides[i], x.dim(i + 2));
        if extra[i] >= stride.max(window.dilations[i]) {
            return Err(OpError::mismatch("output_padding", "values below stride or dilation", extra[i]));
        }
        if extra[i] >= stride {
            // The convolution of which this is the adjoint would have more positions than x.
            return Err(OpError::unsupported("output_padding", format!("below stride {stride}"), extra[i]));
        }
        if pad == "VALID" {
            (window.before[i], window.after[i]) = (0, 0);
        }
        // stride · (d - 1) + output_padding + extent, before padding is removed.
        let full = &(&(input - &Dim::known(1)) * &Dim::known(stride as i64))
            + &Dim::known((extra[i] + window.extent(i)) as i64);
        let result = match &shape {
            Some(shape) => Some(Dim::known(shape[i] as i64)),
            None if same => Some(input * &Dim::known(stride as i64)),
            None => None,
        };
        let Some(result) = result else {
            to.push(&full - &Dim::known((window.before[i] + window.after[i]) as i64));
            continue;
        };
        let total = (&full - &result)
            .as_known()
            .ok_or_else(|| OpError::symbolic("output_shape", "a known dimension", input))?;
        let total = usize::try_from(total.max(0)).unwrap_or(0);
        let small = total / 2;
        (window.before[i], window.after[i]) =
            if upper { (small, total - small) } else { (total - small, small) };
        to.push(result);
    }
    window.check()?;
    Ok((window, to))
}
