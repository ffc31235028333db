//! Quantised forms of models, as ONNX Runtime's tools make them: outputs against ONNX Runtime, the ledger, and relevance against that of
//! the float form.
//!
//! `scripts/fixtures/quantise_models.py` makes the forms.

use std::path::{Path, PathBuf};
use std::process::Command;

use dlbc_ops::tensor::Tensor;
use dlbc_runtime::{Explanation, Target, Tensors};
use serde::Deserialize;

use crate::common::*;

/// Bound of an output's difference, relative to its largest magnitude: float forms, forms whose values are rounded to 8 bits, and those
/// of float16.
const FLOAT: f64 = 1e-4;
const ROUNDED: f64 = 3e-2;
const FLOAT16: f64 = 2e-3;
/// Bound of the ledger's residual, relative to the seed.
const LEDGER: f64 = 1e-4;
/// Smallest rank correlation of relevance with that of the float form.
const CORRELATION: f64 = 0.95;
/// Largest difference of an output from the float form's, relative to its largest magnitude, at which relevance is compared.
const SAME_OUTPUT: f64 = 1e-1;

/// A form as the script lists it.
#[derive(Deserialize)]
pub(crate) struct Form {
    pub name: String,
    pub form: String,
    pub inputs: PathBuf,
    /// Reason why the tools or ONNX Runtime cannot make or run the form.
    pub fault: Option<String>,
}

impl Form {
    pub fn model(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.{}.onnx", self.name, self.form))
    }
}

/// Writes all forms of models, each `NAME=MODEL:INPUTS`.
pub(crate) fn quantise(python: &Path, folder: &Path, models: &[String]) -> Vec<Form> {
    let script = root().join("scripts/fixtures/quantise_models.py");
    let run = Command::new(python).arg(script).arg(folder).args(models).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice(&std::fs::read(folder.join("forms.json")).unwrap()).unwrap()
}

/// Measures of a form.
struct Row {
    name: String,
    form: String,
    /// Difference of the outputs from ONNX Runtime's and from the float form's, relative to the largest magnitude.
    to_runtime: f64,
    to_float: f64,
    /// Largest change of ONNX Runtime's own outputs if float inputs change by a millionth, or with its fused kernels.
    spread: f64,
    /// Rank correlation with the float form's relevance under `dlb` and `attnlrp`.
    correlations: [f64; 2],
    /// Share of the seed that rounding contributed under `dlb`.
    quantisation: f64,
}

#[test]
fn quantised_forms_equal_onnx_runtime() {
    let (Some(python), folder) = (python(), tempfile::tempdir().unwrap()) else { return };
    let forms = quantise(&python, folder.path(), &models());
    let (mut rows, mut faults): (Vec<Row>, Vec<String>) = (vec![], vec![]);
    let mut float: Option<(Tensors, Vec<Explanation>)> = None;
    for form in forms.iter().filter(|form| form.fault.is_none()) {
        let result = measure(folder.path(), form, &mut float);
        match result {
            Ok(row) => {
                faults.extend(fault(&row));
                rows.push(row);
            }
            Err(e) => faults.push(format!("{} {}: {e}", form.name, form.form)),
        }
    }
    let page = page(&rows);
    assert!(faults.is_empty(), "{} forms:\n{}\n{page}", faults.len(), faults.join("\n"));
    // The numbers depend on the kernels of ONNX Runtime for this processor: the page is written, not compared.
    if std::env::var_os("DLBC_UPDATE_TABLES").is_some() && zoo().is_some() {
        std::fs::write(root().join("docs/src/reference/quantised-forms.md"), page).unwrap();
    }
}

/// Returns the models as the script takes them: `NAME=MODEL:INPUTS`.
fn models() -> Vec<String> {
    let digits = root().join("fixtures/digits_cnn");
    let mut all = vec![("digits".to_string(), digits.join("model.onnx"), digits.join("input.npz"))];
    let names = ["resnet", "mobilenet_v2", "unet", "vit", "mlp", "bert", "lstm", "gpt2", "llama"];
    if let Some(folder) = zoo() {
        let file = |name: &str, ending: &str| folder.join("v4.48").join(format!("{name}.{ending}"));
        all.extend(names.map(|name| (name.into(), file(name, "ts.onnx"), file(name, "in.npz"))));
    }
    all.iter()
        .map(|(name, model, inputs)| format!("{name}={}:{}", model.display(), inputs.display()))
        .collect()
}

/// Explains a form; the float form, which comes first of a model's, is kept in `float`.
fn measure(
    folder: &Path,
    form: &Form,
    float: &mut Option<(Tensors, Vec<Explanation>)>,
) -> Result<Row, String> {
    let model = form.model(folder);
    let recorded = npz(&folder.join(format!("{}.{}.out.npz", form.name, form.form)));
    let of_kind = |prefix: &str| -> Tensors {
        recorded.iter().filter_map(|(k, v)| Some((k.strip_prefix(prefix)?.into(), v.clone()))).collect()
    };
    let (expected, spreads) = (of_kind("o."), of_kind("s."));
    let arrays = npz(&form.inputs);
    let mut explanations = vec![];
    for rules in ["dlb", "attnlrp"] {
        let proto =
            dlbc_proto::read_model(&model, &dlbc_proto::Limits::default()).map_err(|e| e.to_string())?;
        let options = dlbc_compiler::Options { rules: rules.into(), ..Default::default() };
        let program = dlbc_compiler::compile(&proto, &options).map_err(|e| format!("{rules}: {e}"))?.program;
        let inputs = inputs_of(&program, &arrays);
        let request = request(&program, Target::Index(0)).ledger();
        let explanation = cpu(program, 2).explain(&inputs, &request).map_err(|e| format!("{rules}: {e}"))?;
        // Values times derivatives overflow where a mask of the largest floats was quantised, which no output survives.
        let is_broken = rules == "attnlrp" && form.form != "float" && differs(float, &explanation);
        if !is_broken {
            ledger_closes(&explanation).map_err(|e| format!("{rules}: {e}"))?;
        }
        explanations.push(explanation);
    }
    let outputs = explanations[0].outputs.clone();
    if form.form == "float" {
        *float = Some((outputs.clone(), explanations.clone()));
    }
    let (float_outputs, float_explanations) = float.as_ref().ok_or("no float form")?;
    let correlation = |i: usize| correlation(&explanations[i], &float_explanations[i]);
    let rows = explanations[0].supporting.ledger.iter().flatten();
    let rounding: f64 = rows.filter(|row| row.op == "Quantisation").map(|row| row.absorbed).sum();
    Ok(Row {
        name: form.name.clone(),
        form: form.form.clone(),
        to_runtime: largest_gap(&outputs, &expected),
        to_float: largest_gap(&outputs, float_outputs),
        spread: spreads
            .iter()
            .map(|(name, s)| s.to_f64()[0] / magnitude(&expected[name]))
            .fold(0.0, f64::max),
        correlations: [correlation(0), correlation(1)],
        quantisation: rounding / explanations[0].supporting.seed_sum,
    })
}

/// Returns whether the outputs are others than those of the float form.
fn differs(float: &Option<(Tensors, Vec<Explanation>)>, explanation: &Explanation) -> bool {
    float.as_ref().is_some_and(|(outputs, _)| largest_gap(&explanation.outputs, outputs) > SAME_OUTPUT)
}

/// Returns the bar that a form misses.
fn fault(row: &Row) -> Option<String> {
    let bound = match row.form.as_str() {
        "float" | "q4" | "q8" => FLOAT,
        "half" | "half-inside" => FLOAT16,
        _ => ROUNDED.max(2.0 * row.spread),
    };
    let title = format!("{} {}", row.name, row.form);
    if row.to_runtime.is_nan() || row.to_runtime > bound {
        return Some(format!(
            "{title}: outputs differ by {:e}, ONNX Runtime's own by {:e}",
            row.to_runtime, row.spread
        ));
    }
    // Outputs of random models may differ by more than relevance can bear.
    let same_output = row.to_float <= SAME_OUTPUT;
    let correlation = row.correlations[0];
    (same_output && row.form != "q4" && (correlation.is_nan() || correlation < CORRELATION))
        .then(|| format!("{title}: rank correlation {correlation}"))
}

pub fn magnitude(t: &Tensor) -> f64 {
    t.to_f64().iter().map(|v| v.abs()).fold(f64::MIN_POSITIVE, f64::max)
}

/// Returns the largest difference of an output, relative to its largest magnitude.
pub fn largest_gap(actual: &Tensors, expected: &Tensors) -> f64 {
    let gap = |(name, expected): (&String, &Tensor)| {
        let Some(actual) = actual.get(name).filter(|t| t.dims() == expected.dims()) else { return f64::NAN };
        let pairs = actual.to_f64().into_iter().zip(expected.to_f64());
        let gap = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, worse);
        gap / magnitude(expected)
    };
    expected.iter().map(gap).fold(0.0, worse)
}

/// Returns the larger number, or NaN if either is.
pub fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// Returns the rank correlation of the relevance of all inputs with that of the float form.
fn correlation(a: &Explanation, b: &Explanation) -> f64 {
    let values =
        |e: &Explanation| -> Vec<f64> { e.supporting.relevance.values().flat_map(|t| t.to_f64()).collect() };
    let (a, b) = (ranks(&values(a)), ranks(&values(b)));
    let mean = (a.len() as f64 - 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt()
}

/// Returns the rank of each value, the mean rank of values that are equal.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let mut end = start + 1;
        while end < order.len() && values[order[end]] == values[order[start]] {
            end += 1;
        }
        let rank = (start + end - 1) as f64 / 2.0;
        order[start..end].iter().for_each(|i| ranks[*i] = rank);
        start = end;
    }
    ranks
}

pub fn ledger_closes(e: &Explanation) -> Result<(), String> {
    let size = e.seed.to_f64().iter().map(|v| v.abs()).sum::<f64>().max(f64::MIN_POSITIVE);
    let sums: f64 = e.supporting.input_sums.values().sum();
    let open = (e.supporting.seed_sum - sums - e.supporting.absorbed).abs() / size;
    if open.is_nan() || open > LEDGER {
        return Err(format!("the ledger is open by {open:e}"));
    }
    let rows = e.supporting.ledger.iter().flatten();
    match rows.into_iter().find(|row| row.residual().is_nan() || row.residual().abs() > LEDGER * size) {
        Some(row) => Err(format!("the ledger row is open: {row:?}")),
        None => Ok(()),
    }
}

const HEAD: &str = "\
# Quantised forms

After this page you know how close the explanation of a quantised model comes to that of its float form. ONNX Runtime's tools quantise
the models: `dynamic` has int8 weights and activations that are measured as the model runs, `qdq` and `qoperator` have calibrated
ranges, `q4` and `q8` weights of 4 and 8 bits in blocks of 32. `half` is float16 throughout, `half-inside` has
inputs and outputs of float32. A test of the project makes the forms and writes this page.

What rounding contributed is absorbed by rows `Quantisation` of the ledger:

```console
$ dlbc run fixtures/operators/quantised_linear_conv.onnx --inputs fixtures/operators/quantised_linear_conv.in.npz --ledger
...
closes to ...
```

A quantised layer is the float layer of the values that its numbers stand for; scales and zero points carry no relevance, and the
derivative of a rounding is 1 inside of the range and 0 outside. Refused are the operand `g_idx` and prepacked weights of `MatMulNBits`.
Weights stay as the file packs them in memory ([Performance](../appendix/performance.md)).

Columns: the largest difference of an output from ONNX Runtime's on the same file, node by node, relative to the largest value (beside
it, how far ONNX Runtime's own outputs move if inputs change by a millionth or its fused kernels compute them: a value next to a half may
round either way); the same difference from the float form; the rank correlation of relevance with the float form's; and what rounding contributed, as a share of the start.

| model | form | to ONNX Runtime | its spread | to float | rank, `dlb` | rank, `attnlrp` | rounding |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |
";

fn page(rows: &[Row]) -> String {
    let mut page = String::from(HEAD);
    for row in rows {
        let [dlb, attnlrp] = row.correlations;
        page += &format!(
            "| {} | {} | {:.0e} | {:.0e} | {:.0e} | {dlb:.3} | {attnlrp:.3} | {:.1e} |\n",
            row.name, row.form, row.to_runtime, row.spread, row.to_float, row.quantisation
        );
    }
    page
}
