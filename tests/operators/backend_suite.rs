//! The standard's own test cases: outputs as recorded, relevance finite, the ledger closed, and every refusal with its reason.
//!
//! `scripts/fixtures/backend_cases.py` writes the cases from the pinned package `onnx`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use dlbc_compiler::{CompileError, ErrorKind, Options, compile, compile_forward};
use dlbc_ops::program::Program;
use dlbc_ops::tensor::{Array, Tensor};
use dlbc_runtime::{CpuBackend, Request, RuntimeError, Session, SessionOptions, Target, Tensors};
use serde::Deserialize;

use super::cases::ledger_closes;
use super::common::*;

/// A case as the script lists it.
#[derive(Deserialize)]
struct Case {
    name: String,
    kind: String,
    operators: Vec<String>,
    /// Reason why the case is not run, as the script states it.
    skip: Option<String>,
    /// Relative tolerance of the outputs.
    epsilon: f64,
    /// Variants of the model in which inputs are constants.
    variants: Vec<String>,
}

/// Reason of the refusals of NaN and infinities in inputs, which are documented.
const NOT_FINITE: &str = "NaN or infinity in an input";

/// Cases whose recorded outputs are not those of the standard's text; ONNX Runtime agrees with us.
const MISRECORDED: [&str; 2] = [
    "test_resize_downsample_scales_linear_align_corners",
    "test_resize_downsample_scales_cubic_align_corners",
];

/// Verdict on a case.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// Explained, and all numbers are right.
    Explained,
    /// No input carries relevance to the output; the outputs are right.
    Forward,
    /// Refused as not supported.
    Refused(String),
    /// A fault.
    Wrong(String),
    /// Not run.
    Skipped(String),
}

#[test]
fn backend_cases_hold() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let run = Command::new(python)
        .arg(root().join("scripts/fixtures/backend_cases.py"))
        .arg(folder.path())
        // Some of the cases, while working on them.
        .args(std::env::var("DLBC_BACKEND_CASES").ok().iter().flat_map(|only| ["--only", only]))
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let cases: Vec<Case> =
        serde_json::from_slice(&std::fs::read(folder.path().join("cases.json")).unwrap()).unwrap();
    let verdicts = judge_all(folder.path(), &cases);
    let wrong: Vec<String> = cases
        .iter()
        .zip(&verdicts)
        .filter_map(|(case, verdict)| match verdict {
            Verdict::Wrong(fault) => Some(format!("{} ({}): {fault}", case.name, case.kind)),
            _ => None,
        })
        .collect();
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
    if std::env::var_os("DLBC_BACKEND_CASES").is_some() {
        for (case, verdict) in cases.iter().zip(&verdicts) {
            println!("{}: {verdict:?}", case.name);
        }
        return;
    }
    let page = page(&cases, &verdicts);
    let path = root().join("docs/src/reference/standard-cases.md");
    if std::env::var_os("DLBC_UPDATE_TABLES").is_some() {
        std::fs::write(&path, page).unwrap();
    } else {
        let current = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(current == page, "{} differs: DLBC_UPDATE_TABLES=1 writes it\n{page}", path.display());
    }
}

/// Judges all cases, on as many threads as there are cores.
fn judge_all(folder: &Path, cases: &[Case]) -> Vec<Verdict> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let verdicts = std::sync::Mutex::new(vec![]);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(case) = cases.get(i) else { return };
                    let verdict = match &case.skip {
                        Some(reason) => Verdict::Skipped(reason.clone()),
                        None if MISRECORDED.contains(&case.name.as_str()) => {
                            Verdict::Skipped("recorded wrongly".into())
                        }
                        None => judge(folder, case),
                    };
                    verdicts.lock().unwrap().push((i, verdict));
                }
            });
        }
    });
    let mut verdicts = verdicts.into_inner().unwrap();
    verdicts.sort_by_key(|(i, _)| *i);
    verdicts.into_iter().map(|(_, verdict)| verdict).collect()
}

/// Writes the page of the book about the cases.
fn page(cases: &[Case], verdicts: &[Verdict]) -> String {
    let mut page = String::from(HEAD);
    let pairs: Vec<(&Case, &Verdict)> = cases.iter().zip(verdicts).collect();
    let mut kinds: Vec<&str> = vec![];
    for case in cases {
        if !kinds.contains(&case.kind.as_str()) {
            kinds.push(&case.kind);
        }
    }
    let row = |title: &str, of_kind: &dyn Fn(&Case) -> bool| {
        let count = |wanted: fn(&Verdict) -> bool| {
            pairs.iter().filter(|(case, verdict)| of_kind(case) && wanted(verdict)).count()
        };
        format!(
            "| {title} | {} | {} | {} | {} |\n",
            count(|v| *v == Verdict::Explained),
            count(|v| *v == Verdict::Forward),
            count(|v| matches!(v, Verdict::Refused(_))),
            count(|v| matches!(v, Verdict::Skipped(_))),
        )
    };
    for kind in &kinds {
        page += &row(kind, &|case| case.kind == *kind);
    }
    page += &row("all", &|_| true);
    let mut by_reason = |title: &str, reason: fn(&Verdict) -> Option<&String>| {
        let mut counts: BTreeMap<&String, (usize, &str)> = BTreeMap::new();
        for (case, verdict) in &pairs {
            if let Some(reason) = reason(verdict) {
                counts.entry(reason).or_insert((0, &case.name)).0 += 1;
            }
        }
        page += title;
        for (reason, (count, example)) in counts {
            page += &format!("| {reason} | {count} | `{example}` |\n");
        }
    };
    by_reason(REFUSED, |v| if let Verdict::Refused(reason) = v { Some(reason) } else { None });
    by_reason(SKIPPED, |v| if let Verdict::Skipped(reason) = v { Some(reason) } else { None });
    page
}

const HEAD: &str = "\
# Test cases of the standard

After this page you know how many test cases of the ONNX standard dlbc reproduces. The package `onnx` 1.23.2 holds them
(`onnx.backend.test`); a test of the project runs them and writes this page. Each case is explained by the composite `dlb` on the
CPU: its outputs must be the recorded ones, the relevance finite, and the ledger closed. A case whose output depends on no float
input is run without an explanation. Where a case passes axes, shapes or weights as inputs, constants may take their place, as
real models have them. No case gives wrong numbers.

A refusal names the operators:

```console
$ dlbc inspect fixtures/operators/refused_Einsum.onnx
...
```

| kind | explained | run | refused | left out |
| --- | ---: | ---: | ---: | ---: |
";

const REFUSED: &str = "
## Refused

A refusal is exit code 4, or 3 for NaN and infinities in inputs.

| reason | cases | first case |
| --- | ---: | --- |
";

const SKIPPED: &str = "
## Left out

`data` stands for cases whose inputs or outputs are sequences, strings, or numbers of 8 bits or fewer that NumPy does not have.

| reason | cases | first case |
| --- | ---: | --- |
";

/// Judges a case: the first variant of its model that can be explained, else the forward alone.
fn judge(folder: &Path, case: &Case) -> Verdict {
    let name = &case.name;
    let arrays = npz(&folder.join(format!("{name}.in.npz")));
    let expected = npz(&folder.join(format!("{name}.out.npz")));
    let mut first = None;
    let suffixes = std::iter::once(String::new()).chain(case.variants.iter().map(|v| format!(".{v}")));
    for suffix in suffixes {
        let model = folder.join(format!("{name}{suffix}.onnx"));
        match explain_case(&model, &arrays, &expected, case.epsilon) {
            refused @ Verdict::Refused(_) => first = first.or(Some(refused)),
            verdict => return verdict,
        }
    }
    first.unwrap_or(Verdict::Wrong(format!("no model of {:?}", case.operators)))
}

fn explain_case(model: &Path, arrays: &Tensors, expected: &Tensors, epsilon: f64) -> Verdict {
    let proto = match dlbc_proto::read_model(model, &dlbc_proto::Limits::default()) {
        Ok(proto) => proto,
        Err(e) if e.kind() == dlbc_proto::ErrorKind::Unsupported => return Verdict::Refused(e.to_string()),
        Err(e) => return Verdict::Wrong(e.to_string()),
    };
    let options = Options::default();
    let refusal = |e: CompileError| match e {
        CompileError::Unsupported(items) => {
            let items: Vec<String> = items.iter().map(|i| format!("{} ({})", i.op, i.reason)).collect();
            Verdict::Refused(items.join("; "))
        }
        e if e.kind() == ErrorKind::Unsupported => Verdict::Refused(e.to_string()),
        e => Verdict::Wrong(e.to_string()),
    };
    let (program, explains) = match compile(&proto, &options) {
        Ok(compiled) => (compiled.program, true),
        Err(CompileError::NothingToExplain(_)) => match compile_forward(&proto, &options) {
            Ok(program) => (program, false),
            Err(e) => return refusal(e),
        },
        Err(e) => return refusal(e),
    };
    match run_case(program, explains, arrays, expected, epsilon) {
        Ok(()) if explains => Verdict::Explained,
        Ok(()) => Verdict::Forward,
        Err(fault) if fault.contains("expected a finite number") => Verdict::Refused(NOT_FINITE.into()),
        Err(fault) => Verdict::Wrong(fault),
    }
}

fn run_case(
    program: Program,
    explains: bool,
    arrays: &Tensors,
    expected: &Tensors,
    epsilon: f64,
) -> Result<(), String> {
    let inputs = inputs_as_declared(&program, arrays);
    let describe = |e: RuntimeError| e.to_string();
    // An output without elements has no unit to explain.
    let explains = explains && expected.get(&program.info.explained).is_none_or(|t| t.elems() > 0);
    let session =
        Session::new(program, Box::new(CpuBackend), SessionOptions::new().threads(1)).map_err(describe)?;
    if !explains {
        return outputs_equal(&session.predict(&inputs).map_err(describe)?, expected, epsilon);
    }
    let request = Request::new().target(Target::All).ledger();
    let explanation = session.explain(&inputs, &request).map_err(describe)?;
    outputs_equal(&explanation.outputs, expected, epsilon)?;
    let is_finite = |t: &Tensor| t.to_f64().iter().all(|v| v.is_finite());
    if let Some((input, _)) = explanation.supporting.relevance.iter().find(|(_, r)| !is_finite(r)) {
        return Err(format!("relevance of {input} is not finite"));
    }
    ledger_closes(&explanation)
}

/// Selects the inputs of the program, in the element types that it declares.
fn inputs_as_declared(program: &Program, arrays: &Tensors) -> Tensors {
    let declared = program.info.inputs.iter().map(|i| (i.name.clone(), i.ty.dtype));
    declared
        .filter_map(|(name, dtype)| {
            Some((name.clone(), Array::from_tensor(arrays.get(&name)?).to_tensor(dtype)))
        })
        .collect()
}

/// Compares outputs with the recorded ones.
fn outputs_equal(actual: &Tensors, expected: &Tensors, epsilon: f64) -> Result<(), String> {
    for (name, expected) in expected {
        let actual = actual.get(name).ok_or(format!("no output {name}"))?;
        if actual.dims() != expected.dims() {
            return Err(format!("output {name}: shape {:?}, expected {:?}", actual.dims(), expected.dims()));
        }
        let close = |(a, b): (&f64, &f64)| {
            a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 0.1 * epsilon + epsilon * b.abs()
        };
        let (actual, expected) = (actual.to_f64(), expected.to_f64());
        let different = actual.iter().zip(&expected).filter(|pair| !close(*pair)).count();
        if let Some(i) = actual.iter().zip(&expected).position(|pair| !close(pair)) {
            return Err(format!(
                "output {name}: {different} of {} elements, element {i} is {}, expected {}",
                expected.len(),
                actual[i],
                expected[i]
            ));
        }
    }
    Ok(())
}
