//! Names of nodes and tensors in messages.

use dlbc_proto::onnx::NodeProto;

/// Returns the name of a node; without one, the name of its first output.
pub fn node_name(node: &NodeProto) -> &str {
    match node.name() {
        "" => node.output.iter().map(String::as_str).find(|o| !o.is_empty()).unwrap_or("(unnamed)"),
        name => name,
    }
}

/// Sorts names by the length of the prefix that they share with `name`, the longest first.
pub fn nearest(name: &str, known: &[String]) -> Vec<String> {
    let common = |k: &str| k.chars().zip(name.chars()).take_while(|(a, b)| a == b).count();
    let mut sorted: Vec<&String> = known.iter().collect();
    sorted.sort_by_key(|k| (std::cmp::Reverse(common(k)), k.len(), (*k).clone()));
    sorted.into_iter().cloned().collect()
}
