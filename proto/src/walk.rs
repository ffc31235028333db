//! Every graph, node and tensor of a model, wherever it hides: initializers, sparse initializers,
//! attributes, subgraphs, functions and their defaults. Without recursion.

use crate::{
    Name,
    onnx::{AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto},
};

/// One thing that [`visit`] comes across.
pub(crate) enum Item<'a> {
    /// A graph or function body; the outermost have depth 1.
    Graph { depth: usize },
    /// A node.
    Node,
    /// A tensor, also the values and the indices of a sparse one.
    Tensor(&'a TensorProto, Place<'a>),
}

/// Where a tensor stands.
#[derive(Clone, Copy, Default)]
pub(crate) struct Place<'a> {
    node: Option<&'a NodeProto>,
    attribute: Option<&'a AttributeProto>,
}

impl Place<'_> {
    /// A name for `tensor`: its own, or that of the node and attribute around it.
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

/// Calls `visitor` for everything in `model`, until it fails.
pub(crate) fn visit<'a, E>(
    model: &'a ModelProto,
    mut visitor: impl FnMut(Item<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let mut graphs: Vec<(&GraphProto, usize)> = Vec::new();
    for function in &model.functions {
        visitor(Item::Graph { depth: 1 })?;
        for attribute in &function.attribute_proto {
            let place = Place { node: None, attribute: Some(attribute) };
            visit_attribute(attribute, place, 1, &mut graphs, &mut visitor)?;
        }
        visit_nodes(&function.node, 1, &mut graphs, &mut visitor)?;
    }
    graphs.extend(model.graph.as_ref().map(|graph| (graph, 1)));
    while let Some((graph, depth)) = graphs.pop() {
        visitor(Item::Graph { depth })?;
        for tensor in &graph.initializer {
            visitor(Item::Tensor(tensor, Place::default()))?;
        }
        for sparse in &graph.sparse_initializer {
            visit_sparse(sparse, Place::default(), &mut visitor)?;
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
            let place = Place { node: Some(node), attribute: Some(attribute) };
            visit_attribute(attribute, place, depth, graphs, visitor)?;
        }
    }
    Ok(())
}

fn visit_attribute<'a, E>(
    attribute: &'a AttributeProto,
    place: Place<'a>,
    depth: usize,
    graphs: &mut Vec<(&'a GraphProto, usize)>,
    visitor: &mut impl FnMut(Item<'a>) -> Result<(), E>,
) -> Result<(), E> {
    for tensor in attribute.t.as_deref().into_iter().chain(&attribute.tensors) {
        visitor(Item::Tensor(tensor, place))?;
    }
    for sparse in attribute.sparse_tensor.as_deref().into_iter().chain(&attribute.sparse_tensors) {
        visit_sparse(sparse, place, visitor)?;
    }
    let inner = attribute.g.as_deref().into_iter().chain(&attribute.graphs);
    graphs.extend(inner.map(|graph| (graph, depth + 1)));
    Ok(())
}

fn visit_sparse<'a, E>(
    sparse: &'a SparseTensorProto,
    place: Place<'a>,
    visitor: &mut impl FnMut(Item<'a>) -> Result<(), E>,
) -> Result<(), E> {
    for tensor in sparse.values.iter().chain(&sparse.indices) {
        visitor(Item::Tensor(tensor, place))?;
    }
    Ok(())
}

/// Calls `change` for every tensor of `model`, until it fails.
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
