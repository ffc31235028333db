//! Semantics of a model file's outputs: class names, and the outputs that are probabilities.

use std::collections::BTreeMap;

use dlbc_ops::program::CLASS_LABELS;
use dlbc_proto::onnx::{GraphProto, ModelProto, NodeProto};

/// Operators of ai.onnx.ml with an attribute of class names.
const LABELLED: [&str; 5] =
    ["ZipMap", "TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier", "SVMRegressor"];

/// Operators whose result is a probability if their operand is one.
const TRANSPARENT: [&str; 6] = ["Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten"];

/// Returns the metadata of a model file, extended by the class names that one of its nodes has as an attribute.
pub fn metadata(model: &ModelProto) -> BTreeMap<String, String> {
    let pairs = model.metadata_props.iter().map(|p| (p.key().to_string(), p.value().to_string()));
    let mut metadata: BTreeMap<String, String> = pairs.collect();
    let nodes = model.graph.iter().flat_map(|graph| &graph.node);
    if let Some(labels) = nodes.filter(|n| LABELLED.contains(&n.op_type())).find_map(labels) {
        metadata.entry(CLASS_LABELS.into()).or_insert(labels);
    }
    metadata
}

/// Returns the class names of a node as a JSON list.
fn labels(node: &NodeProto) -> Option<String> {
    node.attribute.iter().find_map(|attribute| match attribute.name() {
        "classlabels_strings" if !attribute.strings.is_empty() => {
            let names: Option<Vec<&str>> =
                attribute.strings.iter().map(|s| std::str::from_utf8(s).ok()).collect();
            serde_json::to_string(&names?).ok()
        }
        "classlabels_int64s" | "classlabels_ints" if !attribute.ints.is_empty() => {
            let names: Vec<String> = attribute.ints.iter().map(ToString::to_string).collect();
            serde_json::to_string(&names).ok()
        }
        _ => None,
    })
}

/// Returns the names of the outputs that a sigmoid or a softmax computes, possibly reshaped or cast.
pub fn probabilities(graph: &GraphProto) -> Vec<String> {
    let producers: BTreeMap<&str, &NodeProto> =
        graph.node.iter().flat_map(|n| n.output.iter().map(move |name| (name.as_str(), n))).collect();
    let is_probability = |name: &str| {
        let mut node = producers.get(name);
        // A cycle is refused elsewhere; here it only ends the search.
        for _ in 0..=graph.node.len() {
            let Some(producer) = node else { return false };
            match producer.op_type() {
                "Sigmoid" | "Softmax" => return true,
                op if TRANSPARENT.contains(&op) => {
                    node = producer.input.first().and_then(|input| producers.get(input.as_str()));
                }
                _ => return false,
            }
        }
        false
    };
    graph.output.iter().map(|o| o.name()).filter(|name| is_probability(name)).map(str::to_string).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use dlbc_proto::write::{attr_ints, attr_strings, graph, metadata as pair, model, node};

    use super::*;

    fn model_of(nodes: Vec<NodeProto>) -> ModelProto {
        let output = |name: &str| dlbc_proto::write::value_info(name, dlbc_proto::DataType::F32, &[]);
        model(graph("g", nodes, vec![], vec![], vec![output("p"), output("y")]), vec![])
    }

    #[test]
    fn labels_of_nodes_are_metadata() {
        let zip = |attribute| model_of(vec![node("ZipMap", "zip", &["p"], &["y"], vec![attribute])]);
        let strings = metadata(&zip(attr_strings("classlabels_strings", &["no", "yes"])));
        assert_eq!(strings[CLASS_LABELS], r#"["no","yes"]"#);
        let ints = metadata(&zip(attr_ints("classlabels_int64s", [3, 7])));
        assert_eq!(ints[CLASS_LABELS], r#"["3","7"]"#);
        let mut named = zip(attr_ints("classlabels_int64s", [3, 7]));
        named.metadata_props = vec![pair("names", "{0: 'a'}")];
        assert_eq!(metadata(&named).len(), 2);
    }

    #[test]
    fn sigmoids_and_softmaxes_make_probabilities() {
        let cast = node("Cast", "c", &["s"], &["p"], vec![]);
        let sigmoid = node("Sigmoid", "s", &["z"], &["s"], vec![]);
        let other = node("Neg", "n", &["s"], &["y"], vec![]);
        assert_eq!(probabilities(model_of(vec![cast, sigmoid, other]).graph.as_ref().unwrap()), ["p"]);
        let circle = [node("Cast", "a", &["y"], &["p"], vec![]), node("Cast", "b", &["p"], &["y"], vec![])];
        assert!(probabilities(model_of(circle.into()).graph.as_ref().unwrap()).is_empty());
    }
}
