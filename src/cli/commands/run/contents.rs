//! Contents of the result file of a run.

use std::collections::BTreeMap;

use dlbc_ops::program::Info;
use dlbc_ops::tensor::{DType, Tensor};
use dlbc_runtime::Explanation;

use crate::cli::args::RunArgs;
use crate::cli::report::{modules, provenance};
use dlbc::explained::Explained;
use dlbc::input::Inputs;
use dlbc::results::keys;
use dlbc::results::{Contents, FeatureTable};

/// Returns the content of the result file: the first target under the common keys and, for several targets, each target
/// under keys with its name as well.
pub(super) fn contents(
    info: &Info,
    inputs: &Inputs,
    explained: &[Explained],
    args: &RunArgs,
) -> anyhow::Result<Contents> {
    let mut tensors = BTreeMap::new();
    for (name, tensor) in &explained[0].explanation.outputs {
        tensors.insert(keys::output(name), tensor.clone());
    }
    put(&mut tensors, "", &explained[0].explanation, info, args.ledger);
    if explained.len() > 1 {
        for e in explained {
            put(&mut tensors, &keys::of_target(&e.target.name), &e.explanation, info, args.ledger);
        }
    }
    let targets: Vec<&str> = explained.iter().map(|e| e.target.name.as_str()).collect();
    let metadata = provenance::metadata(info, &targets.join(","), inputs, args)?;
    let table = inputs.table.as_ref().map(|table| FeatureTable::new(table, inputs, explained));
    Ok(Contents { tensors, metadata, table })
}

/// Inserts the relevance of an explanation and, if `ledger` is true, the sums of its ledger, under keys that begin with
/// `prefix`.
fn put(
    tensors: &mut BTreeMap<String, Tensor>,
    prefix: &str,
    explanation: &Explanation,
    info: &Info,
    ledger: bool,
) {
    let names = ["", "_neg"];
    for ((track, values), name) in info.mode.tracks().iter().zip(explanation.tracks()).zip(names) {
        let parts = modules::tensors(values.modules.as_deref(), values.heads.as_deref(), name).into_iter();
        tensors.extend(parts.map(|(name, tensor)| (format!("{prefix}{name}"), tensor)));
        for (name, tensor) in &values.relevance {
            tensors.insert(format!("{prefix}{}", keys::relevance_of(*track, name)), tensor.clone());
        }
        if ledger {
            for (name, value) in ["start", "inputs", "absorbed"].into_iter().zip(values.sums()) {
                let bytes = std::sync::Arc::new(value.to_le_bytes());
                let scalar = Tensor::from_bytes(DType::F64, vec![], bytes);
                tensors.extend(scalar.map(|t| (format!("{prefix}{}", keys::ledger_sum(*track, name)), t)));
            }
        }
    }
}
