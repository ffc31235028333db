//! Origin of a result: the metadata of its file, which `dlbc diff` compares.

use std::collections::BTreeMap;

use dlbc_ops::program::Info;
use dlbc_ops::tensor::Tensor;
use dlbc_runtime::SeedValue;
use sha2::{Digest, Sha256};

use crate::cli::args::{RunArgs, Start};
use dlbc::diff::{LABELS, Labels};
use dlbc::input::Inputs;
use dlbc::wording::number;

/// Returns the metadata of a run: model, rules, target, start and inputs.
///
/// # Errors
/// Never for these types.
pub fn metadata(
    info: &Info,
    target: &str,
    inputs: &Inputs,
    args: &RunArgs,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut metadata = of_model(info, inputs)?;
    let start = match args.target.start() {
        _ if info.trees.is_some() => "raw score".to_string(),
        Start::Units(SeedValue::One) => format!("one × {}", number(args.target.total(), 9)),
        Start::Units(SeedValue::Value) => "value".to_string(),
        Start::File(path) => path.display().to_string(),
    };
    metadata.extend([
        ("explained".to_string(), info.explained.clone()),
        ("mode".to_string(), info.mode.name().to_string()),
        ("rules".to_string(), info.rules.clone()),
        ("rules_hash".to_string(), info.rules_hash.clone()),
        ("start".to_string(), start),
        ("target".to_string(), target.to_string()),
    ]);
    if info.trees.is_some() {
        let values = if args.tree_path_dependent { "path-dependent" } else { "interventional" };
        metadata.insert("values".to_string(), values.to_string());
    }
    Ok(metadata)
}

/// Returns the metadata of a run that do not depend on an explanation: model and inputs.
///
/// # Errors
/// Never for these types.
pub fn of_model(info: &Info, inputs: &Inputs) -> anyhow::Result<BTreeMap<String, String>> {
    let mut metadata = BTreeMap::from([
        ("inputs_hash".to_string(), digest(&inputs.tensors)),
        ("model".to_string(), info.model.clone()),
        ("version".to_string(), env!("CARGO_PKG_VERSION").to_string()),
    ]);
    metadata.extend(info.hashes.iter().map(|(file, hash)| (format!("sha256/{file}"), hash.clone())));
    if let Some(texts) = &inputs.texts {
        metadata.insert("texts".into(), serde_json::to_string(&texts.texts)?);
    }
    let labels = labels(inputs);
    if !labels.is_empty() {
        metadata.insert(LABELS.into(), serde_json::to_string(&labels)?);
    }
    Ok(metadata)
}

/// Returns the SHA-256 of all inputs, in hexadecimal.
fn digest(tensors: &BTreeMap<String, Tensor>) -> String {
    let mut hash = Sha256::new();
    for (name, tensor) in tensors {
        hash.update(format!("{name} {}\n", tensor.ty()));
        hash.update(tensor.bytes());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the names of the elements of each input: features or tokens.
fn labels(inputs: &Inputs) -> BTreeMap<String, Labels> {
    let mut labels = BTreeMap::new();
    if let Some(table) = &inputs.table {
        labels.extend(table.names().into_iter().map(|(input, names)| (input, Labels::Columns(names))));
    }
    if let Some(texts) = &inputs.texts {
        let rows = texts
            .tokens
            .iter()
            .map(|tokens| tokens.iter().map(|t| (!t.padding).then(|| t.text.clone())).collect());
        labels.insert(texts.input.clone(), Labels::Rows(rows.collect()));
    }
    if let Some(mask) = inputs.tensors.get("attention_mask") {
        // Token ids that come from a file: the mask tells which are padding.
        let ids = |(name, t): &(&String, &Tensor)| {
            *name == "input_ids" && t.dims() == mask.dims() && t.dims().len() == 2
        };
        if let Some((name, ids)) = inputs.tensors.iter().find(ids)
            && !labels.contains_key(name)
        {
            let length = ids.dims()[1].max(1);
            let shown: Vec<Option<String>> = ids
                .to_i64()
                .iter()
                .zip(mask.to_f64())
                .map(|(id, m)| (m != 0.0).then(|| id.to_string()))
                .collect();
            let rows = shown.chunks(length).map(<[_]>::to_vec).collect();
            labels.insert(name.clone(), Labels::Rows(rows));
        }
    }
    labels
}
