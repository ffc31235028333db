//! Pipelines of scikit-learn, LightGBM and XGBoost: outputs equal ONNX Runtime's, Shapley values those of shap's `TreeExplainer`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use dlbc::Explainer;
use dlbc_compiler::{Options, compile_forward};
use dlbc_ops::tensor::Tensor;
use dlbc_runtime::{CpuBackend, Request, Session, SessionOptions, Target, Tensors, rows};

use super::common::*;

/// Bound of an output's difference, relative to the largest magnitude in the tensor.
const OUTPUT: f64 = 1e-4;

/// Bound of a Shapley value's difference, relative to the largest value.
const VALUE: f64 = 1e-5;

struct Pipeline {
    name: String,
    model: PathBuf,
    arrays: Tensors,
    words: BTreeMap<String, Vec<String>>,
}

fn folder() -> PathBuf {
    root().join("fixtures/pipelines")
}

fn pipelines() -> Vec<Pipeline> {
    let names: Vec<String> =
        serde_json::from_slice(&std::fs::read(folder().join("pipelines.json")).unwrap()).unwrap();
    names.into_iter().map(read).collect()
}

fn read(name: String) -> Pipeline {
    let folder = folder();
    Pipeline {
        model: folder.join(format!("{name}.onnx")),
        arrays: npz(&folder.join(format!("{name}.npz"))),
        words: std::fs::read(folder.join(format!("{name}.words.json")))
            .map(|text| serde_json::from_slice(&text).unwrap())
            .unwrap_or_default(),
        name,
    }
}

impl Pipeline {
    /// Returns the arrays whose keys begin with `prefix`.
    fn under(&self, prefix: &str) -> Tensors {
        let stripped =
            |(key, t): (&String, &Tensor)| Some((key.strip_prefix(prefix)?.to_string(), t.clone()));
        self.arrays.iter().filter_map(stripped).collect()
    }

    fn request(&self) -> Request {
        let unit = self.arrays["unit"].to_i64()[0];
        Request::new().target(Target::Index(unit)).background(self.under("background/"))
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().map(|v| v.abs()).fold(0.0, f64::max)
}

fn differ(actual: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(actual.len(), expected.len());
    let differences: Vec<f64> = actual.iter().zip(expected).map(|(a, b)| a - b).collect();
    largest(&differences) / largest(expected).max(f64::MIN_POSITIVE)
}

/// Returns what is wrong with the outputs of a pipeline.
fn outputs_fault(pipeline: &Pipeline) -> Option<String> {
    let model = dlbc_proto::read_model(&pipeline.model, &Default::default()).map_err(|e| e.to_string());
    let program = model.and_then(|m| compile_forward(&m, &Options::default()).map_err(|e| e.to_string()));
    let program = match program {
        Ok(program) => program,
        Err(e) => return Some(e),
    };
    let number = |word: &String| {
        let vocabulary = &program.info.vocabulary;
        vocabulary.iter().position(|w| w == word).unwrap_or(vocabulary.len()) as i64
    };
    let mut inputs = pipeline.under("in/");
    for (name, words) in &pipeline.words {
        let numbers: Vec<i64> = words.iter().map(number).collect();
        inputs.insert(name.clone(), Tensor::from_i64(&[numbers.len(), 1], &numbers));
    }
    let session = Session::new(program, Box::new(CpuBackend), SessionOptions::new().threads(1)).unwrap();
    let outputs = match session.predict(&inputs) {
        Ok(outputs) => outputs,
        Err(e) => return Some(e.to_string()),
    };
    pipeline.under("out/").iter().find_map(|(name, expected)| {
        let actual = outputs.get(name).map(Tensor::to_f64).unwrap_or_default();
        let difference =
            if actual.len() == expected.elems() { differ(&actual, &expected.to_f64()) } else { f64::NAN };
        (difference.is_nan() || difference > OUTPUT)
            .then(|| format!("output {name} differs by {difference:e}"))
    })
}

#[test]
fn outputs_of_pipelines_equal_onnx_runtime() {
    let pipelines = pipelines();
    assert_eq!(pipelines.len(), 28);
    let fault = |p: &Pipeline| outputs_fault(p).map(|e| format!("{}: {e}", p.name));
    let faults: Vec<String> = pipelines.iter().filter_map(fault).collect();
    assert!(faults.is_empty(), "{} of 28:\n{}", faults.len(), faults.join("\n"));
    let rows: String = pipelines.iter().map(|p| table_row(p) + "\n").collect();
    let table = format!("| pipeline | operators | explained by |\n| --- | --- | --- |\n{rows}");
    let page = root().join("docs/src/how-to/trees.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let (before, after) = text.split_once("<!-- pipelines -->\n").unwrap();
    if std::env::var_os("DLBC_UPDATE_DOCS").is_some() {
        std::fs::write(&page, format!("{before}<!-- pipelines -->\n{table}")).unwrap();
        return;
    }
    assert_eq!(after, table, "{} is out of date: run with DLBC_UPDATE_DOCS=1", page.display());
}

/// Returns the row of a pipeline in the book's table: its operators of ai.onnx.ml, and what explains it by default.
fn table_row(pipeline: &Pipeline) -> String {
    let model = dlbc_proto::read_model(&pipeline.model, &Default::default()).unwrap();
    let nodes = model.graph().node.iter().filter(|node| node.domain() == "ai.onnx.ml");
    let operators: std::collections::BTreeSet<String> =
        nodes.map(|node| format!("`{}`", node.op_type())).collect();
    let operators: Vec<String> = operators.into_iter().collect();
    let by = match Explainer::from_onnx(&pipeline.model).build() {
        Ok(explainer) if explainer.info().trees.is_some() => "Shapley values",
        Ok(_) => "rules",
        Err(e) => {
            assert!(e.describe().contains("no input that carries relevance"), "{}", e.describe());
            "nothing: its inputs are only compared"
        }
    };
    format!("| {} | {} | {by} |", pipeline.name, operators.join(", "))
}

#[test]
fn shapley_values_equal_those_of_shap() {
    let mut count = 0;
    for pipeline in pipelines().iter().filter(|p| p.arrays.contains_key("shap")) {
        count += 1;
        let name = &pipeline.name;
        let explainer = Explainer::from_onnx(&pipeline.model)
            .build()
            .unwrap_or_else(|e| panic!("{name}: {}", e.describe()));
        let inputs = pipeline.under("in/");
        let explanation = explainer
            .explain_with(&inputs, &pipeline.request().ledger())
            .unwrap_or_else(|e| panic!("{name}: {}", e.describe()));
        let track = &explanation.supporting;
        let (values, expected) = (track.relevance["X"].to_f64(), pipeline.arrays["shap"].to_f64());
        let difference = differ(&values, &expected);
        assert!(difference <= VALUE, "{name}: values differ by {difference:e}");
        let rows = inputs["X"].dims()[0];
        let starts = explanation.seed.to_f64();
        let starts: Vec<f64> = starts.chunks(starts.len() / rows).map(|row| row.iter().sum()).collect();
        // shap's raw score has the constant of its own library, so that scores are compared up to a constant.
        let raw = pipeline.arrays["raw"].to_f64();
        let shift = starts[0] - raw[0];
        let shifted: Vec<f64> = raw.iter().map(|r| r + shift).collect();
        assert!(differ(&starts, &shifted) <= 1e-4, "{name}: {starts:?} {shifted:?}");
        // Rows sum to the raw score.
        let mean = track.absorbed / rows as f64;
        for (start, row) in starts.iter().zip(values.chunks(values.len() / rows)) {
            let sum = mean + row.iter().sum::<f64>();
            assert!((start - sum).abs() <= 1e-5 * largest(&starts).max(1.0), "{name}: {start} {sum}");
        }
        let [start, passed, absorbed] = track.sums();
        assert!((start - passed - absorbed).abs() <= 1e-9 * start.abs().max(1.0), "{name}");
    }
    assert_eq!(count, 15);
}

/// Path-dependent values of covers that are counted from LightGBM's own training rows are LightGBM's `pred_contrib`.
#[test]
fn path_dependent_values_equal_contributions_of_lightgbm() {
    for name in ["contributions_2", "contributions_3", "contributions_regression"] {
        let pipeline = read(name.into());
        let explainer = Explainer::from_onnx(&pipeline.model).build().unwrap();
        let inputs = pipeline.under("in/");
        let explain = |request: Request| {
            let explanation = explainer.explain_with(&inputs, &request.path_dependent()).unwrap();
            let values = explanation.supporting.relevance["X"].to_f64();
            let expected = pipeline.arrays["contributions"].to_f64();
            assert!(differ(&values, &expected) <= VALUE, "{name}: {:e}", differ(&values, &expected));
            let [start, passed, absorbed] = explanation.supporting.sums();
            assert!((start - passed - absorbed).abs() <= 1e-9 * start.abs().max(1.0), "{name}");
            let expected =
                [&pipeline.arrays["raw"], &pipeline.arrays["mean"]].map(|a| a.to_f64().iter().sum());
            assert!(
                differ(&[start, absorbed], &expected) <= VALUE,
                "{name}: {start} {absorbed} {expected:?}"
            );
        };
        explain(pipeline.request());
        if name == "contributions_regression" {
            // The file has the same covers as hit rates.
            explain(Request::new().target(Target::Index(0)));
        }
    }
}

#[test]
fn path_dependent_values_take_rows_that_reach_each_branch() {
    let pipeline = read("contributions_2".into());
    let explainer = Explainer::from_onnx(&pipeline.model).build().unwrap();
    let inputs = pipeline.under("in/");
    let few = rows::slice(&pipeline.arrays["background/X"], 0, 1).unwrap();
    let request = pipeline.request().background(Tensors::from([("X".to_string(), few)])).path_dependent();
    let error = explainer.explain_with(&inputs, &request).unwrap_err().describe();
    assert!(error.contains("found a branch without rows"), "{error}");
    // Converters write 1.0 as the hit rate of every node, which tells no covers.
    let first = rows::slice(&inputs["X"], 0, 1).unwrap();
    let first = Tensors::from([("X".to_string(), first)]);
    let error = explainer.explain_with(&first, &Request::new().path_dependent()).unwrap_err().describe();
    assert!(error.contains("takes the rows of a background"), "{error}");
}

/// Without a background the covers are those of the other rows.
#[test]
fn the_other_rows_of_a_batch_are_counted() {
    let tree = read("lightgbm_3".into());
    let explainer = Explainer::from_onnx(&tree.model).build().unwrap();
    let all = tree.under("background/")["X"].clone();
    let tensors = |t: Tensor| Tensors::from([("X".to_string(), t)]);
    let request = || Request::new().target(Target::Index(1)).path_dependent();
    let whole = explainer.explain_with(&tensors(all.clone()), &request()).unwrap();
    let others = rows::slice(&all, 1, all.dims()[0] - 1).unwrap();
    let first = rows::slice(&all, 0, 1).unwrap();
    let single = explainer.explain_with(&tensors(first), &request().background(tensors(others))).unwrap();
    let [whole, single] = [whole, single].map(|e| e.supporting.relevance["X"].to_f64());
    assert!(differ(&whole[..single.len()], &single) < 1e-6);
}

#[test]
fn a_layer_that_mixes_inputs_gets_the_values() {
    let pipelines = pipelines();
    let mixed = pipelines.iter().find(|p| p.name == "mixed_forest").unwrap();
    let explainer = Explainer::from_onnx(&mixed.model).build().unwrap();
    let notes: String = explainer.warnings().iter().map(|n| format!("{}\n", n.text)).collect();
    assert!(notes.contains("mixes its inputs"), "{notes}");
    let explanation = explainer.explain_with(&mixed.under("in/"), &Request::new()).unwrap();
    let [(name, values)] = explanation.supporting.relevance.iter().collect::<Vec<_>>()[..] else { panic!() };
    assert!(name != "X" && values.dims() == [25, 3], "{name} {:?}", values.dims());
}

#[test]
fn requests_that_have_no_effect_are_refused() {
    let pipelines = pipelines();
    let forest = pipelines.iter().find(|p| p.name == "forest_2").unwrap();
    let explainer = Explainer::from_onnx(&forest.model).build().unwrap();
    let inputs = forest.under("in/");
    let refused = |request: Request| explainer.explain_with(&inputs, &request).unwrap_err().describe();
    assert!(refused(forest.request().multiplier(2.0)).contains("expected no multiplier"));
    assert!(refused(forest.request().keep(["X"])).contains("inner tensors"));
    // 25 rows: each is explained against the 24 others.
    let whole = explainer.explain_with(&inputs, &Request::new().target(Target::Index(1))).unwrap();
    let first = rows::slice(&inputs["X"], 0, 1).unwrap();
    let others = rows::slice(&inputs["X"], 1, 24).unwrap();
    let tensors = |t: Tensor| Tensors::from([("X".to_string(), t)]);
    let single = Request::new().target(Target::Index(1)).background(tensors(others));
    let single = explainer.explain_with(&tensors(first), &single).unwrap();
    let (whole, single) =
        (whole.supporting.relevance["X"].to_f64(), single.supporting.relevance["X"].to_f64());
    assert!(differ(&whole[..single.len()], &single) < 1e-6);
}

/// Differences of two classes are those of their values.
#[test]
fn a_difference_is_that_of_the_values() {
    let pipelines = pipelines();
    let forest = pipelines.iter().find(|p| p.name == "lightgbm_3").unwrap();
    let explainer = Explainer::from_onnx(&forest.model).build().unwrap();
    let values = |target| {
        let explanation =
            explainer.explain_with(&forest.under("in/"), &forest.request().target(target)).unwrap();
        explanation.supporting.relevance["X"].to_f64()
    };
    let [a, b, both] = [Target::Index(0), Target::Index(2), Target::Difference(0, 2)].map(values);
    let difference: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
    assert!(differ(&both, &difference) < 1e-5);
}
