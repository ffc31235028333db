//! Program → one model of standard operators that computes outputs, seed and relevance.

use std::collections::{BTreeMap, HashMap, HashSet};

use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::prim::{self, Binary, Prim, Reduction, Unary};
use dlbc_ops::program::{Info, Mode, Output, Program, Repeat, SEED};
use dlbc_ops::tensor::{DType, Dim, Shape, TensorType};
use dlbc_proto::onnx::{ModelProto, StringStringEntryProto};
use dlbc_proto::{Name, write as onnx};

use crate::ArtifactError;
use crate::export_target::{self, ExportOptions, ExportSeedValue, ExportTarget, UnitMasks};
use crate::integrated_gradients::{self, Quadrature};
use crate::names::{CHOSEN_TARGET, TARGET_INPUT, exported_name};
use crate::node_order::node_order;
use crate::prim_builder::PrimBuilder;
use crate::seed_sign::SeedConvention;
use crate::write::{Composed, Writer};

/// Prefix of the metadata keys of an exported model.
const EXPORTED: &str = "dlbc.";

/// Writes forward and relevance as one plain model of opset 17.
///
/// - Inputs: those of the model, and unless the target is fixed the optional [`TARGET_INPUT`], int64 with one value per batch
///   row or one for all. Without it, or where it is negative, the largest unit is explained.
/// - Outputs: those of the model under their names, and `relevance/NAME` for each explained input. Relevance is NaN for a target
///   that the output does not have.
/// - Seed: the target unit of each row gets `multiplier`, with the sign that [`SeedInfo`](dlbc_ops::program::SeedInfo) gives, or
///   its value. In an output `[batch, position, unit]` it is a unit of the last position.
/// - Metadata: the composite, the target, the kind of seed, and the hashes of the model's files.
///
/// Integrated gradients have their quadrature points as rows of the batch.
///
/// # Errors
/// When a primitive has no ONNX form for its types, the explained output has more than 3 axes and the target is not
/// [`ExportTarget::All`], the target is out of range, the composite needs several runs that one model cannot express, or the
/// program does not compute relevance.
pub fn export(program: &Program, options: &ExportOptions) -> Result<ModelProto, ArtifactError> {
    let info = &program.info;
    if info.trees.is_some() {
        return Err(ArtifactError::Trees { rules: Name::new(&info.rules) });
    }
    let mut graph = program.graph.clone();
    if graph.find(TARGET_INPUT).is_some() {
        return Err(ArtifactError::Reserved { name: Name::new(TARGET_INPUT) });
    }
    let input_relevance: HashSet<Output> = info.explanations().map(|(output, _)| output).collect();
    let is_exported =
        |n: &Output| matches!(n, Output::Model(_) | Output::Dimension(_)) || input_relevance.contains(n);
    let convention = SeedConvention::from_program(&graph, info);
    let inputs = info.inputs.iter().map(|input| &input.name);
    let baselines = inputs.filter_map(|name| {
        let baseline = Output::Baseline(name.as_str().into());
        Some((name.clone(), graph.output(&baseline)?))
    });
    let baselines: HashMap<String, Value> = baselines.collect();
    let outputs = graph.outputs().iter().filter(|(n, _)| is_exported(n));
    graph.set_outputs(outputs.cloned().collect());
    let Seed { value: seed, valid } = replace_seed_input(&mut graph, info, options, convention)?;
    if let Some(repeat) = &info.repeat {
        let result = add_runs(&mut graph, program, repeat, seed, &baselines);
        result.map_err(|reason| ArtifactError::Repeated { rules: Name::new(&info.rules), reason })?;
    }
    if let Some(valid) = valid {
        let outputs = graph.outputs().to_vec();
        let mut b = PrimBuilder { graph: &mut graph };
        let checked = outputs.into_iter().map(|(n, v)| match input_relevance.contains(&n) {
            true => Ok((n, export_target::invalidate_rows(&mut b, v, valid)?)),
            false => Ok((n, v)),
        });
        let checked = checked.collect::<Result<Vec<_>, String>>().map_err(ArtifactError::Damaged)?;
        graph.set_outputs(checked);
    }
    graph.remove_unused();
    let outputs = graph.outputs().iter().filter(|(n, _)| !matches!(n, Output::Dimension(_)));
    let declared: Vec<(String, Value)> = outputs.map(|(n, v)| (exported_name(n), *v)).collect();
    let mut writer = Writer::new(&graph, &declared, Composed::Inlined)?;
    for id in node_order(&graph) {
        writer.add(id)?;
    }
    let mut model = writer.finish("dlbc_explained");
    if let Some(graph) = &mut model.graph {
        export_target::add_target_input(graph);
    }
    model.doc_string =
        Some(format!("{} with the relevance of its inputs, rules `{}`", info.model, info.rules));
    model.metadata_props = metadata(info, options);
    Ok(model)
}

/// Replaces the relevance of one run by the mean over all runs of the composite.
///
/// # Errors
/// The reason why one model cannot express the runs, as a clause.
fn add_runs(
    graph: &mut Graph<Prim>,
    program: &Program,
    repeat: &Repeat,
    seed: Value,
    baselines: &HashMap<String, Value>,
) -> Result<(), String> {
    let Repeat::IntegratedGradients { steps, baseline } = *repeat else {
        return Err("expected integrated gradients, found noise that each run draws anew".into());
    };
    if let Some(input) = program.info.inputs.iter().find(|i| i.explained && !i.ty.dtype.is_float()) {
        return Err(format!("expected float inputs, found token ids in input {}", Name::new(&input.name)));
    }
    if !graph.data_dependent_dims().is_empty() {
        return Err("expected a model without data-dependent dimensions".into());
    }
    let batch = program.batch_symbol();
    let batch = batch.ok_or("expected a model with an open batch, whose rows the points become")?;
    integrated_gradients::integrate(
        graph,
        &program.info,
        &Quadrature { points: steps, baseline, batch: &batch, seed, baselines },
    )?;
    graph.check().map_err(|faults| faults.first().map(ToString::to_string).unwrap_or_default())
}

/// Returns the metadata of an exported model: explained output, model, composite, mode, target, seed, version and hashes of the
/// model's files.
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
        ("start".into(), options.seed_value.name().into()),
        ("version".into(), env!("CARGO_PKG_VERSION").into()),
    ];
    if options.seed_value == ExportSeedValue::One {
        pairs.push(("multiplier".into(), options.multiplier.to_string()));
    }
    pairs.extend(info.hashes.iter().map(|(file, hash)| (format!("sha256/{file}"), hash.clone())));
    pairs.iter().map(|(key, value)| onnx::metadata(&format!("{EXPORTED}{key}"), value)).collect()
}

/// Returns the metadata of an exported model by key, without the prefix; empty for any other model.
pub fn export_metadata(model: &ModelProto) -> BTreeMap<String, String> {
    let entry = |p: &StringStringEntryProto| Some((p.key().strip_prefix(EXPORTED)?.into(), p.value().into()));
    let entries: BTreeMap<String, String> = model.metadata_props.iter().filter_map(entry).collect();
    if entries.contains_key("explained") { entries } else { BTreeMap::new() }
}

/// Seed that an exported model computes.
struct Seed {
    /// The seed, of the shape of the explained output; in contrastive mode `[track, …]`.
    value: Value,
    /// Mask `[batch]` of the rows whose requested unit exists; `None` if all of them exist.
    valid: Option<Value>,
}

/// Replaces the program input of the seed by nodes that compute the seed from the explained output.
///
/// # Errors
/// For an explained output without supported seed, and a target that it does not have.
fn replace_seed_input(
    graph: &mut Graph<Prim>,
    info: &Info,
    options: &ExportOptions,
    convention: Option<SeedConvention>,
) -> Result<Seed, ArtifactError> {
    let explained = info.explained.as_str();
    let missing = |what: &str| ArtifactError::Damaged(format!("expected a program with {what}, found none"));
    let output = graph.output(&Output::from(explained));
    let output = output.ok_or_else(|| missing("an explained output"))?;
    let input = graph.inputs().iter().find(|id| graph.node(**id).name() == SEED).copied();
    let input = Value { node: input.ok_or_else(|| missing("a seed"))?, slot: 0 };
    let (ty, dtype) = (graph.ty(output).clone(), graph.ty(input).dtype);
    let has_units = ty.rank() <= 3 || options.target == Some(ExportTarget::All);
    if !has_units || ty.dtype == DType::Bool {
        return Err(ArtifactError::Seed { output: Name::new(explained), ty: ty.to_string() });
    }
    // The seed of derivatives is 1, since the composite multiplies by values itself if at all.
    let options = match (&info.repeat, options.seed_value) {
        (Some(_), ExportSeedValue::Value) => {
            &ExportOptions { seed_value: ExportSeedValue::One, multiplier: 1.0, ..*options }
        }
        _ => options,
    };
    let seed = compute_seed(&mut PrimBuilder { graph }, output, &ty, dtype, options, info.mode, convention);
    let seed = seed.map_err(|reason| ArtifactError::Target { output: Name::new(explained), reason })?;
    graph.replace(input, seed.value);
    graph.remove(input.node);
    Ok(seed)
}

/// Computes the seed of the output `y`: the seed of the target unit of each row, and 0 elsewhere. In contrastive mode the
/// opposing track follows on a new first axis.
fn compute_seed(
    b: &mut PrimBuilder,
    y: Value,
    ty: &TensorType,
    dtype: DType,
    options: &ExportOptions,
    mode: Mode,
    convention: Option<SeedConvention>,
) -> Result<Seed, String> {
    let unit_dim = Dim::known(1);
    let value = if ty.dtype == dtype { y } else { b.add(prim::Cast { to: dtype }, &[y])? };
    let rows = &ty.shape.0[..ty.rank().saturating_sub(1)];
    let batch = rows.first().cloned().unwrap_or_else(|| unit_dim.clone());
    // The declared type has one target per row. A single target for all rows broadcasts, so no node may use the target's shape.
    let input = match options.target {
        None => Some(b.graph.add_input(Prim::Input, CHOSEN_TARGET, export_target::chosen_type(&batch))),
        Some(_) => None,
    };
    if ty.rank() == 0 {
        let valid = input.map(|input| export_target::is_below(b, input, &unit_dim)).transpose()?;
        let seed = unit_seed(b, value, dtype, 1.0, options, convention)?;
        if mode == Mode::Default {
            return Ok(Seed { value: seed, valid });
        }
        let opposing = opposing_seed_of_unit(b, seed, value, dtype, options)?;
        return Ok(Seed { value: stack_tracks(b, seed, opposing, &ty.shape)?, valid });
    }
    let axis = ty.rank() - 1;
    let mut explained = y;
    if let [_, positions] = rows {
        let last = prim::Slice { axis: 1, start: positions - &unit_dim, len: unit_dim.clone(), step: 1 };
        explained = b.add(last, &[explained])?;
    }
    let UnitMasks { masks, valid, sharing } =
        export_target::unit_masks(b, explained, &batch, options.target, input)?;
    let zero = b.scalar(dtype, 0.0);
    let last_position = match rows {
        [_, positions] => {
            let all = b.add(prim::Iota { len: positions.clone() }, &[])?;
            let column = Shape(vec![positions.clone(), unit_dim.clone()]);
            let all = b.add(prim::Reshape { to: column }, &[all])?;
            let value = Prim::Dims(prim::Dims { dims: vec![], values: vec![positions - &unit_dim] });
            let position = b.add(value, &[])?;
            Some(b.add(Prim::Binary(Binary::Equal), &[all, position])?)
        }
        _ => None,
    };
    let at_last_position = |b: &mut PrimBuilder, mask: Value| match last_position {
        Some(is_last) => b.add(Prim::Binary(Binary::And), &[mask, is_last]),
        None => Ok(mask),
    };
    let is_difference = matches!(options.target, Some(ExportTarget::Difference(..)));
    let convention = match convention {
        Some(single) if is_difference => Some(single.for_difference(b, dtype, &masks, axis)?),
        other => other,
    };
    let (mut total, mut target) = (zero, zero);
    for (mask, weight) in &masks {
        target = at_last_position(b, *mask)?;
        let seed = unit_seed(b, value, dtype, *weight, options, convention)?;
        total = b.add(Prim::Select, &[target, seed, total])?;
    }
    if b.graph.ty(total).shape != ty.shape {
        total = b.add(prim::Expand { to: ty.shape.clone() }, &[total])?;
    }
    if let Some(count) = sharing.filter(|_| options.seed_value == ExportSeedValue::One) {
        let count = b.add(prim::Dims { dims: vec![], values: vec![count] }, &[])?;
        let count = b.add(prim::Cast { to: dtype }, &[count])?;
        total = b.add(Prim::Binary(Binary::Div), &[total, count])?;
    }
    if mode == Mode::Default {
        return Ok(Seed { value: total, valid });
    }
    if let Some(ExportTarget::Difference(..)) = options.target {
        let supporting = b.add(Prim::Unary(Unary::Relu), &[total])?;
        let negated = b.add(Prim::Unary(Unary::Neg), &[total])?;
        let opposing = b.add(Prim::Unary(Unary::Relu), &[negated])?;
        return Ok(Seed { value: stack_tracks(b, supporting, opposing, &ty.shape)?, valid });
    }
    let others = b.add(Prim::Unary(Unary::Not), &[masks[0].0])?;
    let others = at_last_position(b, others)?;
    let opposing = if ty.shape.0[axis].is(1) {
        let opposing = opposing_seed_of_unit(b, total, value, dtype, options)?;
        b.add(Prim::Select, &[target, opposing, zero])?
    } else if options.seed_value == ExportSeedValue::Value {
        b.add(Prim::Select, &[others, value, zero])?
    } else {
        let half = b.scalar(dtype, 0.5);
        let fallback = b.add(Prim::Binary(Binary::Mul), &[total, half])?;
        opposing_seed_of_others(b, value, others, fallback, axis, options.multiplier)?
    };
    Ok(Seed { value: stack_tracks(b, total, opposing, &ty.shape)?, valid })
}

/// Returns the opposing seed of an output with a single unit: half of the supporting seed, or `max(1 - y, 0)` with
/// [`ExportSeedValue::Value`].
fn opposing_seed_of_unit(
    b: &mut PrimBuilder,
    seed: Value,
    y: Value,
    dtype: DType,
    options: &ExportOptions,
) -> Result<Value, String> {
    if options.seed_value == ExportSeedValue::One {
        let half = b.scalar(dtype, 0.5);
        return b.add(Prim::Binary(Binary::Mul), &[seed, half]);
    }
    let (unit, zero) = (b.scalar(dtype, 1.0), b.scalar(dtype, 0.0));
    let complement = b.add(Prim::Binary(Binary::Sub), &[unit, y])?;
    b.add(Prim::Binary(Binary::Max), &[complement, zero])
}

/// Shares the multiplier among the units that `others` marks, in proportion to their positive values; returns `fallback` for
/// rows in which no value is positive.
fn opposing_seed_of_others(
    b: &mut PrimBuilder,
    y: Value,
    others: Value,
    fallback: Value,
    axis: usize,
    multiplier: f32,
) -> Result<Value, String> {
    let dtype = b.graph.ty(y).dtype;
    let zero = b.scalar(dtype, 0.0);
    let positive = b.add(Prim::Unary(Unary::Relu), &[y])?;
    let rivals = b.add(Prim::Select, &[others, positive, zero])?;
    let sum = b.add(prim::Reduce { kind: Reduction::Sum, axes: vec![axis], keep: true }, &[rivals])?;
    let share = b.add(Prim::Binary(Binary::GuardedDiv), &[rivals, sum])?;
    let factor = b.scalar(dtype, f64::from(multiplier));
    let share = b.add(Prim::Binary(Binary::Mul), &[share, factor])?;
    let any = b.add(Prim::Binary(Binary::Less), &[zero, sum])?;
    b.add(Prim::Select, &[any, share, fallback])
}

/// Stacks both tracks along a new first axis.
fn stack_tracks(
    b: &mut PrimBuilder,
    supporting: Value,
    opposing: Value,
    shape: &Shape,
) -> Result<Value, String> {
    let to = Shape([vec![Dim::known(1)], shape.0.clone()].concat());
    let mut row = |v: Value| b.add(prim::Reshape { to: to.clone() }, &[v]);
    let rows = [row(supporting)?, row(opposing)?];
    b.add(prim::Concat { axis: 0 }, &rows)
}

/// Returns the seed of a unit: the share `weight` of the multiplier with the sign of the convention, or the unit's value with
/// the sign of `weight`.
fn unit_seed(
    b: &mut PrimBuilder,
    y: Value,
    dtype: DType,
    weight: f64,
    options: &ExportOptions,
    convention: Option<SeedConvention>,
) -> Result<Value, String> {
    match options.seed_value {
        ExportSeedValue::One => {
            let seed = b.scalar(dtype, f64::from(options.multiplier) * weight);
            convention.map_or(Ok(seed), |convention| convention.apply(b, seed, dtype))
        }
        ExportSeedValue::Value if weight < 0.0 => b.add(Prim::Unary(Unary::Neg), &[y]),
        ExportSeedValue::Value => Ok(y),
    }
}
