//! Program → one plain model: standard operators only, the seed computed in the graph.

use std::collections::{BTreeMap, HashMap, HashSet};

use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::prim::{self, Binary, Prim, Reduction, Unary};
use dlbc_ops::program::{Info, Mode, Output, Program, Repeat, SEED};
use dlbc_ops::tensor::{DType, Dim, Shape, TensorType};
use dlbc_proto::onnx::{ModelProto, StringStringEntryProto};
use dlbc_proto::{Name, write as onnx};

use crate::ArtifactError;
use crate::export_target::{self, Chosen, ExportOptions, ExportStart, ExportTarget};
use crate::integrated_gradients::{self, Quadrature};
use crate::names::{CHOSEN_TARGET, TARGET_INPUT, exported_name};
use crate::node_order::node_order;
use crate::prim_builder::PrimBuilder;
use crate::seed_sign::Convention;
use crate::write::Writer;

/// Prefix of the metadata keys of an exported model.
const EXPORTED: &str = "dlbc.";

/// Writes forward and relevance as one plain model of opset 17.
///
/// Inputs: the model's, and unless the target is fixed the optional [`TARGET_INPUT`] (int64, a value for each batch row or one for
/// all; without it, or where it is negative, the largest unit). Outputs: the model's by their names, and `relevance/NAME`
/// for each explained input; NaN for a target that the output does not have. The target unit of each row starts with
/// `multiplier`, signed as [`SeedInfo`](dlbc_ops::program::SeedInfo) says, or its value; of an output `[batch, position,
/// unit]` that of the last position. Metadata hold the rules, the target, the start and the hashes of the model. Integrated
/// gradients have the points of their quadrature as rows of the batch.
///
/// # Errors
/// When a primitive has no spelling for its types, the explained output has more than 3 axes, or the target is out of range.
pub fn export(program: &Program, options: &ExportOptions) -> Result<ModelProto, ArtifactError> {
    let info = &program.info;
    let mut graph = program.graph.clone();
    if graph.find(TARGET_INPUT).is_some() {
        return Err(ArtifactError::Reserved { name: Name::new(TARGET_INPUT) });
    }
    let of_input: HashSet<Output> = info.explanations().map(|(output, _)| output).collect();
    let kept = |n: &Output| matches!(n, Output::Model(_) | Output::Dimension(_)) || of_input.contains(n);
    let convention = Convention::of(&graph, info);
    let inputs = info.inputs.iter().map(|input| &input.name);
    let scaled = inputs.filter_map(|name| {
        let baseline = Output::Baseline(name.as_str().into());
        Some((name.clone(), graph.output(&baseline)?))
    });
    let scaled: HashMap<String, Value> = scaled.collect();
    let wanted = graph.outputs().iter().filter(|(n, _)| kept(n));
    graph.set_outputs(wanted.cloned().collect());
    let (start, valid) = seed(&mut graph, info, options, convention)?;
    if let Some(repeat) = &info.repeat {
        let reason = repeated(&mut graph, program, repeat, start, &scaled);
        reason.map_err(|reason| ArtifactError::Repeated { rules: Name::new(&info.rules), reason })?;
    }
    if let Some(valid) = valid {
        let outputs = graph.outputs().to_vec();
        let mut steps = PrimBuilder { graph: &mut graph };
        let checked = outputs.into_iter().map(|(n, v)| match of_input.contains(&n) {
            true => Ok((n, export_target::poisoned(&mut steps, v, valid)?)),
            false => Ok((n, v)),
        });
        let checked = checked.collect::<Result<Vec<_>, String>>().map_err(ArtifactError::Damaged)?;
        graph.set_outputs(checked);
    }
    graph.remove_unused();
    let outputs = graph.outputs().iter().filter(|(n, _)| !matches!(n, Output::Dimension(_)));
    let declared: Vec<(String, Value)> = outputs.map(|(n, v)| (exported_name(n), *v)).collect();
    let mut writer = Writer::new(&graph, &declared, false)?;
    for id in node_order(&graph) {
        writer.add(id)?;
    }
    let mut model = writer.finish("dlbc_explained");
    if let Some(graph) = &mut model.graph {
        export_target::ask(graph);
    }
    model.doc_string =
        Some(format!("{} with the relevance of its inputs, rules `{}`", info.model, info.rules));
    model.metadata_props = metadata(info, options);
    Ok(model)
}

/// Makes the mean over several runs a part of the graph.
fn repeated(
    graph: &mut Graph<Prim>,
    program: &Program,
    repeat: &Repeat,
    seed: Value,
    scaled: &HashMap<String, Value>,
) -> Result<(), String> {
    let Repeat::IntegratedGradients { steps, baseline } = *repeat else {
        return Err("its noise is drawn anew for each run, which no ONNX model expresses".into());
    };
    if let Some(input) = program.info.inputs.iter().find(|i| i.explained && !i.ty.dtype.is_float()) {
        return Err(format!("it moves what the ids of input {} look up", Name::new(&input.name)));
    }
    if !graph.data_dependent_dims().is_empty() {
        return Err("the model has dimensions that depend on its data".into());
    }
    let batch = program.batch_symbol();
    let batch = batch.ok_or("the points are rows of a batch, and the model's first axis is no open batch")?;
    integrated_gradients::integrate(
        graph,
        &program.info,
        &Quadrature { steps, baseline, batch: &batch, seed, scaled },
    )?;
    graph.check().map_err(|faults| faults.first().map(ToString::to_string).unwrap_or_default())
}

/// Returns the metadata of an exported model, which say by key what it explains, by which composite and from which
/// files.
fn metadata(info: &Info, options: &ExportOptions) -> Vec<StringStringEntryProto> {
    let target =
        options.target.map_or_else(|| format!("input {TARGET_INPUT}, else argmax"), |t| t.to_string());
    let mut pairs = vec![
        ("explained".to_string(), info.explained.clone()),
        ("model".into(), info.model.clone()),
        ("rules".into(), info.rules.clone()),
        ("rules_hash".into(), info.rules_hash.clone()),
        ("mode".into(), info.mode.name().into()),
        ("target".into(), target),
        ("start".into(), options.start.name().into()),
        ("version".into(), env!("CARGO_PKG_VERSION").into()),
    ];
    if options.start == ExportStart::One {
        pairs.push(("multiplier".into(), options.multiplier.to_string()));
    }
    pairs.extend(info.hashes.iter().map(|(file, hash)| (format!("sha256/{file}"), hash.clone())));
    pairs.iter().map(|(key, value)| onnx::metadata(&format!("{EXPORTED}{key}"), value)).collect()
}

/// Metadata of an exported model by key, without the prefix; empty for any other model.
pub fn export_metadata(model: &ModelProto) -> BTreeMap<String, String> {
    let own = |p: &StringStringEntryProto| Some((p.key().strip_prefix(EXPORTED)?.into(), p.value().into()));
    let found: BTreeMap<String, String> = model.metadata_props.iter().filter_map(own).collect();
    if found.contains_key("explained") { found } else { BTreeMap::new() }
}

/// Puts what makes the seed from the explained output in the place of the seed's input. Returns the seed, and whether the output
/// has the unit that each row asks for, where that is not certain.
fn seed(
    graph: &mut Graph<Prim>,
    info: &Info,
    options: &ExportOptions,
    convention: Option<Convention>,
) -> Result<(Value, Option<Value>), ArtifactError> {
    let explained = info.explained.as_str();
    let missing = |what: &str| ArtifactError::Damaged(format!("the program has no {what}"));
    let output = graph.output(&Output::from(explained));
    let output = output.ok_or_else(|| missing("explained output"))?;
    let given = graph.inputs().iter().find(|id| graph.node(**id).name() == SEED).copied();
    let given = Value { node: given.ok_or_else(|| missing("seed"))?, slot: 0 };
    let (ty, dtype) = (graph.ty(output).clone(), graph.ty(given).dtype);
    if ty.rank() > 3 || ty.dtype == DType::Bool {
        return Err(ArtifactError::Seed { output: Name::new(explained), ty: ty.to_string() });
    }
    // Derivatives start with one: of the value's share nothing is left to multiply.
    let options = match (&info.repeat, options.start) {
        (Some(_), ExportStart::Value) => {
            &ExportOptions { start: ExportStart::One, multiplier: 1.0, ..*options }
        }
        _ => options,
    };
    let made = made(&mut PrimBuilder { graph }, output, &ty, dtype, options, info.mode, convention);
    let (made, valid) =
        made.map_err(|reason| ArtifactError::Target { output: Name::new(explained), reason })?;
    graph.replace(given, made);
    graph.remove(given.node);
    Ok((made, valid))
}

/// The seed: the start at the target unit of each row, else 0; in contrastive mode with that of the opposing track. With it,
/// whether the output has the unit that each row asks for.
fn made(
    steps: &mut PrimBuilder,
    y: Value,
    ty: &TensorType,
    dtype: DType,
    options: &ExportOptions,
    mode: Mode,
    convention: Option<Convention>,
) -> Result<(Value, Option<Value>), String> {
    let one = Dim::known(1);
    let value = if ty.dtype == dtype { y } else { steps.add(prim::Cast { to: dtype }, &[y])? };
    let rows = &ty.shape.0[..ty.rank().saturating_sub(1)];
    let batch = rows.first().cloned().unwrap_or_else(|| one.clone());
    // The type says a target a row. One for all rows broadcasts, so nothing may be spelled by the target's own shape.
    let input = match options.target {
        None => Some(steps.graph.add_input(Prim::Input, CHOSEN_TARGET, export_target::chosen_type(&batch))),
        Some(_) => None,
    };
    if ty.rank() == 0 {
        let valid = input.map(|input| export_target::below(steps, input, &one)).transpose()?;
        let start = start(steps, value, dtype, 1.0, options, convention)?;
        if mode == Mode::Default {
            return Ok((start, valid));
        }
        let opposing = itself(steps, start, value, dtype, options)?;
        return Ok((stacked(steps, start, opposing, &ty.shape)?, valid));
    }
    let axis = ty.rank() - 1;
    let mut at = y;
    if let [_, positions] = rows {
        at = steps.add(prim::Slice { axis: 1, start: positions - &one, len: one.clone(), step: 1 }, &[at])?;
    }
    let Chosen { masks, valid } = export_target::choose(steps, at, &batch, options.target, input)?;
    let none = steps.scalar(dtype, 0.0);
    let here = match rows {
        [_, positions] => {
            let all = steps.add(prim::Iota { len: positions.clone() }, &[])?;
            let all = steps.add(prim::Reshape { to: Shape(vec![positions.clone(), one.clone()]) }, &[all])?;
            let value = Prim::Dims(prim::Dims { dims: vec![], values: vec![positions - &one] });
            let position = steps.add(value, &[])?;
            Some(steps.add(Prim::Binary(Binary::Equal), &[all, position])?)
        }
        _ => None,
    };
    let here = |steps: &mut PrimBuilder, mask: Value| match here {
        Some(here) => steps.add(Prim::Binary(Binary::And), &[mask, here]),
        None => Ok(mask),
    };
    let difference = matches!(options.target, Some(ExportTarget::Difference(..)));
    let convention = match convention {
        Some(own) if difference => Some(own.difference(steps, dtype, &masks, axis)?),
        other => other,
    };
    let (mut total, mut hit) = (none, none);
    for (mask, weight) in &masks {
        hit = here(steps, *mask)?;
        let start = start(steps, value, dtype, *weight, options, convention)?;
        total = steps.add(Prim::Select, &[hit, start, total])?;
    }
    if steps.graph.ty(total).shape != ty.shape {
        total = steps.add(prim::Expand { to: ty.shape.clone() }, &[total])?;
    }
    if mode == Mode::Default {
        return Ok((total, valid));
    }
    if let Some(ExportTarget::Difference(..)) = options.target {
        let supporting = steps.add(Prim::Unary(Unary::Relu), &[total])?;
        let negated = steps.add(Prim::Unary(Unary::Neg), &[total])?;
        let opposing = steps.add(Prim::Unary(Unary::Relu), &[negated])?;
        return Ok((stacked(steps, supporting, opposing, &ty.shape)?, valid));
    }
    let others = steps.add(Prim::Unary(Unary::Not), &[masks[0].0])?;
    let others = here(steps, others)?;
    let opposing = if ty.shape.0[axis].is(1) {
        let opposing = itself(steps, total, value, dtype, options)?;
        steps.add(Prim::Select, &[hit, opposing, none])?
    } else if options.start == ExportStart::Value {
        steps.add(Prim::Select, &[others, value, none])?
    } else {
        let half = steps.scalar(dtype, 0.5);
        let against = steps.add(Prim::Binary(Binary::Mul), &[total, half])?;
        rivals(steps, value, others, against, axis, options.multiplier)?
    };
    Ok((stacked(steps, total, opposing, &ty.shape)?, valid))
}

/// Returns the start of the opposing track of a single unit: half of what supports it; with
/// [`ExportStart::Value`] `max(1 - y, 0)`.
fn itself(
    steps: &mut PrimBuilder,
    start: Value,
    y: Value,
    dtype: DType,
    options: &ExportOptions,
) -> Result<Value, String> {
    if options.start == ExportStart::One {
        let half = steps.scalar(dtype, 0.5);
        return steps.add(Prim::Binary(Binary::Mul), &[start, half]);
    }
    let (one, zero) = (steps.scalar(dtype, 1.0), steps.scalar(dtype, 0.0));
    let rest = steps.add(Prim::Binary(Binary::Sub), &[one, y])?;
    steps.add(Prim::Binary(Binary::Max), &[rest, zero])
}

/// The multiplier shared among the units marked by `others`, by their positive values; `against` where none is positive.
fn rivals(
    steps: &mut PrimBuilder,
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
    let sum = steps.add(prim::Reduce { kind: Reduction::Sum, axes: vec![axis], keep: true }, &[own])?;
    let share = steps.add(Prim::Binary(Binary::GuardedDiv), &[own, sum])?;
    let factor = steps.scalar(dtype, f64::from(multiplier));
    let share = steps.add(Prim::Binary(Binary::Mul), &[share, factor])?;
    let any = steps.add(Prim::Binary(Binary::Less), &[zero, sum])?;
    steps.add(Prim::Select, &[any, share, against])
}

/// Both tracks, the first axis theirs.
fn stacked(
    steps: &mut PrimBuilder,
    supporting: Value,
    opposing: Value,
    shape: &Shape,
) -> Result<Value, String> {
    let to = Shape([vec![Dim::known(1)], shape.0.clone()].concat());
    let mut row = |v: Value| steps.add(prim::Reshape { to: to.clone() }, &[v]);
    let rows = [row(supporting)?, row(opposing)?];
    steps.add(prim::Concat { axis: 0 }, &rows)
}

/// Returns the start of a unit: a share of the multiplier with the sign of the convention, or the unit's own value
/// with the sign of the share.
fn start(
    steps: &mut PrimBuilder,
    y: Value,
    dtype: DType,
    weight: f64,
    options: &ExportOptions,
    convention: Option<Convention>,
) -> Result<Value, String> {
    match options.start {
        ExportStart::One => {
            let start = steps.scalar(dtype, f64::from(options.multiplier) * weight);
            convention.map_or(Ok(start), |own| own.signed(steps, start, dtype))
        }
        ExportStart::Value if weight < 0.0 => steps.add(Prim::Unary(Unary::Neg), &[y]),
        ExportStart::Value => Ok(y),
    }
}
