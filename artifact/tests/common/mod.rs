//! Small programs, reproducible values, and runs in ONNX Runtime.

#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use dlbc_ops::graph::Value;
use dlbc_ops::prim::{Builder, reference};
use dlbc_ops::program::{Info, InputInfo, Output, Program, SEED};
use dlbc_ops::tensor::{Array, Bindings, DType, Dim, Shape, Tensor, TensorType};
use dlbc_proto::onnx::ModelProto;
use serde_json::{Value as Json, json};

/// Returns the project's Python, `DLBC_PYTHON` or `.venv`; reports a skipped test if there is none.
pub fn python() -> Option<PathBuf> {
    let configured = std::env::var_os("DLBC_PYTHON").map(PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = configured.unwrap_or_else(|| root.join(".venv/bin/python"));
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: no Python environment (scripts/python_env.sh)");
    None
}

/// Parses a type such as `f32[n,3,floor(h/(2))]`.
pub fn ty(text: &str) -> TensorType {
    let (dtype, dims) = text.trim_end_matches(']').split_once('[').unwrap();
    let dtype: DType = serde_json::from_value(json!(dtype)).unwrap();
    let dims = dims.split(',').filter(|d| !d.is_empty()).map(dim);
    TensorType::new(dtype, dims.collect::<Shape>())
}

pub fn dim(text: &str) -> Dim {
    text.parse().unwrap()
}

pub fn dims(texts: &[&str]) -> Vec<Dim> {
    texts.iter().map(|t| dim(t)).collect()
}

/// Builds a program whose outputs are `output/0`, `output/1`, …
pub fn program(make: impl FnOnce(&mut Builder) -> Vec<Value>) -> Program {
    let mut b = Builder::new();
    let outputs = make(&mut b);
    b.ok().unwrap();
    let inputs: Vec<_> = b.graph().inputs().to_vec();
    let info = Info {
        model: "case".into(),
        explained: "0".into(),
        inputs: inputs
            .iter()
            .map(|id| b.graph().node(*id))
            .map(|n| InputInfo { name: n.name().into(), ty: n.types[0].clone(), explained: false })
            .collect(),
        outputs: (0..outputs.len()).map(|i| i.to_string()).collect(),
        ..Info::default()
    };
    let seed = b.ty(outputs[0]).with_dtype(DType::F32);
    b.input(SEED, seed);
    let mut graph = b.finish();
    for (i, v) in outputs.iter().enumerate() {
        graph.add_output(&i.to_string(), *v);
    }
    graph.check().unwrap();
    Program { graph, info }
}

/// Reproducible values of a type: halves in -4..4, so that ties are frequent and sums are exact.
pub fn values(ty: &TensorType, seed: u64) -> Tensor {
    let dims = ty.shape.as_known().unwrap();
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        state >> 33
    };
    let count: usize = dims.iter().product();
    match ty.dtype {
        DType::I64 => {
            Tensor::from_i64(&dims, &(0..count).map(|_| (next() % 9) as i64 - 4).collect::<Vec<_>>())
        }
        DType::F32 => {
            Tensor::from_f32(&dims, &(0..count).map(|_| (next() % 17) as f32 / 2.0 - 4.0).collect::<Vec<_>>())
        }
        other => {
            let a = ndarray::ArrayD::from_shape_fn(dims, |_| (next() % 9) as f64 - 4.0);
            Array::F(a).to_tensor(other)
        }
    }
}

/// Returns [`values`] with integers reduced to 0 and 1: ids that every vocabulary has, and masks. (A mask of other values
/// overflows where it is multiplied by the lowest float32.)
pub fn input_values(ty: &TensorType, seed: u64) -> Tensor {
    let values = values(ty, seed);
    if ty.dtype != DType::I64 {
        return values;
    }
    let bits: Vec<i64> = values.to_f64().iter().map(|v| (*v as i64).rem_euclid(2)).collect();
    Tensor::from_i64(&ty.shape.as_known().unwrap(), &bits)
}

/// A run of a model.
pub struct Run {
    pub name: String,
    pub model: ModelProto,
    pub inputs: BTreeMap<String, Tensor>,
}

/// Runs models in ONNX Runtime; returns the outputs of each by name, or the error.
pub fn onnx_runtime(python: &Path, runs: &[Run]) -> Vec<Result<BTreeMap<String, Tensor>, String>> {
    let folder = tempfile::tempdir().unwrap();
    let mut cases = vec![];
    for (i, run) in runs.iter().enumerate() {
        dlbc_proto::write_model(&folder.path().join(format!("{i}.onnx")), &run.model).unwrap();
        let mut inputs = vec![];
        for (k, (name, t)) in run.inputs.iter().enumerate() {
            let file = format!("in_{i}_{k}.bin");
            std::fs::write(folder.path().join(&file), t.bytes()).unwrap();
            inputs.push(json!({"name": name, "dtype": numpy(t.dtype()), "shape": t.dims(), "file": file}));
        }
        cases.push(json!({"model": format!("{i}.onnx"), "inputs": inputs}));
    }
    std::fs::write(folder.path().join("cases.json"), Json::from(cases).to_string()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run_cases.py");
    let status = Command::new(python).arg("-B").arg(script).arg(folder.path()).status().unwrap();
    assert!(status.success(), "run_cases.py failed");
    let results = std::fs::read_to_string(folder.path().join("results.json")).unwrap();
    let results: Vec<Json> = serde_json::from_str(&results).unwrap();
    results.iter().map(|r| outputs(folder.path(), r)).collect()
}

fn outputs(folder: &Path, result: &Json) -> Result<BTreeMap<String, Tensor>, String> {
    if let Some(error) = result.get("error") {
        return Err(error.to_string());
    }
    let outputs = result["outputs"].as_array().unwrap().iter().map(|o| {
        let dims: Vec<usize> = serde_json::from_value(o["shape"].clone()).unwrap();
        let dtype = DTYPES.iter().find(|d| numpy(**d) == o["dtype"].as_str().unwrap()).unwrap();
        let bytes = std::fs::read(folder.join(o["file"].as_str().unwrap())).unwrap();
        let tensor = Tensor::from_bytes(*dtype, dims, std::sync::Arc::new(bytes)).unwrap();
        (o["name"].as_str().unwrap().to_string(), tensor)
    });
    Ok(outputs.collect())
}

const DTYPES: [DType; 8] =
    [DType::F32, DType::F64, DType::F16, DType::I32, DType::I64, DType::U8, DType::I8, DType::Bool];

fn numpy(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "float32",
        DType::F64 => "float64",
        DType::F16 => "float16",
        DType::I32 => "int32",
        DType::I64 => "int64",
        DType::U8 => "uint8",
        DType::I8 => "int8",
        DType::Bool => "bool",
        other => panic!("{other}"),
    }
}

/// Computes the outputs of a program by the reference kernels.
pub fn expected(
    program: &Program,
    bindings: &Bindings,
    inputs: &BTreeMap<String, Tensor>,
) -> BTreeMap<String, Array> {
    let graph = program.graph.bind(bindings);
    let inputs = inputs.iter().map(|(n, t)| (n.clone(), Array::from_tensor(t))).collect();
    let outputs: Vec<Output> = graph.outputs().iter().map(|(output, _)| output.clone()).collect();
    let values = reference::run(&graph, &inputs, &outputs).unwrap();
    values.into_iter().map(|(output, value)| (output.to_string(), value)).collect()
}

/// Describes the first element that differs by more than a relative and absolute bound.
pub fn difference(actual: &Tensor, expected: &Array, bound: f64) -> Option<String> {
    if actual.dims() != expected.dims() {
        return Some(format!("shape {:?} found, {:?} expected", actual.dims(), expected.dims()));
    }
    let expected: Vec<f64> = match expected {
        Array::F(a) => a.iter().copied().collect(),
        Array::I(a) => a.iter().map(|v| *v as f64).collect(),
        Array::B(a) => a.iter().map(|v| f64::from(u8::from(*v))).collect(),
    };
    let differs = |(a, e): (&f64, &f64)| {
        !((a.is_nan() && e.is_nan()) || a == e || (a - e).abs() <= bound * e.abs().max(1.0))
    };
    let actual = actual.to_f64();
    let index = actual.iter().zip(&expected).position(differs)?;
    Some(format!("element {index}: {} found, {} expected", actual[index], expected[index]))
}
