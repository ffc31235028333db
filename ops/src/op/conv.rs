//! Convolution over any number of spatial axes: `y = conv(x, w) + bias`.
//!
//! Reads ONNX `Conv`. Shapes: x `[n, c, …]`, w `[o, c/groups, …]`, bias `[o]` (optional), y `[n, o, …]`.

use super::read::{Reader, Reading};
use super::role::{BilinearMap, LinearMap, Role, Site};
use super::{Op, Operator};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Builder, ConvGeometry, Transform, Window};
use crate::tensor::{Dim, Shape, TensorType};

/// Convolution. Operands: x, w, bias (optional).
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Window and groups; `auto_pad` is resolved when the node is read.
    pub geometry: ConvGeometry,
}

impl Operator for Conv {
    fn attributes(&self) -> String {
        format!(" {}", self.geometry)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![b.conv(&self.geometry, inputs[0], inputs[1], Transform::Id, inputs.get(2).copied())]
    }

    fn role(&self, live: &[bool]) -> Role<'_> {
        if live.starts_with(&[true, true]) { Role::Bilinear(self) } else { Role::Linear(self) }
    }
}

impl LinearMap for Conv {
    fn has_weight(&self) -> bool {
        true
    }

    fn apply(&self, b: &mut Builder, site: &Site, x: Value, transform: Transform) -> Value {
        if site.data() == 0 {
            return b.conv(&self.geometry, x, site.inputs[1], transform, None);
        }
        let constant = b.transformed(site.inputs[0], transform);
        b.conv(&self.geometry, constant, x, Transform::Id, None)
    }

    fn transpose(&self, b: &mut Builder, site: &Site, s: Value, transform: Transform) -> Value {
        if site.data() == 0 {
            let to = b.ty(site.inputs[0]).shape.0[2..].to_vec();
            return b.conv_transpose(&self.geometry, s, site.inputs[1], transform, &to);
        }
        let constant = b.transformed(site.inputs[0], transform);
        b.conv_weight(&self.geometry, constant, s)
    }

    fn bias(&self, b: &mut Builder, site: &Site) -> Option<Value> {
        let bias = *site.inputs.get(2)?;
        let mut shape = vec![Dim::known(1); b.ty(site.y()).rank()];
        shape[1] = b.ty(bias).dim(0).clone();
        Some(b.reshape(bias, &Shape(shape)))
    }
}

/// Both operands are live: a weight that is an input, or that another network computes.
impl BilinearMap for Conv {
    fn product(&self, b: &mut Builder, x: Value, y: Value) -> Value {
        b.conv(&self.geometry, x, y, Transform::Id, None)
    }

    fn left(&self, b: &mut Builder, site: &Site, s: Value, y: Value) -> Value {
        let to = b.ty(site.inputs[0]).shape.0[2..].to_vec();
        b.conv_transpose(&self.geometry, s, y, Transform::Id, &to)
    }

    fn right(&self, b: &mut Builder, _: &Site, s: Value, x: Value) -> Value {
        b.conv_weight(&self.geometry, x, s)
    }
}

/// Returns the reader of `Conv`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("Conv", 1, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    Ok(vec![read_conv(r)?])
}

/// Reads a convolution: x, weight, bias (optional).
pub(super) fn read_conv(r: &mut Reading) -> Result<Value, OpError> {
    let (x, w) = (r.input(0)?, r.input(1)?);
    convolution(r, x, w)
}

/// Adds the convolution of `x` by the weight `w`, with the bias and the attributes of the node.
pub(super) fn convolution(r: &mut Reading, x: Value, w: Value) -> Result<Value, OpError> {
    let kernel = read_kernel(r, [x, w])?;
    let groups = read_groups(r, "group")?;
    let geometry = ConvGeometry { window: read_window(r, kernel, &r.ty(x))?, groups };
    let bias = r.optional(2);
    with_bias(r, Conv { geometry }, [x, w], bias)
}

/// Reads the spatial sizes of a convolution's kernel: those of `kernel_shape`, or of the weight.
///
/// # Errors
/// If operand and weight have fewer than 3 axes or not as many, or the sizes are not known.
pub(super) fn read_kernel(r: &Reading, [x, w]: [Value; 2]) -> Result<Vec<usize>, OpError> {
    let (tx, tw) = (r.ty(x), r.ty(w));
    if tx.rank() < 3 || tw.rank() != tx.rank() {
        return Err(OpError::mismatch(
            "rank of the weight",
            format!("that of the operand {tx}, at least 3"),
            tw,
        ));
    }
    match r.sizes("kernel_shape")? {
        Some(kernel) => Ok(kernel),
        None => Shape(tw.shape.0[2..].to_vec())
            .as_known()
            .ok_or_else(|| OpError::symbolic("kernel of the weight", "known dimensions", &tw)),
    }
}

/// Reads an attribute with a number of groups, 1 by default.
///
/// # Errors
/// If the number is not positive, or too large.
pub(super) fn read_groups(r: &Reading, name: &str) -> Result<usize, OpError> {
    let groups = r.int_or(name, 1)?;
    let valid = usize::try_from(groups).ok().filter(|g| (1..1 << 31).contains(g));
    valid.ok_or_else(|| OpError::invalid(name, "at least 1 and below 2^31", groups))
}

/// Adds a convolution or its transpose. Beside a computed weight, and where it is computed itself, the bias is an addend with
/// relevance of its own.
pub(super) fn with_bias(
    r: &mut Reading,
    layer: impl Into<Op>,
    [x, w]: [Value; 2],
    bias: Option<Value>,
) -> Result<Value, OpError> {
    match bias {
        Some(bias) if r.constant(w).is_none() || r.constant(bias).is_none() => {
            let y = r.add(layer, &[x, w])?;
            add_by_channel(r, y, bias)
        }
        bias => r.add(layer, &[x, w].into_iter().chain(bias).collect::<Vec<_>>()),
    }
}

/// Adds a bias `[channels]` to `y [n, channels, …]`.
///
/// # Errors
/// If the bias has another shape.
fn add_by_channel(r: &mut Reading, y: Value, bias: Value) -> Result<Value, OpError> {
    let (ty, shape) = (r.ty(y), r.ty(bias).shape);
    let channels = Shape(vec![ty.dim(1).clone()]);
    if shape != channels {
        return Err(OpError::mismatch("bias", channels, r.ty(bias)));
    }
    let mut column = vec![Dim::known(1); ty.rank()];
    column[1] = ty.dim(1).clone();
    let bias = r.reshape(bias, Shape(column))?;
    r.add(super::Add, &[y, bias])
}

/// Reads `strides`, `pads`, `dilations`, `auto_pad` and `ceil_mode`, which convolutions and pools share.
///
/// # Errors
/// If a list has the wrong length, a value is out of range, or `auto_pad` depends on a symbolic dimension.
pub fn read_window(r: &Reading, kernel: Vec<usize>, x: &TensorType) -> Result<Window, OpError> {
    let rank = kernel.len();
    if x.rank() != rank + 2 {
        return Err(OpError::mismatch("spatial axes of the operand", rank, x.rank() as i64 - 2));
    }
    let strides = r.sizes("strides")?.unwrap_or_else(|| vec![1; rank]);
    let dilations = r.sizes("dilations")?.unwrap_or_else(|| vec![1; rank]);
    let pads = r.sizes("pads")?.unwrap_or_else(|| vec![0; 2 * rank]);
    if pads.len() != 2 * rank {
        return Err(OpError::mismatch("pads", format!("{} values", 2 * rank), pads.len()));
    }
    let ceil = r.flag("ceil_mode", false)?;
    let (before, after) = (pads[..rank].to_vec(), pads[rank..].to_vec());
    let mut window = Window { kernel, strides, before, after, dilations, ceil };
    window.check()?;
    let upper = match r.string_or("auto_pad", "NOTSET")?.as_str() {
        "NOTSET" | "" => return Ok(window),
        "VALID" => {
            window.before = vec![0; rank];
            window.after = vec![0; rank];
            return Ok(window);
        }
        "SAME_UPPER" => true,
        "SAME_LOWER" => false,
        other => return Err(OpError::mismatch("auto_pad", "NOTSET, VALID, SAME_UPPER or SAME_LOWER", other)),
    };
    for i in 0..rank {
        let (stride, extent) = (window.strides[i] as i64, window.extent(i) as i64);
        // The output is ⌈d / stride⌉; with stride 1 the padding does not depend on d.
        let total = match x.dim(i + 2).as_known() {
            _ if stride == 1 => extent - 1,
            Some(d) => {
                ((Dim::known(d).ceil_div(stride).as_known().unwrap_or(0) - 1) * stride + extent - d).max(0)
            }
            None => {
                let property = format!("auto_pad with stride {stride}");
                return Err(OpError::symbolic(&property, "a known dimension", x.dim(i + 2)));
            }
        } as usize;
        let small = total / 2;
        (window.before[i], window.after[i]) =
            if upper { (small, total - small) } else { (total - small, small) };
    }
    Ok(window)
}
