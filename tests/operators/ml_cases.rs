//! Models of ai.onnx.ml operators: the forward against ONNX Runtime, on all backends.
//!
//! `scripts/fixtures/make_ml_cases.py` writes the cases.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::cases::close;
use super::common::*;
use dlbc_compiler::{Options, compile_forward};
use dlbc_cuda::CudaBackend;
use dlbc_ops::program::Info;
use dlbc_ops::tensor::Tensor;
use dlbc_ptxsim::Simulator;
use dlbc_runtime::backend::ReferenceBackend;
use dlbc_runtime::{Backend, CpuBackend, Session, SessionOptions, Tensors};

/// Bound of an output's difference, relative to the largest magnitude in the tensor or to 1. ONNX Runtime approximates.
const BOUND: f64 = 2e-5;

#[test]
fn tables_equal_onnx_runtime() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let script = root().join("scripts/fixtures/make_ml_cases.py");
    let run = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let names = std::fs::read(folder.path().join("cases.json")).unwrap();
    let names: Vec<String> = serde_json::from_slice(&names).unwrap();
    assert!(names.len() > 150, "{} cases", names.len());
    let check = |name: &String| check_case(folder.path(), name).err().map(|e| format!("{name}: {e}"));
    let faults: Vec<String> = names.iter().filter_map(check).collect();
    assert!(faults.is_empty(), "{} of {} cases:\n{}", faults.len(), names.len(), faults.join("\n"));
}

fn check_case(folder: &Path, name: &str) -> Result<(), String> {
    let file = |suffix: &str| folder.join(format!("{name}.{suffix}"));
    let proto =
        dlbc_proto::read_model(&file("onnx"), &dlbc_proto::Limits::default()).map_err(|e| e.to_string())?;
    let program = compile_forward(&proto, &Options::default()).map_err(|e| e.to_string())?;
    let words = std::fs::read(file("words.json")).unwrap();
    let words: BTreeMap<String, (Vec<usize>, Vec<String>)> = serde_json::from_slice(&words).unwrap();
    let words = words.iter().map(|(name, (dims, words))| (name.clone(), numbers(&program.info, dims, words)));
    let words: Tensors = words.collect();
    let with_words = |suffix: &str, names: &[String]| {
        let mut tensors = npz(&file(suffix));
        tensors.extend(words.iter().filter(|(n, _)| names.contains(n)).map(|(n, t)| (n.clone(), t.clone())));
        tensors
    };
    let inputs: Vec<String> = program.info.inputs.iter().map(|i| i.name.clone()).collect();
    let expected = with_words("out.npz", &program.info.outputs);
    let inputs = with_words("in.npz", &inputs);
    let backends: [(&str, Box<dyn Backend>); 3] = [
        ("reference", Box::new(ReferenceBackend)),
        ("cpu", Box::new(CpuBackend)),
        ("cuda", Box::new(CudaBackend::new(Box::<Simulator>::default()))),
    ];
    for (device, backend) in backends {
        let fail = |e: &dyn std::fmt::Display| format!("{device}: {e}");
        let session =
            Session::new(program.clone(), backend, SessionOptions::new().threads(1)).map_err(|e| fail(&e))?;
        let outputs = session.predict(&inputs).map_err(|e| fail(&e))?;
        for (output, expected) in &expected {
            let actual = outputs.get(output).ok_or_else(|| fail(&format!("no output {output}")))?;
            close(actual, expected, BOUND).map_err(|e| fail(&format!("output {output}: {e}")))?;
        }
    }
    Ok(())
}

/// Returns the numbers of strings.
fn numbers(info: &Info, dims: &[usize], words: &[String]) -> Tensor {
    let number =
        |word: &String| info.vocabulary.iter().position(|w| w == word).unwrap_or(info.vocabulary.len());
    Tensor::from_i64(dims, &words.iter().map(|word| number(word) as i64).collect::<Vec<_>>())
}
