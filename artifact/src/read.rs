//! Artifact → program.

use std::collections::HashMap;
use std::sync::Arc;

use dlbc_ops::graph::{Graph, Origin, Value};
use dlbc_ops::prim::Prim;
use dlbc_ops::program::{Info, Program, SEED};
use dlbc_ops::tensor::{DType, Tensor, TensorType};
use dlbc_proto::onnx::ModelProto;
use dlbc_proto::{DataType, Model, Name};

use crate::write::Listing;
use crate::{ArtifactError, FORMAT};

/// Whether a model is an artifact of `dlbc compile`.
pub fn is_artifact(model: &ModelProto) -> bool {
    model.metadata_props.iter().any(|p| p.key() == "dlbc.program")
}

/// Reads the program of an artifact.
///
/// # Errors
/// For metadata that do not describe a program: nothing of the file is trusted.
pub fn read(model: &Model) -> Result<Program, ArtifactError> {
    let property = |key: &str| {
        let found = model.proto.metadata_props.iter().find(|p| p.key() == key).map(|p| p.value());
        found.ok_or_else(|| ArtifactError::Damaged(format!("metadata `{key}` are missing")))
    };
    let format = property("dlbc.format")?;
    if format != FORMAT.to_string() {
        return Err(ArtifactError::Format { expected: FORMAT, found: Name::new(format).to_string() });
    }
    let json = |e: serde_json::Error| ArtifactError::Damaged(Name::new(&e.to_string()).to_string());
    let info: Info = serde_json::from_str(property("dlbc.info")?).map_err(json)?;
    let listing: Listing = serde_json::from_str(property("dlbc.program")?).map_err(json)?;
    let graph = build(model, &info, listing)?;
    Ok(Program { graph, info })
}

fn build(model: &Model, info: &Info, listing: Listing) -> Result<Graph<Prim>, ArtifactError> {
    let damaged = |name: &str, what: &str| ArtifactError::Damaged(format!("value `{}`: {what}", Name::new(name)));
    let initializers: HashMap<&str, _> = model.graph().initializer.iter().map(|t| (t.name(), t)).collect();
    let mut g = Graph::<Prim>::default();
    let mut values: HashMap<String, Value> = HashMap::new();
    let seed = (SEED.to_string(), listing.seed.clone());
    for (name, ty) in info.inputs.iter().map(|i| (i.name.clone(), i.ty.clone())).chain([seed]) {
        let v = g.add_input(Prim::Input, &name, ty);
        if values.insert(name.clone(), v).is_some() {
            return Err(damaged(&name, "it is made twice"));
        }
    }
    for entry in listing.nodes {
        let prim = match entry.prim {
            Some(Prim::Input) => return Err(damaged(&entry.name, "an input among the nodes")),
            Some(prim) => prim,
            None => {
                let proto = initializers.get(entry.name.as_str());
                let proto = proto.ok_or_else(|| damaged(&entry.name, "its initializer is missing"))?;
                let data = model.tensor(proto)?;
                let dims: Option<Vec<usize>> = data.dims.iter().map(|d| usize::try_from(*d).ok()).collect();
                let dtype = element_type(data.dtype).ok_or_else(|| damaged(&entry.name, "its element type"))?;
                let tensor = dims.and_then(|dims| Tensor::from_bytes(dtype, dims, Arc::new(data.bytes)));
                Prim::Const(tensor.ok_or_else(|| damaged(&entry.name, "its bytes do not fill its shape"))?)
            }
        };
        let inputs = entry.inputs.iter().map(|n| values.get(n).copied().ok_or_else(|| damaged(n, "it is read before it is made")));
        let inputs = inputs.collect::<Result<Vec<Value>, _>>()?;
        let types: Vec<TensorType> = inputs.iter().map(|v| g.ty(*v).clone()).collect();
        let ty = prim.infer(&types).map_err(|e| damaged(&entry.name, &e.to_string()))?;
        let v = g.add_value(prim, &entry.name, ty, Origin { nodes: entry.origin }, &inputs);
        if values.insert(entry.name.clone(), v).is_some() {
            return Err(damaged(&entry.name, "it is made twice"));
        }
    }
    for (name, value) in listing.outputs {
        let v = values.get(&value).ok_or_else(|| damaged(&value, "an output that nothing makes"))?;
        g.add_output(&name, *v);
    }
    let has = |name: String| g.outputs().iter().any(|(n, _)| *n == name);
    let complete = info.outputs.iter().all(|n| has(format!("output/{n}")))
        && info.inputs.iter().filter(|i| i.explained).all(|i| has(format!("relevance/{}", i.name)))
        && info.outputs.contains(&info.explained);
    if !complete {
        return Err(ArtifactError::Damaged("an output or the relevance of an input is missing".into()));
    }
    g.check().map_err(|f| ArtifactError::Damaged(f.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))?;
    Ok(g)
}

fn element_type(dtype: DataType) -> Option<DType> {
    [
        DType::F32,
        DType::F64,
        DType::F16,
        DType::Bf16,
        DType::I8,
        DType::I16,
        DType::I32,
        DType::I64,
        DType::U8,
        DType::U16,
        DType::U32,
        DType::U64,
        DType::Bool,
    ]
    .into_iter()
    .find(|d| crate::spelling::code(*d) == dtype)
}
