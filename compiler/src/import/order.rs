//! Topological order of ONNX nodes.

use std::collections::HashMap;

use dlbc_proto::Name;

use super::function::Expanded;
use super::name::node_name;
use super::state::Import;
use crate::error::CompileError;

/// Sorts nodes so that each follows the nodes that compute its operands.
///
/// # Errors
/// For missing and duplicate tensors, and for cycles.
pub fn read_order<'n>(nodes: &'n [Expanded], import: &Import) -> Result<Vec<&'n Expanded>, CompileError> {
    let mut producers: HashMap<&str, usize> = HashMap::new();
    for (i, Expanded { node, .. }) in nodes.iter().enumerate() {
        for output in node.output.iter().filter(|o| !o.is_empty()) {
            if import.values.contains_key(output.as_str()) || producers.insert(output, i).is_some() {
                return Err(CompileError::DuplicateResult {
                    node: Name::new(node_name(node)),
                    op: Name::new(node.op_type()),
                    tensor: Name::new(output),
                });
            }
        }
    }
    let mut missing = vec![0usize; nodes.len()];
    let mut readers: Vec<Vec<usize>> = vec![vec![]; nodes.len()];
    for (i, Expanded { node, .. }) in nodes.iter().enumerate() {
        for (slot, tensor) in node.input.iter().enumerate().filter(|(_, t)| !t.is_empty()) {
            match producers.get(tensor.as_str()) {
                Some(producer) => {
                    missing[i] += 1;
                    readers[*producer].push(i);
                }
                None if import.is_in_scope(tensor) => {}
                None => {
                    return Err(CompileError::MissingTensor {
                        node: Name::new(node_name(node)),
                        op: Name::new(node.op_type()),
                        slot,
                        tensor: Name::new(tensor),
                    });
                }
            }
        }
    }
    let mut ready: std::collections::BinaryHeap<std::cmp::Reverse<usize>> =
        (0..nodes.len()).filter(|i| missing[*i] == 0).map(std::cmp::Reverse).collect();
    let mut sorted = Vec::with_capacity(nodes.len());
    while let Some(std::cmp::Reverse(i)) = ready.pop() {
        sorted.push(&nodes[i]);
        for reader in &readers[i] {
            missing[*reader] -= 1;
            if missing[*reader] == 0 {
                ready.push(std::cmp::Reverse(*reader));
            }
        }
    }
    if sorted.len() < nodes.len() {
        let on_cycles = nodes
            .iter()
            .zip(&missing)
            .filter(|(_, m)| **m > 0)
            .map(|(n, _)| Name::new(node_name(&n.node)).to_string());
        return Err(CompileError::Cycle(on_cycles.take(4).collect::<Vec<_>>().join(", ")));
    }
    Ok(sorted)
}
