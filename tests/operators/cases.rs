//! Models of one to three operators: the forward against ONNX Runtime, relevance of the backends against each other.
//!
//! `scripts/fixtures/make_op_cases.py` writes the cases; a few of them are kept in `fixtures/operators` and need no Python.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::common::*;
use dlbc_compiler::{Options, compile};
use dlbc_cuda::CudaBackend;
use dlbc_ops::program::Program;
use dlbc_ops::tensor::Tensor;
use dlbc_ptxsim::Simulator;
use dlbc_runtime::backend::ReferenceBackend;
use dlbc_runtime::{Backend, CpuBackend, Explanation, Request, Session, SessionOptions, Target, Tensors};

/// Bounds of a forward value's difference, relative to the largest magnitude in the tensor or to 1.
const REFERENCE: f64 = 1e-5;
const CPU: f64 = 1e-4;
/// Bound of the difference of a relevance value, relative to the sum of magnitudes.
const RELEVANCE: f64 = 1e-4;
/// Bound of the ledger's residual, relative to the seed.
const LEDGER: f64 = 1e-4;

#[test]
fn operators_equal_onnx_runtime() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let run = Command::new(python)
        .arg(root().join("scripts/fixtures/make_op_cases.py"))
        .arg(folder.path())
        // One group of cases, while working on it.
        .args(std::env::var("DLBC_OP_CASES").ok().iter().flat_map(|only| ["--only", only]))
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    check_folder(folder.path());
}

#[test]
fn kept_operators_equal_onnx_runtime() {
    check_folder(&root().join("fixtures/operators"));
}

fn check_folder(folder: &Path) {
    let names: Vec<String> =
        serde_json::from_slice(&std::fs::read(folder.join("cases.json")).unwrap()).unwrap();
    assert!(!names.is_empty(), "no cases");
    let check = |name: &String| check_case(folder, name).err().map(|e| format!("{name}: {e}"));
    let faults: Vec<String> = names.iter().filter_map(check).collect();
    assert!(faults.is_empty(), "{} of {} cases:\n{}", faults.len(), names.len(), faults.join("\n"));
}

fn check_case(folder: &Path, name: &str) -> Result<(), String> {
    let model: PathBuf = folder.join(format!("{name}.onnx"));
    let arrays = npz(&folder.join(format!("{name}.in.npz")));
    let expected = npz(&folder.join(format!("{name}.out.npz")));
    if let Some(op) = name.strip_prefix("refused_") {
        return match read(&model, "dlb") {
            Err(e) if e.contains("unsupported operator") && e.contains(&format!("`{op}`")) => Ok(()),
            Err(e) => Err(format!("the message does not say that {op} is not supported: {e}")),
            Ok(_) => Err(format!("{op} is supported by now: make this an ordinary case")),
        };
    }
    for rules in ["dlb", "dlb-v2", "grad-x-input"] {
        let program = read(&model, rules)?;
        let inputs = inputs_of(&program, &arrays);
        let reference = run(program.clone(), Box::new(ReferenceBackend), &inputs)
            .map_err(|e| format!("{rules} reference: {e}"))?;
        let cpu =
            run(program.clone(), Box::new(CpuBackend), &inputs).map_err(|e| format!("{rules} cpu: {e}"))?;
        let device = CudaBackend::new(Box::<Simulator>::default());
        let cuda = run(program, Box::new(device), &inputs).map_err(|e| format!("{rules} cuda: {e}"))?;
        for (what, explanation, bound) in
            [("reference", &reference, REFERENCE), ("cpu", &cpu, CPU), ("cuda", &cuda, CPU)]
        {
            for (output, expected) in &expected {
                let actual = explanation.outputs.get(output).ok_or(format!("no output {output}"))?;
                close(actual, expected, bound).map_err(|e| format!("{rules} {what} output {output}: {e}"))?;
            }
            ledger_closes(explanation).map_err(|e| format!("{rules} {what}: {e}"))?;
        }
        for (input, expected) in &reference.supporting.relevance {
            // A start of 1 divides by the output, which magnifies the rounding of one near 0.
            let bound = if rules == "grad-x-input" { 10.0 * RELEVANCE } else { RELEVANCE };
            // Units of both signs may cancel in an operand that they share: what cancels is measured by what it cancels from.
            let size = |t: &Tensor| t.to_f64().iter().map(|v| v.abs()).sum::<f64>().max(f64::MIN_POSITIVE);
            let share = size(expected) / size(expected).max(size(&reference.seed));
            for (what, actual) in [("cpu", &cpu), ("cuda", &cuda)] {
                let gap = worst_element(&actual.supporting.relevance[input], expected) * share;
                if gap.is_nan() || gap > bound {
                    return Err(format!("{rules} {what} relevance of {input}: {gap:e} of the sum"));
                }
            }
        }
    }
    Ok(())
}

fn read(model: &Path, rules: &str) -> Result<Program, String> {
    let proto = dlbc_proto::read_model(model, &dlbc_proto::Limits::default()).map_err(|e| e.to_string())?;
    let options = Options { rules: rules.into(), ..Options::default() };
    compile(&proto, &options).map(|c| c.program).map_err(|e| e.to_string())
}

fn run(program: Program, backend: Box<dyn Backend>, inputs: &Tensors) -> Result<Explanation, String> {
    let options = SessionOptions::new().threads(1);
    let session = Session::new(program, backend, options).map_err(|e| e.to_string())?;
    let request = Request::new().target(Target::All).ledger();
    session.explain(inputs, &request).map_err(|e| e.to_string())
}

pub fn close(actual: &Tensor, expected: &Tensor, bound: f64) -> Result<(), String> {
    if actual.dims() != expected.dims() {
        return Err(format!("shape {:?}, expected {:?}", actual.dims(), expected.dims()));
    }
    let (actual, expected) = (actual.to_f64(), expected.to_f64());
    let scale = expected.iter().map(|v| v.abs()).filter(|v| v.is_finite()).fold(1.0, f64::max);
    let same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= bound * scale;
    match actual.iter().zip(&expected).position(|(a, b)| !same(*a, *b)) {
        Some(i) => Err(format!("element {i} is {}, expected {}", actual[i], expected[i])),
        None => Ok(()),
    }
}

pub fn ledger_closes(e: &Explanation) -> Result<(), String> {
    // Units start with their signs, so that the start may sum to nearly 0, or be 0 where every unit is.
    let size = e.seed.to_f64().iter().map(|v| v.abs()).sum::<f64>().max(f64::MIN_POSITIVE);
    let open =
        (e.supporting.seed_sum - e.supporting.input_sums.values().sum::<f64>() - e.supporting.absorbed).abs()
            / size;
    if open.is_nan() || open > LEDGER {
        return Err(format!("the ledger is open by {open:e}"));
    }
    let rows = e.supporting.ledger.as_ref().ok_or("no ledger")?;
    match rows.iter().find(|row| row.residual().is_nan() || row.residual().abs() > LEDGER * size) {
        Some(row) => Err(format!("the ledger row is open: {row:?}")),
        None => Ok(()),
    }
}
