//! Program → one plain model: standard operators only, the seed computed in the graph.

use std::collections::HashSet;

use dlbc_ops::graph::{Graph, Origin, PrintOp, Value};
use dlbc_ops::prim::{Binary, Prim, Reduction, Unary};
use dlbc_ops::program::{Info, MEASURED, Mode, Program, SEED};
use dlbc_ops::tensor::{Array, DType, Dim, Shape, Tensor, TensorType};
use dlbc_proto::onnx::ModelProto;
use dlbc_proto::{Name, write as onnx};

use crate::ArtifactError;
use crate::order::order;
use crate::sheet::initializer;
use crate::write::{Writer, value_info};

/// The optional input of an exported model that chooses the explained unit.
pub const TARGET: &str = "dlbc_target";

const TARGET_DOC: &str = "The explained unit on the last axis: a value for each batch row, or one for all. -1, the \
    default, is the greatest unit of the row.";

/// Writes forward and relevance as one plain model of opset 17.
///
/// Inputs: the model's, and the optional [`TARGET`] (int64, a value for each batch row or one for all; a negative one, as
/// the default -1, is the greatest unit). Outputs: the model's by their names, and `relevance/NAME` for each explained
/// input. The target unit of each row starts with `multiplier`; of an output `[batch, position, unit]` that of the last
/// position.
///
/// # Errors
/// When a primitive has no spelling for its types, or the explained output has more than 3 axes.
pub fn export(program: &Program, multiplier: f32) -> Result<ModelProto, ArtifactError> {
    let info = &program.info;
    let mut graph = program.graph.clone();
    let of_input: HashSet<String> = info.explanations().map(|(name, _)| name).collect();
    let kept = |n: &str| n.starts_with("output/") || n.starts_with(MEASURED) || of_input.contains(n);
    let wanted = graph.outputs().iter().filter(|(n, _)| kept(n));
    graph.set_outputs(wanted.cloned().collect());
    seed(&mut graph, info, multiplier)?;
    graph.remove_unused();
    let strip = |n: &str| n.strip_prefix("output/").unwrap_or(n).to_string();
    let outputs = graph.outputs().iter().filter(|(n, _)| !n.starts_with(MEASURED));
    let declared: Vec<(String, Value)> = outputs.map(|(n, v)| (strip(n), *v)).collect();
    let mut writer = Writer::new(&graph, &declared, false)?;
    for id in order(&graph) {
        writer.add(id)?;
    }
    if let Some(target) = writer.inputs.iter_mut().find(|i| i.name() == TARGET) {
        *target = value_info(TARGET, &TensorType::new(DType::I64, vec![Dim::symbol("dlbc_targets")]));
        target.doc_string = Some(TARGET_DOC.into());
        writer.initializers.push(initializer(TARGET, &Tensor::from_i64(&[1], &[-1])));
    }
    let mut model = writer.finish("dlbc_explained");
    model.doc_string =
        Some(format!("{} with the relevance of its inputs, rules `{}`", info.model, info.rules));
    model.metadata_props = vec![onnx::metadata("dlbc.explained", &info.explained)];
    Ok(model)
}

/// Puts what makes the seed from the explained output in the place of the seed's input.
fn seed(graph: &mut Graph<Prim>, info: &Info, multiplier: f32) -> Result<(), ArtifactError> {
    let explained = info.explained.as_str();
    let missing = |what: &str| ArtifactError::Damaged(format!("the program has no {what}"));
    let name = format!("output/{explained}");
    let output = graph.outputs().iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
    let output = output.ok_or_else(|| missing("explained output"))?;
    let given = graph.inputs().iter().find(|id| graph.node(**id).name() == SEED).copied();
    let given = Value { node: given.ok_or_else(|| missing("seed"))?, slot: 0 };
    let (ty, dtype) = (graph.ty(output).clone(), graph.ty(given).dtype);
    if ty.rank() > 3 || ty.dtype == DType::Bool {
        return Err(ArtifactError::Seed { output: Name::new(explained), ty: ty.to_string() });
    }
    let made = made(&mut Steps { graph }, output, &ty, dtype, multiplier, info.mode);
    let made = made.map_err(ArtifactError::Damaged)?;
    graph.replace(given, made);
    graph.remove(given.node);
    Ok(())
}

/// The seed: `multiplier` at the target unit of each row, else 0; in contrastive mode with that of the opposing track.
fn made(
    steps: &mut Steps,
    y: Value,
    ty: &TensorType,
    dtype: DType,
    multiplier: f32,
    mode: Mode,
) -> Result<Value, String> {
    let one = Dim::known(1);
    let rows = &ty.shape.0[..ty.rank().saturating_sub(1)];
    let batch = rows.first().cloned().unwrap_or_else(|| one.clone());
    // The type says a target a row. One for all rows broadcasts, so nothing may be spelled by the target's own shape.
    let target = steps.graph.add_input(Prim::Input, TARGET, TensorType::new(DType::I64, vec![batch.clone()]));
    let Some(units) = ty.shape.0.last().cloned() else {
        let start = steps.scalar(dtype, f64::from(multiplier));
        if mode == Mode::Default {
            return Ok(start);
        }
        let lack = lack(steps, y, multiplier)?;
        return stacked(steps, start, lack, &ty.shape);
    };
    let axis = ty.rank() - 1;
    let mut at = y;
    if let [_, positions] = rows {
        at = steps.add(Prim::Slice { axis: 1, start: positions - &one, len: one.clone(), step: 1 }, &[at])?;
    }
    let best = steps.add(Prim::Reduce { kind: Reduction::ArgMax, axes: vec![axis], keep: false }, &[at])?;
    let best = steps.add(Prim::Reshape { to: Shape(vec![batch.clone()]) }, &[best])?;
    let zero = steps.scalar(DType::I64, 0.0);
    let free = steps.add(Prim::Binary(Binary::Less), &[target, zero])?;
    let unit = steps.add(Prim::Select, &[free, best, target])?;
    let mut column = vec![one; ty.rank()];
    column[0] = batch;
    let unit = steps.add(Prim::Reshape { to: Shape(column) }, &[unit])?;
    let all = steps.add(Prim::Iota { len: units }, &[])?;
    let mut hit = steps.add(Prim::Binary(Binary::Equal), &[unit, all])?;
    let missed = steps.add(Prim::Unary(Unary::Not), &[hit])?;
    let mut others = missed;
    if let [_, positions] = rows {
        let all = steps.add(Prim::Iota { len: positions.clone() }, &[])?;
        let all = steps.add(Prim::Reshape { to: Shape(vec![positions.clone(), Dim::known(1)]) }, &[all])?;
        let value = Prim::Dims { dims: vec![], values: vec![positions - &Dim::known(1)] };
        let position = steps.add(value, &[])?;
        let here = steps.add(Prim::Binary(Binary::Equal), &[all, position])?;
        hit = steps.add(Prim::Binary(Binary::And), &[hit, here])?;
        others = steps.add(Prim::Binary(Binary::And), &[missed, here])?;
    }
    let (full, none) = (steps.scalar(dtype, f64::from(multiplier)), steps.scalar(dtype, 0.0));
    let supporting = steps.add(Prim::Select, &[hit, full, none])?;
    if mode == Mode::Default {
        return Ok(supporting);
    }
    let opposing = if ty.shape.0[axis].is(1) {
        let lack = lack(steps, y, multiplier)?;
        steps.add(Prim::Select, &[hit, lack, none])?
    } else {
        let half = steps.scalar(dtype, f64::from(multiplier) / 2.0);
        let against = steps.add(Prim::Select, &[hit, half, none])?;
        rivals(steps, y, others, against, axis, multiplier)?
    };
    stacked(steps, supporting, opposing, &ty.shape)
}

/// What a probability lacks of 1, times the multiplier.
fn lack(steps: &mut Steps, y: Value, multiplier: f32) -> Result<Value, String> {
    let dtype = steps.graph.ty(y).dtype;
    let (one, factor) = (steps.scalar(dtype, 1.0), steps.scalar(dtype, f64::from(multiplier)));
    let rest = steps.add(Prim::Binary(Binary::Sub), &[one, y])?;
    let rest = steps.add(Prim::Unary(Unary::Clip { min: Some(0.0), max: Some(1.0) }), &[rest])?;
    steps.add(Prim::Binary(Binary::Mul), &[rest, factor])
}

/// The multiplier shared among the units marked by `others`, by their positive values; `against` where none is positive.
fn rivals(
    steps: &mut Steps,
    y: Value,
    others: Value,
    against: Value,
    axis: usize,
    multiplier: f32,
) -> Result<Value, String> {
    let dtype = steps.graph.ty(y).dtype;
    let zero = steps.scalar(dtype, 0.0);
    let positive = steps.add(Prim::Unary(Unary::Relu), &[y])?;
    let own = steps.add(Prim::Select, &[others, positive, zero])?;
    let sum = steps.add(Prim::Reduce { kind: Reduction::Sum, axes: vec![axis], keep: true }, &[own])?;
    let share = steps.add(Prim::Binary(Binary::GuardedDiv), &[own, sum])?;
    let factor = steps.scalar(dtype, f64::from(multiplier));
    let share = steps.add(Prim::Binary(Binary::Mul), &[share, factor])?;
    let any = steps.add(Prim::Binary(Binary::Less), &[zero, sum])?;
    steps.add(Prim::Select, &[any, share, against])
}

/// Both tracks, the first axis theirs.
fn stacked(steps: &mut Steps, supporting: Value, opposing: Value, shape: &Shape) -> Result<Value, String> {
    let to = Shape([vec![Dim::known(1)], shape.0.clone()].concat());
    let mut row = |v: Value| steps.add(Prim::Reshape { to: to.clone() }, &[v]);
    let rows = [row(supporting)?, row(opposing)?];
    steps.add(Prim::Concat { axis: 0 }, &rows)
}

/// Adds primitives.
struct Steps<'a> {
    graph: &'a mut Graph<Prim>,
}

impl Steps<'_> {
    fn add(&mut self, prim: Prim, inputs: &[Value]) -> Result<Value, String> {
        let types: Vec<TensorType> = inputs.iter().map(|v| self.graph.ty(*v).clone()).collect();
        let ty = prim.infer(&types).map_err(|e| format!("the seed: {e}"))?;
        let name = format!("{SEED}/{}", prim.name());
        Ok(self.graph.add_value(prim, &name, ty, Origin::onnx(SEED, "seed"), inputs))
    }

    fn scalar(&mut self, dtype: DType, value: f64) -> Value {
        let t = Array::F(ndarray::arr0(value).into_dyn()).to_tensor(dtype);
        let ty = t.ty();
        self.graph.add_value(Prim::Const(t), &format!("{SEED}/value"), ty, Origin::onnx(SEED, "seed"), &[])
    }
}
