//! Helpers of the integration tests: locations of models, arrays from files, comparisons.

#![allow(dead_code, clippy::unwrap_used, missing_docs)]

pub mod command;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use dlbc_compiler::{Mode, Options, compile};
use dlbc_ops::program::{InputInfo, Output, Program};
use dlbc_ops::tensor::{Array, DType, Tensor};
use dlbc_runtime::backend::ReferenceBackend;
use dlbc_runtime::{Backend, CpuBackend, Explanation, Request, Session, SessionOptions, Target, Tensors};
use ndarray::{ArrayD, IxDyn, OwnedRepr};
use ndarray_npy::NpzReader;

pub const VISION_AND_TABULAR: &[&str] = &[
    "resnet",
    "resnet_bottleneck",
    "vgg",
    "vgg_bn",
    "densenet",
    "efficientnet",
    "mobilenet_v2",
    "mobilenet_v3",
    "convnext",
    "mlp",
    "mlp_bn_softmax",
    "mlp_mixed",
    "textcnn",
];

/// Transformers (encoders, decoders, both, with text or pictures) and recurrent networks.
pub const SEQUENCE: &[&str] = &[
    "vit",
    "vit_hf",
    "bert",
    "bert_sdpa",
    "albert",
    "roberta",
    "distilbert",
    "electra",
    "xlnet",
    "llama",
    "llama_sdpa",
    "llama_past",
    "gpt2",
    "qwen3",
    "t5",
    "lstm",
    "lstm_bi2",
    "gru",
    "gru_bi",
    "rnn_tanh",
];

/// Segmentation and detection: transposed convolutions, resampling, data-dependent numbers of boxes.
pub const VISION_TASKS: &[&str] =
    &["unet", "unet_bilinear", "det_yolo", "det_yolos", "det_retinanet", "det_fasterrcnn"];

/// Mixtures of experts: tokens go to the experts that a run chooses, or all experts are summed.
pub const EXPERTS: &[&str] =
    &["olmoe", "olmoe_patched", "mixtral", "qwen3_moe_patched", "jetmoe_patched", "gpt_oss_patched"];

/// Exports in which the tracer froze the choices of the traced input, so that they are wrong for every other input.
pub const FROZEN: &[&str] =
    &["v4.57/mixtral.ts", "v4.57/qwen3_moe.ts", "v4.57/gpt_oss.ts", "v4.48/jetmoe.ts", "v4.57/jetmoe.ts"];

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the folder of a fetched model. Without it the test is reported as skipped, or fails if such models are required.
pub fn cached(name: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("DLBC_CACHE").map_or(root().join(".cache"), PathBuf::from);
    let folder = cache.join("models").join(name);
    if folder.join("output.npz").exists() {
        return Some(folder);
    }
    let required = std::env::var_os("DLBC_REAL_MODELS").is_some_and(|v| v == "required");
    assert!(!required, "{} is missing: scripts/models/fetch.py", folder.display());
    eprintln!("skipped: {name} is not in the cache (scripts/models/fetch.py)");
    None
}

/// Returns the folder of the model zoo beside the checkout. Without it the test is reported as skipped.
pub fn zoo() -> Option<PathBuf> {
    let path = root().join("../shared/zoo");
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("skipped: no model zoo beside the checkout (../shared/zoo)");
    None
}

/// Files of a zoo model: the model, two sets of inputs, and ONNX Runtime's outputs for the first.
pub struct ZooModel {
    pub name: String,
    pub model: PathBuf,
    pub inputs: PathBuf,
    pub outputs: PathBuf,
    pub alt: PathBuf,
}

/// Returns all exports of the named models.
pub fn zoo_models(names: &[&str]) -> Vec<ZooModel> {
    let Some(zoo) = zoo() else { return vec![] };
    let mut models = vec![];
    for folder in ["v4.48", "v4.57", "torch2.9"] {
        for name in names {
            for via in ["ts", "dynamo"] {
                let file = |suffix: &str| zoo.join(folder).join(format!("{name}.{suffix}"));
                let input = |suffix: &str| {
                    let specific = file(suffix);
                    if specific.exists() {
                        specific
                    } else {
                        zoo.join("v4.48").join(format!("{name}.{suffix}"))
                    }
                };
                // Models that ONNX Runtime could not run have no recorded outputs.
                let frozen = FROZEN.contains(&format!("{folder}/{name}.{via}").as_str());
                if !frozen
                    && file(&format!("{via}.onnx")).exists()
                    && file(&format!("{via}.out.npz")).exists()
                {
                    models.push(ZooModel {
                        name: format!("{folder}/{name}.{via}"),
                        model: file(&format!("{via}.onnx")),
                        inputs: input("in.npz"),
                        outputs: file(&format!("{via}.out.npz")),
                        alt: input("alt.npz"),
                    });
                }
            }
        }
    }
    assert!(!models.is_empty(), "the zoo is there but has none of {names:?}");
    models
}

/// Reads the numeric arrays of an .npz file, by name without the suffix `.npy`.
pub fn npz(path: &Path) -> Tensors {
    let mut file =
        NpzReader::new(File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap();
    let mut tensors = BTreeMap::new();
    for name in file.names().unwrap() {
        let key = name.trim_end_matches(".npy").to_string();
        let tensor = if let Ok(a) = file.by_name::<OwnedRepr<f32>, IxDyn>(&name) {
            let a: ArrayD<f32> = a;
            Tensor::from_f32(a.shape(), &a.iter().copied().collect::<Vec<_>>())
        } else if let Ok(a) = file.by_name::<OwnedRepr<f64>, IxDyn>(&name) {
            let a: ArrayD<f64> = a;
            Tensor::from_f32(a.shape(), &a.iter().map(|v| *v as f32).collect::<Vec<_>>())
        } else if let Ok(a) = file.by_name::<OwnedRepr<i64>, IxDyn>(&name) {
            let a: ArrayD<i64> = a;
            Tensor::from_i64(a.shape(), &a.iter().copied().collect::<Vec<_>>())
        } else if let Some(tensor) = integers(&mut file, &name) {
            tensor
        } else {
            continue;
        };
        tensors.insert(key, tensor);
    }
    tensors
}

/// Reads an array of narrow integers, of booleans or of float16, which the functions above do not read.
fn integers(file: &mut NpzReader<File>, name: &str) -> Option<Tensor> {
    macro_rules! read {
        ($($element:ty => $dtype:ident),+) => {
            $(if let Ok(a) = file.by_name::<OwnedRepr<$element>, IxDyn>(name) {
                let a: ArrayD<$element> = a;
                return Some(Array::I(a.mapv(|v| v as i64)).to_tensor(DType::$dtype));
            })+
        };
    }
    read!(i32 => I32, i16 => I16, i8 => I8, u64 => U64, u32 => U32, u16 => U16, u8 => U8);
    let a: ArrayD<bool> = file.by_name::<OwnedRepr<bool>, IxDyn>(name).ok()?;
    Some(Array::B(a).to_tensor(DType::Bool))
}

/// Compiles a model under a built-in composite.
pub fn program(model: &Path, rules: &str) -> Program {
    let proto =
        dlbc_proto::read_model(model, &dlbc_proto::Limits::default()).unwrap_or_else(|e| panic!("{e}"));
    let options = Options { rules: rules.into(), ..Options::default() };
    compile(&proto, &options).unwrap_or_else(|e| panic!("{}: {e}", model.display())).program
}

/// Compiles a model in contrastive mode.
pub fn contrastive(model: &Path, rules: &str) -> Program {
    let proto =
        dlbc_proto::read_model(model, &dlbc_proto::Limits::default()).unwrap_or_else(|e| panic!("{e}"));
    let options = Options { rules: rules.into(), mode: Mode::Contrastive, ..Options::default() };
    compile(&proto, &options).unwrap_or_else(|e| panic!("{}: {e}", model.display())).program
}

/// Compiles a model under a composite from TOML text.
pub fn program_by(model: &Path, toml: &str) -> Program {
    let proto =
        dlbc_proto::read_model(model, &dlbc_proto::Limits::default()).unwrap_or_else(|e| panic!("{e}"));
    let options = Options { rules_file: Some(("own.toml".into(), toml.into())), ..Options::default() };
    compile(&proto, &options).unwrap_or_else(|e| panic!("{}: {e}", model.display())).program
}

/// Returns the composites that run a program once, and therefore have a ledger and the relevance of every tensor.
pub fn one_run() -> impl Iterator<Item = &'static str> {
    let once = |rules: &&str| dlbc_compiler::Composite::named(rules).unwrap().repeat.is_none();
    dlbc_compiler::built_in_names().filter(once)
}

pub fn cpu(program: Program, threads: usize) -> Session {
    session(program, Box::new(CpuBackend), threads)
}

pub fn reference(program: Program) -> Session {
    session(program, Box::new(ReferenceBackend), 1)
}

fn session(program: Program, backend: Box<dyn Backend>, threads: usize) -> Session {
    let options = SessionOptions::new().threads(threads);
    Session::new(program, backend, options).unwrap_or_else(|e| panic!("{e}"))
}

pub fn explain(session: &Session, inputs: &Tensors, request: &Request) -> Explanation {
    session.explain(inputs, request).unwrap_or_else(|e| panic!("{}: {e}", session.program().info.model))
}

/// Returns a request for a target, or for all units if the output has more than 3 axes and thus no units on its last one.
pub fn request(program: &Program, target: Target) -> Request {
    let explained = program.graph.output(&Output::from(&program.info.explained));
    let rank = explained.map_or(0, |v| program.graph.ty(v).rank());
    Request::new().target(if rank > 3 { Target::All } else { target })
}

/// Selects the arrays that are inputs of the program. Floats become float16 for an input of that type.
pub fn inputs_of(program: &Program, arrays: &Tensors) -> Tensors {
    let named = program.info.inputs.iter();
    let input = |i: &InputInfo| {
        let array = arrays.get(&i.name)?;
        let is_half = i.ty.dtype == DType::F16;
        let tensor = if is_half { Array::from_tensor(array).to_tensor(DType::F16) } else { array.clone() };
        Some((i.name.clone(), tensor))
    };
    named.filter_map(input).collect()
}

/// `Σ|a - b| / Σ|b|`.
pub fn relative_l1(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims(), "shapes differ");
    let (a, b) = (a.to_f64(), b.to_f64());
    let gap: f64 = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).sum();
    gap / b.iter().map(|b| b.abs()).sum::<f64>().max(f64::MIN_POSITIVE)
}

/// Returns the largest difference of an element, relative to the sum of magnitudes of `b`.
pub fn worst_element(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims(), "shapes differ");
    let (a, b) = (a.to_f64(), b.to_f64());
    let gap = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    gap / b.iter().map(|b| b.abs()).sum::<f64>().max(f64::MIN_POSITIVE)
}

/// Returns the project's Python, `DLBC_PYTHON` or `.venv`. Without it the test is reported as skipped.
pub fn python() -> Option<PathBuf> {
    let configured = std::env::var_os("DLBC_PYTHON").map(PathBuf::from);
    let path = configured.unwrap_or_else(|| root().join(".venv/bin/python"));
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: no Python environment (scripts/python_env.sh makes it)");
    None
}

/// Runs ONNX Runtime on pairs of model and inputs in one process; returns the outputs of each pair.
pub fn onnx_runtime(jobs: &[(PathBuf, PathBuf)]) -> Option<Vec<Tensors>> {
    let python = python()?;
    let folder = tempfile::tempdir().unwrap();
    let out = |i: usize| folder.path().join(format!("{i}.npz"));
    let list: Vec<serde_json::Value> = jobs
        .iter()
        .enumerate()
        .map(
            |(i, (model, inputs))| serde_json::json!({ "model": model, "inputs": inputs, "outputs": out(i) }),
        )
        .collect();
    let jobs_file = folder.path().join("jobs.json");
    std::fs::write(&jobs_file, serde_json::to_vec(&list).unwrap()).unwrap();
    let script = root().join("scripts/models/ort_forward.py");
    let run = std::process::Command::new(python)
        .arg(script)
        .arg(&jobs_file)
        .args(["--threads", "1"])
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}{}",
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr)
    );
    Some((0..jobs.len()).map(|i| npz(&out(i))).collect())
}

/// Selects one row of a batch, as a batch of one.
pub fn pick(t: &Tensor, row: usize) -> Tensor {
    rows(t, &[row])
}

/// Selects rows of a batch in this order.
pub fn rows(t: &Tensor, order: &[usize]) -> Tensor {
    let mut dims = t.dims().to_vec();
    let count = std::mem::replace(&mut dims[0], order.len());
    let bytes = t.bytes().len() / count;
    let picked: Vec<u8> = order.iter().flat_map(|r| &t.bytes()[r * bytes..][..bytes]).copied().collect();
    Tensor::from_bytes(t.dtype(), dims, std::sync::Arc::new(picked)).unwrap()
}
