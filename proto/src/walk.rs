//! Traversal of all graphs, nodes and tensors of a model, without recursion: initializers, sparse initializers,
//! attributes, subgraphs, functions and their defaults.

use crate::{
    Name,
    onnx::{AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto},
};

/// Item that [`visit`] passes to its visitor.
pub(crate) enum Item<'a> {
    /// Graph or function body; the outermost have depth 1.
    Graph { depth: usize },
    /// Node of a graph or function.
    Node,
    /// Tensor with its owner; also the values and indices of a sparse tensor.
    Tensor(&'a TensorProto, Owner<'a>),
}

/// Node and attribute that hold a tensor; both are `None` for an initializer.
#[derive(Clone, Copy, Default)]
pub(crate) struct Owner<'a> {
    node: Option<&'a NodeProto>,
    attribute: Option<&'a AttributeProto>,
}

impl Owner<'_> {
    /// Returns the tensor's name, or the names of the node and attribute that hold it.
    pub(crate) fn name(&self, tensor: &TensorProto) -> Name {
        if !tensor.name().is_empty() {
            return Name::new(tensor.name());
        }
        let node = self.node.map_or("", |node| match (node.name(), node.output.first()) {
            ("", Some(output)) => output,
            (name, _) => name,
        });
        let attribute = self.attribute.map_or("", |attribute| attribute.name());
        Name::new(format!("{node}.{attribute}").trim_matches('.'))
    }
}

/// Calls `visitor` for every graph, node and tensor of a model, until it fails.
pub(crate) fn visit<'a, E>(
    model: &'a ModelProto,
    mut visitor: impl FnMut(Item<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let mut graphs: Vec<(&GraphProto, usize)> = Vec::new();
    for function in &model.functions {
        visitor(Item::Graph { depth: 1 })?;
        for attribute in &function.attribute_proto {
            let owner = Owner { node: None, attribute: Some(attribute) };
            visit_attribute(attribute, owner, 1, &mut graphs, &mut visitor)?;
        }
        visit_nodes(&function.node, 1, &mut graphs, &mut visitor)?;
    }
    graphs.extend(model.graph.as_ref().map(|graph| (graph, 1)));
    while let Some((graph, depth)) = graphs.pop() {
        visitor(Item::Graph { depth })?;
        for tensor in &graph.initializer {
            visitor(Item::Tensor(tensor, Owner::default()))?;
        }
        for sparse in &graph.sparse_initializer {
            visit_sparse(sparse, Owner::default(), &mut visitor)?;
        }
        visit_nodes(&graph.node, depth, &mut graphs, &mut visitor)?;
    }
    Ok(())
}

fn visit_nodes<'a, E>(
    nodes: &'a [NodeProto],
    depth: usize,
    graphs: &mut Vec<(&'a GraphProto, usize)>,
    visitor: &mut impl FnMut(Item<'a>) -> Result<(), E>,
) -> Result<(), E> {
    for node in nodes {
        visitor(Item::Node)?;
        for attribute in &node.attribute {
            let owner = Owner { node: Some(node), attribute: Some(attribute) };
            visit_attribute(attribute, owner, depth, graphs, visitor)?;
        }
    }
    Ok(())
}

fn visit_attribute<'a, E>(
    attribute: &'a AttributeProto,
    owner: Owner<'a>,
    depth: usize,
    graphs: &mut Vec<(&'a GraphProto, usize)>,
    visitor: &mut impl FnMut(Item<'a>) -> Result<(), E>,
) -> Result<(), E> {
    for tensor in attribute.t.as_deref().into_iter().chain(&attribute.tensors) {
        visitor(Item::Tensor(tensor, owner))?;
    }
    for sparse in attribute.sparse_tensor.as_deref().into_iter().chain(&attribute.sparse_tensors) {
        visit_sparse(sparse, owner, visitor)?;
    }
    let inner = attribute.g.as_deref().into_iter().chain(&attribute.graphs);
    graphs.extend(inner.map(|graph| (graph, depth + 1)));
    Ok(())
}

fn visit_sparse<'a, E>(
    sparse: &'a SparseTensorProto,
    owner: Owner<'a>,
    visitor: &mut impl FnMut(Item<'a>) -> Result<(), E>,
) -> Result<(), E> {
    for tensor in sparse.values.iter().chain(&sparse.indices) {
        visitor(Item::Tensor(tensor, owner))?;
    }
    Ok(())
}

/// Calls `change` for every tensor of a model, until it fails.
pub(crate) fn change_tensors<E>(
    model: &mut ModelProto,
    mut change: impl FnMut(&mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    let mut graphs: Vec<&mut GraphProto> = Vec::new();
    let mut attributes: Vec<&mut AttributeProto> = Vec::new();
    for function in &mut model.functions {
        attributes.extend(&mut function.attribute_proto);
        attributes.extend(function.node.iter_mut().flat_map(|node| &mut node.attribute));
    }
    graphs.extend(&mut model.graph);
    loop {
        if let Some(attribute) = attributes.pop() {
            let sparse =
                attribute.sparse_tensor.as_deref_mut().into_iter().chain(&mut attribute.sparse_tensors);
            let sparse = sparse.flat_map(|sparse| sparse.values.iter_mut().chain(&mut sparse.indices));
            let tensors = attribute.t.as_deref_mut().into_iter().chain(&mut attribute.tensors);
            tensors.chain(sparse).try_for_each(&mut change)?;
            graphs.extend(attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs));
        } else if let Some(graph) = graphs.pop() {
            let sparse = graph.sparse_initializer.iter_mut();
            let sparse = sparse.flat_map(|sparse| sparse.values.iter_mut().chain(&mut sparse.indices));
            graph.initializer.iter_mut().chain(sparse).try_for_each(&mut change)?;
            attributes.extend(graph.node.iter_mut().flat_map(|node| &mut node.attribute));
        } else {
            return Ok(());
        }
    }
}
