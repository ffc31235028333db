//! Module path of a node, which PyTorch's exporter writes to the node's metadata. Other exporters, and the older one of
//! PyTorch, write it to the node's name: see `Origin::onnx`.

use dlbc_ops::graph::{Graph, NodeId, Origin, Value};
use dlbc_ops::op::Op;
use dlbc_proto::onnx::NodeProto;

/// Largest number of nested modules; deeper ones belong to the last of these.
const MAX_DEPTH: usize = 64;

/// Reads the module path of a node, outermost module first; `None` without such metadata.
pub fn module_path(node: &NodeProto) -> Option<Vec<String>> {
    let find = |key: &str| node.metadata_props.iter().find(|p| p.key() == key).map(|p| p.value());
    // `['', 'encoder', 'encoder.layer.0', 'linear_4']`: the last is the operation. The other key has
    // `: Model/encoder: Encoder/encoder.layer.0: Layer/linear_4: aten.linear.default`.
    let names: Vec<&str> = match (find("pkg.torch.onnx.name_scopes"), find("namespace")) {
        (Some(list), _) => list.split('\'').skip(1).step_by(2).collect(),
        (None, Some(path)) => path.split('/').map(|part| part.split(": ").next().unwrap_or(part)).collect(),
        (None, None) => return None,
    };
    let (_, modules) = names.split_last()?;
    let (mut path, mut outer) = (vec![], "");
    for name in modules.iter().filter(|name| !name.is_empty()).take(MAX_DEPTH) {
        let relative = name.strip_prefix(outer).and_then(|rest| rest.strip_prefix('.')).unwrap_or(name);
        path.push(relative.to_string());
        outer = name;
    }
    Some(path)
}

/// Assigns each node without module path, such as one that an exporter's optimiser added, to the innermost module that
/// contains all its neighbours.
pub fn infer_missing(graph: &mut Graph<Op>) {
    let is_computed =
        |graph: &Graph<Op>, id: NodeId| !matches!(graph.op(id), Op::Input | Op::Const(_) | Op::Dims { .. });
    for id in graph.topological() {
        if graph.node(id).origin.scope.is_some() || !is_computed(graph, id) {
            continue;
        }
        let producers =
            graph.node_inputs(id).into_iter().map(|v| v.node).filter(|from| is_computed(graph, *from));
        let consumers = graph.consumers(Value { node: id, slot: 0 }).into_iter().map(|(node, _)| node);
        let neighbours = producers.chain(consumers).map(|node| graph.node(node).origin.scope.clone());
        let joined =
            neighbours.fold(Origin::default(), |all, scope| all.join(&Origin { nodes: vec![], scope }));
        graph.node_mut(id).origin.scope = joined.scope;
    }
}

#[cfg(test)]
mod tests {
    use dlbc_proto::write::{metadata, node};

    use super::module_path;

    fn path_of(key: &str, value: &str) -> Option<Vec<String>> {
        let mut node = node("MatMul", "node_1", &["x", "w"], &["y"], vec![]);
        node.metadata_props = vec![metadata("other", "x"), metadata(key, value)];
        module_path(&node)
    }

    #[test]
    fn modules_of_the_exporter() {
        let expected = Some(["m", "encoder", "layer.0", "dense"].map(String::from).to_vec());
        let list = "['', 'm', 'm.encoder', 'm.encoder.layer.0', 'm.encoder.layer.0.dense', 'linear_4']";
        assert_eq!(path_of("pkg.torch.onnx.name_scopes", list), expected);
        let path =
            ": Outer/m: Model/m.encoder: E/m.encoder.layer.0: L/m.encoder.layer.0.dense: D/linear_4: aten";
        assert_eq!(path_of("namespace", path), expected);
        assert_eq!(path_of("pkg.torch.onnx.name_scopes", "['', 'linear']"), Some(vec![]));
        assert_eq!(path_of("other", "x"), None);
        for broken in ["", "[", "'", "['', 'a'"] {
            let _ = path_of("pkg.torch.onnx.name_scopes", broken);
        }
    }
}
