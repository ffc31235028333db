//! Checks of a model before its nodes are read.
//!
//! 1. The model has a graph, a supported `ir_version` and an operator set.
//! 2. Domains are imported in one version only, and functions are defined once.
//! 3. The numbers of nodes and the nesting are within the limits.
//! 4. Each tensor has a shape within the limits and at most one place for its elements. External data is described
//!    with known keys and stays in the model's folder.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Limits, MAX_IR_VERSION, MIN_IR_VERSION, ModelFault, Name, TensorFault,
    onnx::{ModelProto, OperatorSetIdProto},
    tensor,
    walk::{self, Item},
};

/// Fault of the model or of one of its tensors, with the tensor's name.
pub(crate) enum Fault {
    Model(ModelFault),
    Tensor(Name, TensorFault),
}

/// Checks a model against the list of this module.
pub(crate) fn validate(model: &ModelProto, limits: &Limits) -> Result<(), Fault> {
    check_header(model).map_err(Fault::Model)?;
    let mut nodes = 0;
    walk::visit(model, |item| match item {
        Item::Graph { depth } if depth > limits.max_depth => {
            Err(Fault::Model(ModelFault::TooDeep { limit: limits.max_depth }))
        }
        Item::Graph { .. } => Ok(()),
        Item::Node if nodes == limits.max_nodes => {
            Err(Fault::Model(ModelFault::TooManyNodes { limit: limits.max_nodes }))
        }
        Item::Node => {
            nodes += 1;
            Ok(())
        }
        Item::Tensor(tensor, place) => {
            tensor::check(tensor).map_err(|fault| Fault::Tensor(place.name(tensor), fault))
        }
    })
}

fn check_header(model: &ModelProto) -> Result<(), ModelFault> {
    if model.graph.is_none() {
        return Err(ModelFault::NoGraph);
    }
    let actual = model.ir_version.ok_or(ModelFault::NoIrVersion)?;
    if !(MIN_IR_VERSION..=MAX_IR_VERSION).contains(&actual) {
        return Err(ModelFault::IrVersion { actual });
    }
    if model.opset_import.is_empty() {
        return Err(ModelFault::NoOpset);
    }
    check_opsets(&model.opset_import)?;
    let mut functions = BTreeSet::new();
    for function in &model.functions {
        check_opsets(&function.opset_import)?;
        let (domain, name) = (standard(function.domain()), function.name());
        if !functions.insert((domain, name, function.overload())) {
            return Err(ModelFault::TwoFunctions { function: Name::new(&format!("{domain}.{name}")) });
        }
    }
    Ok(())
}

fn check_opsets(opsets: &[OperatorSetIdProto]) -> Result<(), ModelFault> {
    let mut versions = BTreeMap::new();
    for opset in opsets {
        let (domain, version) = (standard(opset.domain()), opset.version());
        if version < 1 {
            return Err(ModelFault::OpsetVersion { domain: Name::new(domain), actual: version });
        }
        let first = *versions.entry(domain).or_insert(version);
        if first != version {
            return Err(ModelFault::TwoOpsets { domain: Name::new(domain), first, second: version });
        }
    }
    Ok(())
}

/// Returns the domain with the alias of the standard domain replaced by an empty name.
fn standard(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}
