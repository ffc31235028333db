//! Exported models and artifacts of whole programs in ONNX Runtime, against the reference kernels.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{Run, difference, dim, expected, input_values, onnx_runtime, python, ty, values};
use dlbc_artifact::{ExportOptions, ExportSeedValue, ExportTarget, TARGET_INPUT, export, export_metadata};
use dlbc_ops::prim::{Builder, Factor};
use dlbc_ops::program::{Info, InputInfo, LedgerEntry, Output, Program, SEED, SeedSign, TrackKind};
use dlbc_ops::tensor::{Bindings, DType, Dim, Shape, Tensor, TensorType};

/// `y = x · w` of a shape, and the relevance `(seed · wᵀ) ⊙ x`, so that the relevance shows the seed.
fn linear(shape: &str) -> Program {
    let mut b = Builder::new();
    let x = b.input("x", ty(&format!("f32[{shape}]")));
    let weight = b.constant("w", values(&ty("f32[5,5]"), 9));
    let (rank, shape) = (b.ty(x).rank(), b.ty(x).shape);
    let matrix = match rank {
        0 => Shape(vec![dim("1"), dim("1")]),
        1 => Shape([vec![dim("1")], shape.0.clone()].concat()),
        _ => shape.clone(),
    };
    let weight = if rank == 0 { b.constant("w1", Tensor::from_f32(&[1, 1], &[2.0])) } else { weight };
    let flat = b.reshape(x, &matrix);
    let y = b.matmul(flat, weight);
    let y = b.reshape(y, &shape);
    let seed_type = b.ty(y);
    let seed = b.input(SEED, seed_type);
    let r = b.reshape(seed, &matrix);
    let r = b.matmul(r, Factor::transposed(weight));
    let r = b.reshape(r, &shape);
    let r = b.mul(r, x);
    let total = b.total(r);
    b.ok().unwrap();
    let input = InputInfo { name: "x".into(), ty: b.ty(x), explained: true };
    let info =
        Info { explained: "y".into(), inputs: vec![input], outputs: vec!["y".into()], ..Info::default() };
    let mut graph = b.finish();
    let relevance = |tensor: &str| Output::relevance(TrackKind::Single, tensor);
    let received = Output::Ledger { track: TrackKind::Single, row: 0, entry: LedgerEntry::Received };
    graph.add_output("y", y);
    for (output, v) in [(relevance("x"), r), (relevance("inner"), r), (received, total)] {
        graph.add_output(output, v);
    }
    Program { graph, info }
}

/// Computes the seed of the output `y` at the last position of each row. `sign_values` are the values whose signs and shares it has.
fn seed(y: &Tensor, target: Option<&[i64]>, options: &ExportOptions, sign_values: Option<&Tensor>) -> Tensor {
    let (rows, positions, units) = match y.dims() {
        [] => (1, 1, 1),
        [u] => (1, 1, *u),
        [b, u] => (*b, 1, *u),
        [b, p, u] => (*b, *p, *u),
        [b, rest @ ..] => (*b, 1, rest.iter().product()),
    };
    let values = y.to_f32();
    let mut seed = vec![0.0; values.len()];
    for row in 0..rows {
        let from = (row * positions + positions - 1) * units;
        let mut order: Vec<usize> = (0..units).collect();
        order.sort_by(|i, j| values[from + j].total_cmp(&values[from + i]).then(i.cmp(j)));
        let requested = target.map(|t| t[if t.len() == 1 { 0 } else { row }]).filter(|t| *t >= 0);
        let at = |i: i64| if i < 0 { i + units as i64 } else { i } as usize;
        let places: Vec<(usize, f32)> = match options.target {
            None => vec![(requested.map_or(order[0], |t| t as usize), 1.0)],
            Some(ExportTarget::Argmax) => vec![(order[0], 1.0)],
            Some(ExportTarget::Rank(k)) => vec![(order[k], 1.0)],
            Some(ExportTarget::Index(i)) => vec![(at(i), 1.0)],
            Some(ExportTarget::Difference(a, b)) => vec![(at(a), 1.0), (at(b), -1.0)],
            Some(ExportTarget::All) => (0..units).map(|i| (i, 1.0 / units as f32)).collect(),
        };
        let sign_values = sign_values.map(|t| t.to_f32()[from..from + units].to_vec());
        let sum: f32 = sign_values.iter().flat_map(|v| places.iter().map(|(unit, _)| v[*unit].abs())).sum();
        for (unit, weight) in places {
            let factor = match (&sign_values, options.target) {
                (None, _) => 1.0,
                (Some(values), Some(ExportTarget::Difference(..))) => values[unit] / sum,
                (Some(values), _) => values[unit].signum(),
            };
            seed[from + unit] = match options.seed_value {
                ExportSeedValue::One => options.multiplier * weight * factor,
                ExportSeedValue::Value => values[from + unit] * weight.signum(),
            };
        }
    }
    Tensor::from_f32(y.dims(), &seed)
}

#[derive(Default)]
struct Suite {
    runs: Vec<Run>,
    cases: Vec<Case>,
}

/// An exported program with the sizes of its symbols, the targets of the run, and the options of the export.
struct Case {
    program: Program,
    bindings: Bindings,
    target: Option<Vec<i64>>,
    options: ExportOptions,
}

impl Suite {
    fn add(&mut self, name: &str, program: &Program, sizes: &[(&str, i64)], target: Option<&[i64]>) {
        self.add_with(name, program, sizes, target, ExportOptions::default());
    }

    fn add_with(
        &mut self,
        name: &str,
        program: &Program,
        sizes: &[(&str, i64)],
        target: Option<&[i64]>,
        options: ExportOptions,
    ) {
        let bindings: Bindings = sizes.iter().map(|(n, v)| ((*n).into(), *v)).collect();
        let mut inputs: BTreeMap<String, Tensor> = program
            .info
            .inputs
            .iter()
            .enumerate()
            .map(|(i, input)| {
                let ty = TensorType::new(input.ty.dtype, input.ty.shape.substitute(&bindings));
                (input.name.clone(), input_values(&ty, i as u64 + 17))
            })
            .collect();
        if let Some(target) = target {
            inputs.insert(TARGET_INPUT.into(), Tensor::from_i64(&[target.len()], target));
        }
        let model = export(program, &options).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(model.functions.is_empty());
        let nodes = &model.graph.as_ref().unwrap().node;
        assert!(nodes.iter().all(|n| n.domain().is_empty()));
        self.runs.push(Run { name: format!("{name} {sizes:?} {target:?} {options:?}"), model, inputs });
        let target = target.map(<[i64]>::to_vec);
        self.cases.push(Case { program: program.clone(), bindings, target, options });
    }

    fn check(self, bound: f64) {
        let Some(python) = python() else { return };
        let mut faults = vec![];
        let results = onnx_runtime(&python, &self.runs);
        for ((run, result), case) in self.runs.iter().zip(results).zip(&self.cases) {
            let fault = result.and_then(|outputs| compare(run, &outputs, case, bound));
            faults.extend(fault.err().map(|e| format!("{}: {e}", run.name)));
        }
        assert!(faults.is_empty(), "{} of {} runs:\n{}", faults.len(), self.runs.len(), faults.join("\n"));
    }
}

fn compare(
    run: &Run,
    outputs: &BTreeMap<String, Tensor>,
    Case { program, bindings, target, options }: &Case,
    bound: f64,
) -> Result<(), String> {
    let info = &program.info;
    let mut names: Vec<String> = info.outputs.clone();
    names.extend(info.inputs.iter().filter(|i| i.explained).map(|i| format!("relevance/{}", i.name)));
    names.sort();
    let actual: Vec<&String> = outputs.keys().collect();
    if names.iter().collect::<Vec<_>>() != actual {
        return Err(format!("outputs {actual:?} found, {names:?} expected"));
    }
    let mut inputs = run.inputs.clone();
    inputs.remove(TARGET_INPUT);
    let y = &outputs[&info.explained];
    inputs.insert(SEED.into(), seed(y, target.as_deref(), options, None));
    if info.seed.sign == SeedSign::Value {
        let values = expected(program, bindings, &inputs);
        let sign_values = values
            .get(&Output::SeedValue.to_string())
            .map_or_else(|| y.clone(), |value| value.to_tensor(DType::F32));
        inputs.insert(SEED.into(), seed(y, target.as_deref(), options, Some(&sign_values)));
    }
    let expected = expected(program, bindings, &inputs);
    for name in names {
        let full = if expected.contains_key(&name) { name.clone() } else { format!("output/{name}") };
        if let Some(d) = difference(&outputs[&name], &expected[&full], bound) {
            return Err(format!("{name}: {d}"));
        }
    }
    Ok(())
}

#[test]
fn outputs_of_every_rank_are_seeded() {
    let mut suite = Suite::default();
    for shape in ["", "5", "n,5", "4,5", "n,3,5", "n,p,5", "2,3,5"] {
        let program = linear(shape);
        let rows = match shape.split(',').next().unwrap() {
            "2" => 2,
            "4" => 4,
            "n" => 3,
            _ => 1,
        };
        let sizes = [("n", rows), ("p", 4)];
        suite.add(shape, &program, &sizes, None);
        suite.add(shape, &program, &sizes, Some(&[-1]));
        if !shape.is_empty() {
            suite.add(shape, &program, &sizes, Some(&[3]));
            let by_row: Vec<i64> = (0..rows).map(|i| i - 1).collect();
            suite.add(shape, &program, &sizes, Some(&by_row));
        }
        if shape.starts_with('n') {
            suite.add(shape, &program, &[("n", 1), ("p", 1)], Some(&[0]));
        }
    }
    suite.check(1e-5);
}

#[test]
fn targets_are_fixed_in_the_file() {
    let mut suite = Suite::default();
    let targets = [
        ExportTarget::Argmax,
        ExportTarget::Rank(2),
        ExportTarget::Index(3),
        ExportTarget::Index(-2),
        ExportTarget::Difference(0, 4),
        ExportTarget::All,
    ];
    for shape in ["5", "n,5", "n,p,5"] {
        let program = linear(shape);
        for target in targets {
            for seed_value in [ExportSeedValue::One, ExportSeedValue::Value] {
                let options = ExportOptions { target: Some(target), seed_value, multiplier: 7.0 };
                suite.add_with(shape, &program, &[("n", 3), ("p", 4)], None, options);
            }
        }
    }
    for run in &suite.runs {
        let inputs = &run.model.graph.as_ref().unwrap().input;
        assert!(inputs.iter().all(|i| i.name() != TARGET_INPUT), "{}", run.name);
    }
    suite.check(1e-5);
    for target in [ExportTarget::Index(5), ExportTarget::Difference(0, -6), ExportTarget::Rank(5)] {
        let options = ExportOptions { target: Some(target), ..ExportOptions::default() };
        let error = export(&linear("n,5"), &options).unwrap_err().to_string();
        let range = if target == ExportTarget::Rank(5) { "expected at most 5" } else { "expected -5 to 4" };
        assert!(error.contains(range), "{error}");
    }
}

/// A unit that the output does not have gives NaN in its row, and in that row alone.
#[test]
fn targets_out_of_range_give_nan() {
    let Some(python) = python() else { return };
    let mut runs = vec![];
    for (shape, rows) in [("n,5", 3), ("n,p,5", 2), ("5", 1)] {
        let program = linear(shape);
        let model = export(&program, &ExportOptions::default()).unwrap();
        let bindings = Bindings::from([("n".into(), rows), ("p".into(), 4)]);
        let ty = program.info.inputs[0].ty.clone();
        let x = input_values(&TensorType::new(ty.dtype, ty.shape.substitute(&bindings)), 5);
        for targets in [vec![5000], (0..rows).map(|i| if i == 0 { 5 } else { 1 }).collect()] {
            let target = Tensor::from_i64(&[targets.len()], &targets);
            let inputs = BTreeMap::from([("x".to_string(), x.clone()), (TARGET_INPUT.to_string(), target)]);
            runs.push(Run { name: format!("{shape} {targets:?}"), model: model.clone(), inputs });
        }
    }
    for (run, outputs) in runs.iter().zip(onnx_runtime(&python, &runs)) {
        let outputs = outputs.unwrap_or_else(|e| panic!("{}: {e}", run.name));
        let targets = run.inputs[TARGET_INPUT].to_i64();
        let relevance = outputs["relevance/x"].to_f32();
        let rows = if run.name.starts_with('5') { 1 } else { outputs["y"].dims()[0] };
        for (row, relevance) in relevance.chunks(relevance.len() / rows).enumerate() {
            let target = targets[if targets.len() == 1 { 0 } else { row }];
            let is_nan = relevance.iter().all(|v| v.is_nan());
            assert!(
                is_nan == (target > 4) && relevance.iter().any(|v| v.is_nan()) == is_nan,
                "{}: {relevance:?}",
                run.name
            );
        }
        assert!(outputs["y"].to_f32().iter().all(|v| v.is_finite()));
    }
}

#[test]
fn metadata_say_what_was_exported() {
    let mut program = linear("n,5");
    program.info.model = "m.onnx".into();
    program.info.rules = "own".into();
    program.info.hashes = vec![("m.onnx".into(), "abc".into())];
    let options = ExportOptions { target: Some(ExportTarget::Difference(1, 3)), ..ExportOptions::default() };
    let metadata = export_metadata(&export(&program, &options).unwrap());
    let expected = [
        ("explained", "y"),
        ("model", "m.onnx"),
        ("rules", "own"),
        ("target", "1-3"),
        ("start", "one"),
        ("multiplier", "100"),
        ("sha256/m.onnx", "abc"),
    ];
    for (key, value) in expected {
        assert_eq!(metadata[key], value, "{metadata:?}");
    }
    assert!(export_metadata(&dlbc_artifact::write(&program).unwrap()).is_empty());
}

#[test]
fn all_of_an_output_of_more_axes_is_explained() {
    let mut suite = Suite::default();
    for shape in ["2,2,3,5", "n,2,p,5", "n,p,2,3,5"] {
        for seed_value in [ExportSeedValue::One, ExportSeedValue::Value] {
            let options = ExportOptions { target: Some(ExportTarget::All), seed_value, multiplier: 7.0 };
            suite.add_with(shape, &linear(shape), &[("n", 3), ("p", 4)], None, options);
        }
    }
    suite.check(1e-5);
}

#[test]
fn a_unit_of_an_output_of_more_axes_is_refused() {
    let error = export(&linear("n,2,3,5"), &ExportOptions::default()).unwrap_err();
    assert!(error.is_unsupported() && error.to_string().contains("at most 3 axes"), "{error}");
}

#[test]
fn only_what_the_inputs_need_is_exported() {
    let model = export(&linear("n,5"), &ExportOptions::default()).unwrap();
    let nodes = model.graph.unwrap().node;
    assert!(!nodes.iter().any(|n| n.op_type() == "ReduceSum"), "{nodes:?}");
}

fn fixtures() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    let mut models = vec![];
    for folder in std::fs::read_dir(root).unwrap() {
        let folder = folder.unwrap().path();
        // Trees have Shapley values and no rules: `tests/explain/trees.rs` of the program holds these.
        let files = std::fs::read_dir(&folder).ok().filter(|_| !folder.ends_with("pipelines"));
        let Some(files) = files else { continue };
        let compiles = |p: &PathBuf| {
            let name = p.file_name().unwrap_or_default().to_string_lossy();
            let model = name.ends_with(".onnx") && !name.ends_with(".dlbc.onnx");
            // Values on the border of two numbers round one way in float64 and the other in float32; the program's
            // `tests/models/quantised_exports.rs` has exports of quantised models.
            model && !name.starts_with("refused_") && !name.starts_with("int8")
        };
        models.extend(files.map(|f| f.unwrap().path()).filter(compiles));
    }
    models.sort();
    models
}

fn compiled(path: &Path) -> Program {
    compiled_by(path, "dlb")
}

fn compiled_by(path: &Path, rules: &str) -> Program {
    let model = dlbc_proto::read_model(path, &dlbc_proto::Limits::default()).unwrap();
    let options = dlbc_compiler::Options { rules: rules.into(), ..Default::default() };
    dlbc_compiler::compile(&model, &options).unwrap_or_else(|e| panic!("{}: {e}", path.display())).program
}

/// Returns whether the program has data-dependent dimensions. A session runs such a program in steps, as `tests/models/experts.rs` of the
/// program does with artifact and export.
fn has_data_dependent_dims(program: &Program) -> bool {
    program.graph.outputs().iter().any(|(output, _)| matches!(output, Output::Dimension(_)))
}

/// Two numbers for each symbol of the inputs.
fn sizes(program: &Program) -> Vec<BTreeMap<String, i64>> {
    let mut symbols = vec![];
    let dims = program.info.inputs.iter().flat_map(|i| &i.ty.shape.0);
    dims.for_each(|d: &Dim| d.symbols(&mut |s| symbols.push(s.to_string())));
    [2, 3].map(|n| symbols.iter().map(|s| (s.clone(), n)).collect()).into()
}

#[test]
fn compiled_models_are_exported() {
    let mut suite = Suite::default();
    for path in fixtures() {
        let program = compiled(&path);
        if has_data_dependent_dims(&program) {
            continue;
        }
        // The target of a segmenter is a set of pixels, not an index on the last axis.
        if path.ends_with("scenes/segmenter.onnx") {
            assert!(export(&program, &ExportOptions::default()).unwrap_err().is_unsupported());
            continue;
        }
        for sizes in sizes(&program) {
            let sizes: Vec<(&str, i64)> = sizes.iter().map(|(s, n)| (s.as_str(), *n)).collect();
            suite.add(&path.display().to_string(), &program, &sizes, None);
            suite.add(&path.display().to_string(), &program, &sizes, Some(&[0]));
        }
    }
    suite.check(1e-4);
}

#[test]
fn seeds_have_the_sign_of_the_first_divisor() {
    let mut suite = Suite::default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    for name in ["tables/diabetes_bare", "tables/wine_bare", "tiny/mlp_mixed", "sentiment_bert/model"] {
        for rules in ["lrp-epsilon", "attnlrp"] {
            let program = compiled_by(&root.join(format!("{name}.onnx")), rules);
            assert_eq!(program.info.seed.sign, SeedSign::Value, "{name} {rules}");
            let sizes = sizes(&program);
            let sizes: Vec<(&str, i64)> = sizes[1].iter().map(|(s, n)| (s.as_str(), *n)).collect();
            let name = format!("{name} {rules}");
            suite.add(&name, &program, &sizes, None);
            suite.add(&name, &program, &sizes, Some(&[0]));
            if name.starts_with("tables/wine") || name.starts_with("sentiment") {
                let target = Some(ExportTarget::Difference(1, 0));
                suite.add_with(&name, &program, &sizes, None, ExportOptions { target, ..Default::default() });
            }
        }
    }
    suite.check(1e-3);
}

#[test]
fn artifacts_without_seed_info_keep_positive_seeds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    let program = compiled_by(&root.join("tables/diabetes_bare.onnx"), "lrp-epsilon");
    let mut model = dlbc_artifact::write(&program).unwrap();
    let info = model.metadata_props.iter_mut().find(|p| p.key() == "dlbc.info").unwrap();
    let mut json: serde_json::Value = serde_json::from_str(info.value()).unwrap();
    assert!(json.as_object_mut().unwrap().remove("start").is_some());
    info.value = Some(json.to_string());
    let bytes = dlbc_proto::encode(&model);
    let again = dlbc_artifact::read(&dlbc_proto::decode(&bytes, &dlbc_proto::Limits::default()).unwrap());
    assert_eq!(again.unwrap().info.seed.sign, SeedSign::Unit);
}

#[test]
fn artifacts_of_compiled_models_read_back_and_run() {
    let mut runs = vec![];
    let mut cases = vec![];
    for path in fixtures() {
        let program = compiled(&path);
        let model = dlbc_artifact::write(&program).unwrap();
        let bytes = dlbc_proto::encode(&model);
        let again = dlbc_artifact::read(&dlbc_proto::decode(&bytes, &dlbc_proto::Limits::default()).unwrap());
        let again = again.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(again.graph.to_string(), program.graph.to_string());
        assert_eq!(again.info, program.info);
        if has_data_dependent_dims(&program) {
            continue;
        }
        for sizes in sizes(&program) {
            let bindings: Bindings = sizes.iter().map(|(s, n)| (s.as_str().into(), *n)).collect();
            let bound = program.graph.bind(&bindings);
            let inputs = bound.inputs().iter().map(|id| bound.node(*id));
            let inputs = inputs.map(|n| (n.name().to_string(), input_values(&n.types[0], 5))).collect();
            runs.push(Run { name: format!("{} {sizes:?}", path.display()), model: model.clone(), inputs });
            cases.push((again.clone(), bindings));
        }
    }
    let Some(python) = python() else { return };
    for ((run, outputs), (program, bindings)) in runs.iter().zip(onnx_runtime(&python, &runs)).zip(&cases) {
        let outputs = outputs.unwrap_or_else(|e| panic!("{}: {e}", run.name));
        let expected = expected(program, bindings, &run.inputs);
        for (name, t) in &outputs {
            let fault = difference(t, &expected[name], 1e-4);
            assert!(fault.is_none(), "{}: {name}: {fault:?}", run.name);
        }
    }
}
