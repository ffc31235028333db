//! Target of an exported model: fixed in the file, or chosen by an optional input at each run.

use std::fmt;

use dlbc_ops::prim::{self, Binary, Prim, Reduction};
use dlbc_ops::tensor::{DType, Dim, Shape, Tensor, TensorType};
use dlbc_ops::{graph::Value, prim::Unary};
use dlbc_proto::onnx::{GraphProto, ModelProto, NodeProto, ValueInfoProto};
use dlbc_proto::write as onnx;

use crate::names::{CHOSEN_TARGET, TARGET_INPUT};
use crate::onnx_builder::types::initializer;
use crate::prim_builder::PrimBuilder;

/// Documentation of the optional input, in the file.
const TARGET_DOC: &str = "Explained unit on the last axis: a value for each batch row, or one for all. Without it, or where \
    it is negative, the largest unit of the row. A unit that the output does not have gives NaN.";

/// Target and seed of an exported model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExportOptions {
    /// Explained unit; `None` leaves the choice to the model's optional input [`TARGET_INPUT`].
    pub target: Option<ExportTarget>,
    /// Kind of seed.
    pub seed_value: ExportSeedValue,
    /// Magnitude of the seed of a row: 100 unless set. [`ExportSeedValue::Value`] ignores it.
    pub multiplier: f32,
}

impl Default for ExportOptions {
    fn default() -> ExportOptions {
        ExportOptions { target: None, seed_value: ExportSeedValue::One, multiplier: 100.0 }
    }
}

/// An explained unit that is fixed in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportTarget {
    /// The largest unit of each row.
    Argmax,
    /// The unit of rank `k` in its row; 0 is the largest. Ties go to the lower index.
    Rank(usize),
    /// The unit of this index on the last axis; negative counts from the end.
    Index(i64),
    /// The first unit minus the second.
    Difference(i64, i64),
    /// All units, each with an equal share of the seed.
    All,
}

impl fmt::Display for ExportTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExportTarget::Argmax => f.write_str("argmax"),
            ExportTarget::Rank(rank) => write!(f, "top{}", rank + 1),
            ExportTarget::Index(i) => write!(f, "{i}"),
            ExportTarget::Difference(a, b) => write!(f, "{a}-{b}"),
            ExportTarget::All => f.write_str("all"),
        }
    }
}

/// Kind of seed of an explained unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExportSeedValue {
    /// The multiplier, with the sign that [`SeedInfo`](dlbc_ops::program::SeedInfo) gives.
    #[default]
    One,
    /// The unit's own value.
    Value,
}

impl ExportSeedValue {
    /// Returns the name of the value, as the metadata of an exported model state it.
    pub fn name(self) -> &'static str {
        match self {
            ExportSeedValue::One => "one",
            ExportSeedValue::Value => "value",
        }
    }
}

/// Explained units of the explained position.
pub(crate) struct UnitMasks {
    /// Boolean masks that broadcast to `[batch, …, unit]`, each with the share of the seed of its unit; negative for a unit that
    /// is subtracted.
    pub masks: Vec<(Value, f64)>,
    /// Mask `[batch]` of the rows whose requested unit exists; `None` if all of them exist.
    pub valid: Option<Value>,
    /// Number of units that share the seed, where it is symbolic; their shares are then 1.
    pub sharing: Option<Dim>,
}

/// Marks the explained units of the output `y`: `[unit]`, `[batch, unit]`, or `[batch, 1, unit]` at the explained position; all
/// units of an output of any rank.
/// `input` is the value of [`CHOSEN_TARGET`] if the target is not fixed.
///
/// # Errors
/// For an index that the output does not have.
pub(crate) fn unit_masks(
    b: &mut PrimBuilder,
    y: Value,
    batch: &Dim,
    target: Option<ExportTarget>,
    input: Option<Value>,
) -> Result<UnitMasks, String> {
    let ty = b.graph.ty(y).clone();
    let axis = ty.rank() - 1;
    let units = ty.dim(axis).clone();
    let all = b.add(prim::Iota { len: units.clone() }, &[])?;
    let mut column = vec![Dim::known(1); ty.rank()];
    column[0] = if axis == 0 { Dim::known(1) } else { batch.clone() };
    let column = Shape(column);
    let largest = |b: &mut PrimBuilder| {
        let best = b.add(prim::Reduce { kind: Reduction::ArgMax, axes: vec![axis], keep: false }, &[y])?;
        b.add(prim::Reshape { to: Shape(vec![batch.clone()]) }, &[best])
    };
    let mut valid = None;
    let indices: Vec<(Value, f64)> = match target {
        None => {
            let input = input.ok_or("expected an input of targets, found none")?;
            let best = largest(b)?;
            let zero = b.scalar(DType::I64, 0.0);
            let is_free = b.add(Prim::Binary(Binary::Less), &[input, zero])?;
            let unit = b.add(Prim::Select, &[is_free, best, input])?;
            valid = Some(is_below(b, unit, &units)?);
            vec![(unit, 1.0)]
        }
        Some(ExportTarget::Argmax) => vec![(largest(b)?, 1.0)],
        Some(ExportTarget::Rank(rank)) => {
            let k = rank as i64 + 1;
            if units.as_known().is_some_and(|n| n < k) {
                return Err(format!("rank {k} is out of range: expected at most {units}"));
            }
            let indices = Prim::TopK(prim::TopK { axis, k: Dim::known(k), largest: true });
            let indices = b.add(indices, &[y])?;
            let last = Prim::Slice(prim::Slice {
                axis,
                start: Dim::known(rank as i64),
                len: Dim::known(1),
                step: 1,
            });
            let last = b.add(last, &[indices])?;
            vec![(b.add(prim::Reshape { to: Shape(vec![batch.clone()]) }, &[last])?, 1.0)]
        }
        Some(ExportTarget::Index(i)) => vec![(unit_index(b, i, &units, batch, &mut valid)?, 1.0)],
        Some(ExportTarget::Difference(minuend, subtrahend)) => {
            let minuend = unit_index(b, minuend, &units, batch, &mut valid)?;
            vec![(minuend, 1.0), (unit_index(b, subtrahend, &units, batch, &mut valid)?, -1.0)]
        }
        Some(ExportTarget::All) => {
            // The positions of an output of more than 3 axes are units, too.
            let shared = if axis > 2 { &ty.shape.0[1..] } else { &ty.shape.0[axis..] };
            let count = shared.iter().fold(Dim::known(1), |n, d| &n * d);
            let every = b.add(Prim::Binary(Binary::Equal), &[all, all])?;
            let (share, sharing) = match count.as_known() {
                Some(n) => (1.0 / n.max(1) as f64, None),
                None => (1.0, Some(count)),
            };
            return Ok(UnitMasks { masks: vec![(every, share)], valid: None, sharing });
        }
    };
    let mut masks = vec![];
    for (unit, share) in indices {
        let unit = b.add(prim::Reshape { to: column.clone() }, &[unit])?;
        masks.push((b.add(Prim::Binary(Binary::Equal), &[unit, all])?, share));
    }
    Ok(UnitMasks { masks, valid, sharing: None })
}

/// Adds a fixed unit index for each row, `[batch]`. If the number of units is symbolic, `valid` becomes the mask of rows for
/// which the unit exists.
///
/// # Errors
/// For an index out of range.
fn unit_index(
    b: &mut PrimBuilder,
    i: i64,
    units: &Dim,
    batch: &Dim,
    valid: &mut Option<Value>,
) -> Result<Value, String> {
    if let Some(n) = units.as_known() {
        let at = if i < 0 { i + n } else { i };
        if !(0..n).contains(&at) {
            return Err(format!("target {i} is out of range: expected -{n} to {}", n - 1));
        }
    }
    let at = if i < 0 { units + &Dim::known(i) } else { Dim::known(i) };
    let unit = b.add(prim::Dims { dims: vec![1], values: vec![at] }, &[])?;
    let unit = b.add(prim::Expand { to: Shape(vec![batch.clone()]) }, &[unit])?;
    if units.as_known().is_none() {
        let zero = b.scalar(DType::I64, 0.0);
        let negative = b.add(Prim::Binary(Binary::Less), &[unit, zero])?;
        let positive = b.add(Prim::Unary(Unary::Not), &[negative])?;
        let is_below = is_below(b, unit, units)?;
        let mut both = b.add(Prim::Binary(Binary::And), &[positive, is_below])?;
        if let Some(other) = valid {
            both = b.add(Prim::Binary(Binary::And), &[both, *other])?;
        }
        *valid = Some(both);
    }
    Ok(unit)
}

/// Returns the mask of indices below the number of units.
pub(crate) fn is_below(b: &mut PrimBuilder, unit: Value, units: &Dim) -> Result<Value, String> {
    let count = b.add(prim::Dims { dims: vec![], values: vec![units.clone()] }, &[])?;
    b.add(Prim::Binary(Binary::Less), &[unit, count])
}

/// Replaces relevance by NaN in the rows that are not `valid`; if `r` has no batch axis, in all of it as soon as one row is
/// not.
///
/// # Errors
/// When the operands of a primitive do not fit.
pub(crate) fn invalidate_rows(b: &mut PrimBuilder, r: Value, valid: Value) -> Result<Value, String> {
    let ty = b.graph.ty(r).clone();
    let batch = b.graph.ty(valid).dim(0).clone();
    let (zero, nan) = (b.scalar(ty.dtype, 0.0), b.scalar(ty.dtype, f64::NAN));
    let penalty = b.add(Prim::Select, &[valid, zero, nan])?;
    let penalty = if ty.rank() > 0 && *ty.dim(0) == batch {
        let mut column = vec![Dim::known(1); ty.rank()];
        column[0] = batch;
        b.add(prim::Reshape { to: Shape(column) }, &[penalty])?
    } else {
        b.add(prim::Reduce { kind: Reduction::Sum, axes: vec![0], keep: false }, &[penalty])?
    };
    b.add(Prim::Binary(Binary::Add), &[r, penalty])
}

/// Replaces the graph input [`CHOSEN_TARGET`] by the optional input [`TARGET_INPUT`] and nodes that supply its default.
///
/// ONNX Runtime lists an input of optional type, and takes it for absent if it is left out. It warns at each load about an
/// input with a default initializer instead, and does not list it.
pub(crate) fn add_target_input(graph: &mut GraphProto) {
    let Some(at) = graph.input.iter().position(|i| i.name() == CHOSEN_TARGET) else { return };
    let rows = [onnx::Dim::Symbol("dlbc_targets".into())];
    graph.input[at] = ValueInfoProto {
        doc_string: Some(TARGET_DOC.into()),
        ..onnx::optional_value_info(TARGET_INPUT, dlbc_proto::DataType::I64, &rows)
    };
    let [default, value, fallback, present] =
        ["default", "given", "fallback", "present"].map(|suffix| format!("{TARGET_INPUT}/{suffix}"));
    let branch = |name: &str, op: &str, from: &str, to: &str| {
        let node = onnx::node(op, to, &[from], &[to], vec![]);
        let ty = onnx::value_info(to, dlbc_proto::DataType::I64, &[onnx::Dim::Unknown]);
        onnx::attr_graph(name, onnx::graph(to, vec![node], vec![], vec![], vec![ty]))
    };
    let branches = vec![
        branch("then_branch", "OptionalGetElement", TARGET_INPUT, &value),
        branch("else_branch", "Identity", &default, &fallback),
    ];
    let nodes: [NodeProto; 2] = [
        onnx::node("OptionalHasElement", &present, &[TARGET_INPUT], &[&present], vec![]),
        onnx::node("If", CHOSEN_TARGET, &[&present], &[CHOSEN_TARGET], branches),
    ];
    graph.node.splice(0..0, nodes);
    graph.initializer.push(initializer(&default, &Tensor::from_i64(&[1], &[-1])));
}

/// Replaces the optional input of an exported model by its default, since the compiler does not import optional types.
pub fn remove_target_input(model: &mut ModelProto) {
    let Some(graph) = model.graph.as_mut() else { return };
    if !graph.input.iter().any(|i| i.name() == TARGET_INPUT) {
        return;
    }
    graph.input.retain(|i| i.name() != TARGET_INPUT);
    graph
        .node
        .retain(|n| !n.output.iter().any(|o| o == CHOSEN_TARGET || *o == format!("{TARGET_INPUT}/present")));
    for default in graph.initializer.iter_mut().filter(|t| t.name() == format!("{TARGET_INPUT}/default")) {
        default.name = Some(CHOSEN_TARGET.into());
    }
}

/// The type of [`CHOSEN_TARGET`]: int64, one unit index per row.
pub(crate) fn chosen_type(batch: &Dim) -> TensorType {
    TensorType::new(DType::I64, vec![batch.clone()])
}
