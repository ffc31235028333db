//! The standard's own test cases: outputs as recorded, relevance finite, the ledger closed, and every refusal with its reason,
//! under several composites and on the interpreted device.
//!
//! `scripts/fixtures/backend_cases.py` writes the cases from the pinned package `onnx`.

use std::path::Path;
use std::process::Command;

use dlbc_compiler::{CompileError, ErrorKind, Options, compile, compile_forward};
use dlbc_cuda::CudaBackend;
use dlbc_ops::program::Program;
use dlbc_ops::tensor::{Array, Tensor};
use dlbc_proto::Model;
use dlbc_ptxsim::Simulator;
use dlbc_runtime::backend::{Backend, ReferenceBackend};
use dlbc_runtime::{
    CpuBackend, Explanation, Request, RuntimeError, Session, SessionOptions, Target, Tensors,
};
use serde::Deserialize;

use super::backend_page::page;
use super::cases::ledger_closes;
use super::common::*;

/// A case as the script lists it.
#[derive(Deserialize)]
pub struct Case {
    pub name: String,
    pub kind: String,
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

/// A composite and a device that explain the cases.
#[derive(Clone, Copy)]
pub struct Setting {
    pub rules: &'static str,
    pub device: Device,
}

/// A device, with the code of the project that runs on it.
#[derive(Clone, Copy, PartialEq)]
pub enum Device {
    /// The CPU backend.
    Cpu,
    /// The CUDA backend, whose kernels are interpreted.
    Interpreter,
}

/// Settings of the test. The first one is that of the page's main table.
pub const SETTINGS: [Setting; 4] = [
    Setting { rules: "dlb", device: Device::Cpu },
    Setting { rules: "attnlrp", device: Device::Cpu },
    Setting { rules: "epsilon-plus", device: Device::Cpu },
    Setting { rules: "dlb", device: Device::Interpreter },
];

/// Kind of the cases that are whole networks, which run in the first setting only.
const NETWORKS: &str = "light";

/// Elements of all inputs and outputs of a case above which it is not interpreted.
pub const INTERPRETED: usize = 128;

/// Verdict on a case.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Explained, and all numbers are right.
    Explained,
    /// Explained, but shares cancel: the ledger closes in float64 and not in float32.
    Cancelling,
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
    let mut wrong = vec![];
    for (case, verdicts) in cases.iter().zip(&verdicts) {
        for (setting, verdict) in SETTINGS.iter().zip(verdicts) {
            if let Verdict::Wrong(fault) = verdict {
                wrong.push(format!("{} ({}), {}: {fault}", case.name, case.kind, setting.title()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
    if std::env::var_os("DLBC_BACKEND_CASES").is_some() {
        for (case, verdicts) in cases.iter().zip(&verdicts) {
            println!("{}: {verdicts:?}", case.name);
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

/// Judges all cases in all settings, on as many threads as there are cores.
fn judge_all(folder: &Path, cases: &[Case]) -> Vec<Vec<Verdict>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let verdicts = std::sync::Mutex::new(vec![]);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(case) = cases.get(i) else { return };
                    let skipped = |reason: &str| vec![Verdict::Skipped(reason.into()); SETTINGS.len()];
                    let of_case = match &case.skip {
                        Some(reason) => skipped(reason),
                        None if MISRECORDED.contains(&case.name.as_str()) => skipped("recorded wrongly"),
                        None => judge(folder, case),
                    };
                    verdicts.lock().unwrap().push((i, of_case));
                }
            });
        }
    });
    let mut verdicts = verdicts.into_inner().unwrap();
    verdicts.sort_by_key(|(i, _)| *i);
    verdicts.into_iter().map(|(_, verdict)| verdict).collect()
}

/// Judges a case in all settings: the first variant of its model that can be explained, else the forward alone.
fn judge(folder: &Path, case: &Case) -> Vec<Verdict> {
    let name = &case.name;
    let data = Data {
        inputs: npz(&folder.join(format!("{name}.in.npz"))),
        outputs: npz(&folder.join(format!("{name}.out.npz"))),
        epsilon: case.epsilon,
    };
    let suffixes = std::iter::once(String::new()).chain(case.variants.iter().map(|v| format!(".{v}")));
    let models: Vec<_> = suffixes
        .map(|suffix| {
            let model = folder.join(format!("{name}{suffix}.onnx"));
            dlbc_proto::read_model(&model, &dlbc_proto::Limits::default()).map_err(|e| match e.kind() {
                dlbc_proto::ErrorKind::Unsupported => Verdict::Refused(e.to_string()),
                _ => Verdict::Wrong(e.to_string()),
            })
        })
        .collect();
    let in_setting = |(i, setting): (usize, &Setting)| {
        let is_large = setting.device == Device::Interpreter && data.elements() > INTERPRETED;
        if is_large || (i > 0 && case.kind == NETWORKS) {
            return Verdict::Skipped("size".into());
        }
        let mut first = None;
        for model in &models {
            let verdict = model.as_ref().map_or_else(Verdict::clone, |model| setting.judge(model, &data));
            match verdict {
                refused @ Verdict::Refused(_) => first = first.or(Some(refused)),
                verdict => return verdict,
            }
        }
        first.unwrap_or(Verdict::Wrong(format!("no model of {:?}", case.operators)))
    };
    SETTINGS.iter().enumerate().map(in_setting).collect()
}

/// Recorded tensors of a case, and the relative tolerance of the outputs.
struct Data {
    inputs: Tensors,
    outputs: Tensors,
    epsilon: f64,
}

impl Data {
    fn elements(&self) -> usize {
        self.inputs.iter().chain(self.outputs.iter()).map(|(_, t)| t.elems()).sum()
    }
}

impl Setting {
    /// Names the setting as the page does.
    pub fn title(&self) -> String {
        match self.device {
            Device::Cpu => format!("`{}`, CPU", self.rules),
            Device::Interpreter => format!("`{}`, CUDA interpreted", self.rules),
        }
    }

    fn judge(&self, model: &Model, data: &Data) -> Verdict {
        let options = Options { rules: self.rules.into(), ..Options::default() };
        let refusal = |e: CompileError| match e {
            CompileError::Unsupported(items) => {
                let items: Vec<String> = items.iter().map(|i| format!("{} ({})", i.op, i.reason)).collect();
                Verdict::Refused(items.join("; "))
            }
            e if e.kind() == ErrorKind::Unsupported => Verdict::Refused(e.to_string()),
            e => Verdict::Wrong(e.to_string()),
        };
        let (program, explains) = match compile(model, &options) {
            Ok(compiled) => (compiled.program, true),
            Err(CompileError::NothingToExplain(_)) => match compile_forward(model, &options) {
                Ok(program) => (program, false),
                Err(e) => return refusal(e),
            },
            Err(e) => return refusal(e),
        };
        let run =
            |program: &Program, backend: Box<dyn Backend>| run(program.clone(), backend, explains, data);
        let backend: Box<dyn Backend> = match self.device {
            Device::Cpu => Box::new(CpuBackend),
            Device::Interpreter => Box::new(CudaBackend::new(Box::new(Simulator::new(None, 0)))),
        };
        match run(&program, backend) {
            Ok(None) => Verdict::Forward,
            Ok(Some(explanation)) => match ledger_closes(&explanation) {
                Ok(()) => Verdict::Explained,
                Err(fault) => match run(&program, Box::new(ReferenceBackend)) {
                    Ok(Some(exact)) if ledger_closes(&exact).is_ok() => Verdict::Cancelling,
                    _ => Verdict::Wrong(fault),
                },
            },
            Err(fault) if fault.contains("expected a finite number") => Verdict::Refused(NOT_FINITE.into()),
            Err(fault) => Verdict::Wrong(fault),
        }
    }
}

/// Runs a case, and compares the outputs; returns the explanation if the program explains.
fn run(
    program: Program,
    backend: Box<dyn Backend>,
    explains: bool,
    data: &Data,
) -> Result<Option<Explanation>, String> {
    let inputs = inputs_as_declared(&program, &data.inputs);
    let describe = |e: RuntimeError| e.to_string();
    // An output without elements has no unit to explain, and one of NaN has no value.
    let has_values = |t: &Tensor| t.elems() > 0 && !t.to_f64().iter().any(|v| v.is_nan());
    let explains = explains && data.outputs.get(&program.info.explained).is_none_or(has_values);
    let session = Session::new(program, backend, SessionOptions::new().threads(1)).map_err(describe)?;
    if !explains {
        outputs_equal(&session.predict(&inputs).map_err(describe)?, &data.outputs, data.epsilon)?;
        return Ok(None);
    }
    let request = Request::new().target(Target::All).ledger();
    let explanation = session.explain(&inputs, &request).map_err(describe)?;
    outputs_equal(&explanation.outputs, &data.outputs, data.epsilon)?;
    let is_finite = |t: &Tensor| t.to_f64().iter().all(|v| v.is_finite());
    if let Some((input, _)) = explanation.supporting.relevance.iter().find(|(_, r)| !is_finite(r)) {
        return Err(format!("relevance of {input} is not finite"));
    }
    Ok(Some(explanation))
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
