//! The target of an exported model: fixed in the file, or left to an optional input.

use std::fmt;

use dlbc_ops::prim::{self, Binary, Prim, Reduction};
use dlbc_ops::tensor::{DType, Dim, Shape, Tensor, TensorType};
use dlbc_ops::{graph::Value, prim::Unary};
use dlbc_proto::onnx::{GraphProto, ModelProto, NodeProto, ValueInfoProto};
use dlbc_proto::write as onnx;

use crate::names::{CHOSEN_TARGET, TARGET_INPUT};
use crate::onnx_builder::types::initializer;
use crate::prim_builder::PrimBuilder;

const TARGET_DOC: &str = "Explained unit on the last axis: a value for each batch row, or one for all. Without it, or where \
    it is negative, the largest unit of the row. A unit that the output does not have gives NaN.";

/// Target and starting relevance of an exported model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExportOptions {
    /// The explained unit; `None` leaves the choice to the model's input [`TARGET_INPUT`].
    pub target: Option<ExportTarget>,
    /// Starting relevance of the explained unit.
    pub start: ExportStart,
    /// Starting relevance of a row; [`ExportStart::Value`] ignores it.
    pub multiplier: f32,
}

impl Default for ExportOptions {
    fn default() -> ExportOptions {
        ExportOptions { target: None, start: ExportStart::One, multiplier: 100.0 }
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
    /// Every unit, each with the same share of the start.
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

/// Starting relevance of an explained unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExportStart {
    /// 1 × multiplier.
    #[default]
    One,
    /// The unit's own value.
    Value,
}

impl ExportStart {
    /// The name that `--start` takes.
    pub fn name(self) -> &'static str {
        match self {
            ExportStart::One => "one",
            ExportStart::Value => "value",
        }
    }
}

/// Explained units of an output at the position that is explained.
pub(crate) struct Chosen {
    /// Masks that broadcast to the output's last axis, each with its share of the start; negative opposes.
    pub masks: Vec<(Value, f64)>,
    /// Mask of the rows whose requested unit the output has, `[batch]`; `None` where it always has.
    pub valid: Option<Value>,
}

/// Chooses the explained units of `at`: `[unit]`, `[batch, unit]`, or `[batch, 1, unit]` at the explained position.
///
/// # Errors
/// For an index that the output does not have.
pub(crate) fn choose(
    steps: &mut PrimBuilder,
    at: Value,
    batch: &Dim,
    target: Option<ExportTarget>,
    input: Option<Value>,
) -> Result<Chosen, String> {
    let ty = steps.graph.ty(at).clone();
    let axis = ty.rank() - 1;
    let units = ty.dim(axis).clone();
    let all = steps.add(prim::Iota { len: units.clone() }, &[])?;
    let mut column = vec![Dim::known(1); ty.rank()];
    column[0] = if axis == 0 { Dim::known(1) } else { batch.clone() };
    let column = Shape(column);
    let largest = |steps: &mut PrimBuilder| {
        let best =
            steps.add(prim::Reduce { kind: Reduction::ArgMax, axes: vec![axis], keep: false }, &[at])?;
        steps.add(prim::Reshape { to: Shape(vec![batch.clone()]) }, &[best])
    };
    let mut valid = None;
    let indices: Vec<(Value, f64)> = match target {
        None => {
            let input = input.ok_or("there is no input of targets")?;
            let best = largest(steps)?;
            let zero = steps.scalar(DType::I64, 0.0);
            let free = steps.add(Prim::Binary(Binary::Less), &[input, zero])?;
            let unit = steps.add(Prim::Select, &[free, best, input])?;
            valid = Some(below(steps, unit, &units)?);
            vec![(unit, 1.0)]
        }
        Some(ExportTarget::Argmax) => vec![(largest(steps)?, 1.0)],
        Some(ExportTarget::Rank(rank)) => {
            let k = rank as i64 + 1;
            if units.as_known().is_some_and(|n| n < k) {
                return Err(format!("the output has {units} units, and rank {k} is asked for"));
            }
            let found = Prim::TopK(prim::TopK { axis, k: Dim::known(k), largest: true });
            let found = steps.add(found, &[at])?;
            let last = Prim::Slice(prim::Slice {
                axis,
                start: Dim::known(rank as i64),
                len: Dim::known(1),
                step: 1,
            });
            let last = steps.add(last, &[found])?;
            vec![(steps.add(prim::Reshape { to: Shape(vec![batch.clone()]) }, &[last])?, 1.0)]
        }
        Some(ExportTarget::Index(i)) => vec![(index(steps, i, &units, batch, &mut valid)?, 1.0)],
        Some(ExportTarget::Difference(a, b)) => {
            let first = index(steps, a, &units, batch, &mut valid)?;
            vec![(first, 1.0), (index(steps, b, &units, batch, &mut valid)?, -1.0)]
        }
        Some(ExportTarget::All) => {
            let count = units.as_known().ok_or("the number of units is known only when it runs")?;
            let every = steps.add(Prim::Binary(Binary::Equal), &[all, all])?;
            return Ok(Chosen { masks: vec![(every, 1.0 / count.max(1) as f64)], valid: None });
        }
    };
    let mut masks = vec![];
    for (unit, weight) in indices {
        let unit = steps.add(prim::Reshape { to: column.clone() }, &[unit])?;
        masks.push((steps.add(Prim::Binary(Binary::Equal), &[unit, all])?, weight));
    }
    Ok(Chosen { masks, valid })
}

/// A fixed index for each row; where the number of units is known only when it runs, `valid` says whether there is such a
/// unit.
fn index(
    steps: &mut PrimBuilder,
    i: i64,
    units: &Dim,
    batch: &Dim,
    valid: &mut Option<Value>,
) -> Result<Value, String> {
    if let Some(n) = units.as_known() {
        let at = if i < 0 { i + n } else { i };
        if !(0..n).contains(&at) {
            return Err(format!("target {i} is out of range: the output has {n} units"));
        }
    }
    let at = if i < 0 { units + &Dim::known(i) } else { Dim::known(i) };
    let unit = steps.add(prim::Dims { dims: vec![1], values: vec![at] }, &[])?;
    let unit = steps.add(prim::Expand { to: Shape(vec![batch.clone()]) }, &[unit])?;
    if units.as_known().is_none() {
        let zero = steps.scalar(DType::I64, 0.0);
        let negative = steps.add(Prim::Binary(Binary::Less), &[unit, zero])?;
        let positive = steps.add(Prim::Unary(Unary::Not), &[negative])?;
        let below = below(steps, unit, units)?;
        let mut both = steps.add(Prim::Binary(Binary::And), &[positive, below])?;
        if let Some(other) = valid {
            both = steps.add(Prim::Binary(Binary::And), &[both, *other])?;
        }
        *valid = Some(both);
    }
    Ok(unit)
}

/// Compares an index with the number of units: true where it is below.
pub(crate) fn below(steps: &mut PrimBuilder, unit: Value, units: &Dim) -> Result<Value, String> {
    let count = steps.add(prim::Dims { dims: vec![], values: vec![units.clone()] }, &[])?;
    steps.add(Prim::Binary(Binary::Less), &[unit, count])
}

/// The relevance `r`, NaN in the rows that ask for a unit which the output does not have; everywhere where the rows of `r` are
/// not those of the batch.
///
/// # Errors
/// Never for these types.
pub(crate) fn poisoned(steps: &mut PrimBuilder, r: Value, valid: Value) -> Result<Value, String> {
    let ty = steps.graph.ty(r).clone();
    let batch = steps.graph.ty(valid).dim(0).clone();
    let (fine, broken) = (steps.scalar(ty.dtype, 0.0), steps.scalar(ty.dtype, f64::NAN));
    let bad = steps.add(Prim::Select, &[valid, fine, broken])?;
    let bad = if ty.rank() > 0 && *ty.dim(0) == batch {
        let mut column = vec![Dim::known(1); ty.rank()];
        column[0] = batch;
        steps.add(prim::Reshape { to: Shape(column) }, &[bad])?
    } else {
        steps.add(prim::Reduce { kind: Reduction::Sum, axes: vec![0], keep: false }, &[bad])?
    };
    steps.add(Prim::Binary(Binary::Add), &[r, bad])
}

/// Puts the optional input [`TARGET_INPUT`] in the place of the graph's input [`CHOSEN_TARGET`].
///
/// An input with a default value would do, but ONNX Runtime warns of it at each load and does not list it among a model's
/// inputs; one of an optional type it lists, and takes what is left out for absent.
pub(crate) fn ask(graph: &mut GraphProto) {
    let Some(at) = graph.input.iter().position(|i| i.name() == CHOSEN_TARGET) else { return };
    let rows = [onnx::Dim::Symbol("dlbc_targets".into())];
    graph.input[at] = ValueInfoProto {
        doc_string: Some(TARGET_DOC.into()),
        ..onnx::optional_value_info(TARGET_INPUT, dlbc_proto::DataType::I64, &rows)
    };
    let own = |name: &str| format!("{TARGET_INPUT}/{name}");
    let (default, given, fallback, present) = (own("default"), own("given"), own("fallback"), own("present"));
    let branch = |name: &str, op: &str, from: &str, to: &str| {
        let node = onnx::node(op, to, &[from], &[to], vec![]);
        let ty = onnx::value_info(to, dlbc_proto::DataType::I64, &[onnx::Dim::Unknown]);
        onnx::attr_graph(name, onnx::graph(to, vec![node], vec![], vec![], vec![ty]))
    };
    let branches = vec![
        branch("then_branch", "OptionalGetElement", TARGET_INPUT, &given),
        branch("else_branch", "Identity", &default, &fallback),
    ];
    let nodes: [NodeProto; 2] = [
        onnx::node("OptionalHasElement", &present, &[TARGET_INPUT], &[&present], vec![]),
        onnx::node("If", CHOSEN_TARGET, &[&present], &[CHOSEN_TARGET], branches),
    ];
    graph.node.splice(0..0, nodes);
    graph.initializer.push(initializer(&default, &Tensor::from_i64(&[1], &[-1])));
}

/// Puts the default in the place of an exported model's optional input, which no reader of plain models knows.
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

/// The type of [`CHOSEN_TARGET`]: a target for each row.
pub(crate) fn chosen_type(batch: &Dim) -> TensorType {
    TensorType::new(DType::I64, vec![batch.clone()])
}
