//! Detection of mixtures of experts by structure: a router's largest scores weigh the outputs of experts.
//!
//! A [`TopK`](dlbc_ops::op::TopK) chooses experts. A value that follows from its values by data movement and normalisation
//! alone is a routing weight; an operand that a routing weight multiplies, and that comes from a layer with weights, is the
//! output of an expert. This covers experts whose tokens are gathered, experts whose tokens are masked, and experts that
//! stand side by side in one tensor. Layers and experts get their names from the module path of their nodes and weights.

use std::collections::{BTreeMap, HashMap, HashSet};

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::Op;

/// A layer of experts.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpertLayer {
    /// Module path, as in `model.layers.0.mlp`; without one, `experts N` with the layer's position among such layers.
    pub name: String,
    /// Number of experts.
    pub experts: usize,
    /// Products of expert outputs and routing weights: one for each expert, or one for all.
    pub products: Vec<RoutedProduct>,
    /// First node whose result contains the contributions of all experts.
    pub sum: NodeId,
}

/// A product of expert outputs and their routing weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutedProduct {
    /// The multiplication.
    pub product: NodeId,
    /// Index of the routing weight among its two operands.
    pub weight: usize,
    /// Index of the expert; `None` when the product has an axis of experts.
    pub expert: Option<usize>,
    /// Axis of experts, counted from the end of both the product's and the weight's shape; 1 is the last.
    pub axis_from_end: Option<usize>,
}

/// Finds the layers of experts, in topological order of their routers.
pub fn find_expert_layers(graph: &Graph<Op>) -> Vec<ExpertLayer> {
    let order = graph.topological();
    let position: HashMap<NodeId, usize> = order.iter().enumerate().map(|(i, id)| (*id, i)).collect();
    let routers: Vec<NodeId> =
        order.iter().copied().filter(|id| matches!(graph.op(*id), Op::TopK(_))).collect();
    let mut layers = vec![];
    for router in routers {
        let Op::TopK(top) = graph.op(router) else { continue };
        let scores = graph.node_inputs(router)[0];
        let Some(experts) = graph.ty(scores).dim(top.axis).as_known().and_then(|n| usize::try_from(n).ok())
        else {
            continue;
        };
        let mut products = routed_products(graph, &order, router, scores, experts);
        products.sort_by_key(|p| position[&p.product]);
        if products.is_empty() || !assign_experts(graph, &mut products, experts) {
            continue;
        }
        let Some(sum) = joint_sum(graph, &order, &products) else { continue };
        let module = expert_module(graph, &products[0]).map(|module| module.layer);
        let name = module.or_else(|| router_module(graph, scores));
        let name = name.unwrap_or_else(|| format!("experts {}", layers.len() + 1));
        layers.push(ExpertLayer { name, experts, products, sum });
    }
    layers
}

/// Returns the products of expert outputs with weights that follow from a router's choice.
fn routed_products(
    graph: &Graph<Op>,
    order: &[NodeId],
    router: NodeId,
    scores: Value,
    experts: usize,
) -> Vec<RoutedProduct> {
    let mut weights: HashSet<NodeId> = HashSet::new();
    let mut products = vec![];
    for id in order {
        let inputs = graph.node_inputs(*id);
        let is_weight = |v: &Value| weights.contains(&v.node);
        // The values are a lookup of the scores at the router's indices.
        let is_lookup = matches!(graph.op(*id), Op::Gather(_))
            && graph.ty(Value { node: *id, slot: 0 }).dtype.is_float()
            && is_moved_from(graph, inputs[0], scores.node)
            && is_moved_from(graph, inputs[1], router);
        if is_lookup {
            weights.insert(*id);
            continue;
        }
        if !inputs.iter().any(is_weight) || !graph.node(*id).types[0].dtype.is_float() {
            continue;
        }
        match graph.op(*id) {
            Op::Mul(_) if inputs.len() == 2 => {
                let weight = inputs.iter().position(is_weight).unwrap_or(0);
                let value = inputs[1 - weight];
                if is_weight(&value) || source_layer(graph, value).is_none() {
                    weights.insert(*id);
                    continue;
                }
                let (weight_ty, product_ty) =
                    (graph.ty(inputs[weight]), graph.ty(Value { node: *id, slot: 0 }));
                let axis_from_end = (1..=weight_ty.rank().min(product_ty.rank())).find(|k| {
                    [weight_ty, product_ty].iter().all(|ty| ty.dim(ty.rank() - k).is(experts as i64))
                });
                products.push(RoutedProduct { product: *id, weight, expert: None, axis_from_end });
            }
            Op::Gather(_)
            | Op::Reshape(_)
            | Op::Transpose(_)
            | Op::Slice(_)
            | Op::Expand(_)
            | Op::Cast(_)
            | Op::Overwrite(_)
            | Op::ScatterAdd(_)
            | Op::Select(_)
            | Op::Softmax(_)
            | Op::Div(_)
            | Op::Reduce(_)
            | Op::Add(_)
            | Op::Concat(_) => {
                weights.insert(*id);
            }
            _ => {}
        }
    }
    products
}

/// Returns whether a value is a result of `node`, moved or used as an index.
fn is_moved_from(graph: &Graph<Op>, v: Value, node: NodeId) -> bool {
    let mut v = v;
    loop {
        if v.node == node {
            return true;
        }
        v = match graph.op(v.node) {
            Op::Reshape(_) | Op::Cast(_) | Op::Transpose(_) | Op::Slice(_) | Op::Expand(_) => {
                graph.node_inputs(v.node)[0]
            }
            // Arithmetic that turns indices into positions in the flattened scores.
            Op::Add(_) | Op::Select(_) | Op::Mul(_) => {
                let inputs = graph.node_inputs(v.node);
                return inputs.into_iter().any(|x| is_moved_from(graph, x, node));
            }
            _ => return false,
        };
    }
}

/// Returns the layer that a value comes from through sums, data movement and elementwise functions; `None` for masks and other
/// values that no layer computes.
fn source_layer(graph: &Graph<Op>, v: Value) -> Option<NodeId> {
    let mut seen = HashSet::new();
    let mut stack = vec![v.node];
    while let Some(id) = stack.pop() {
        if !seen.insert(id) || seen.len() > 256 {
            continue;
        }
        match graph.op(id) {
            Op::Linear(_) | Op::MatMul(_) => return Some(id),
            Op::Add(_)
            | Op::Reshape(_)
            | Op::Concat(_)
            | Op::Cast(_)
            | Op::Activation(_)
            | Op::Slice(_)
            | Op::Transpose(_)
            | Op::Gather(_) => {
                stack.extend(graph.node_inputs(id).into_iter().rev().map(|v| v.node));
            }
            _ => {}
        }
    }
    None
}

/// Assigns an expert to each product: by module path if the paths number all experts, else in topological order. Returns
/// whether the products cover all experts.
fn assign_experts(graph: &Graph<Op>, products: &mut [RoutedProduct], experts: usize) -> bool {
    if products.iter().all(|p| p.axis_from_end.is_some()) {
        return products.len() == 1;
    }
    if products.len() != experts {
        return false;
    }
    let by_module = |p: &RoutedProduct| expert_module(graph, p)?.expert.filter(|e| *e < experts);
    let by_choice = |p: &RoutedProduct| compared_expert(graph, p).filter(|e| *e < experts);
    let distinct =
        |indices: &[Option<usize>]| indices.iter().flatten().collect::<HashSet<_>>().len() == experts;
    let by_module: Vec<Option<usize>> = products.iter().map(by_module).collect();
    let by_choice: Vec<Option<usize>> = products.iter().map(by_choice).collect();
    let indices = [by_module, by_choice].into_iter().find(|indices| distinct(indices));
    for (i, product) in products.iter_mut().enumerate() {
        product.axis_from_end = None;
        product.expert = indices.as_ref().map_or(Some(i), |indices| indices[i]);
    }
    true
}

/// Returns the number with which the router's choice is compared where a routing weight is selected.
fn compared_expert(graph: &Graph<Op>, product: &RoutedProduct) -> Option<usize> {
    let mut v = graph.node_inputs(product.product)[product.weight];
    loop {
        let inputs = graph.node_inputs(v.node);
        match graph.op(v.node) {
            Op::Gather(_) | Op::Reduce(_) | Op::Reshape(_) | Op::Cast(_) | Op::Select(_) => v = inputs[0],
            Op::Compare(_) => {
                let number = inputs.iter().find_map(|x| graph.constant(*x).filter(|t| t.elems() == 1))?;
                return usize::try_from(number.to_f64()[0] as i64).ok();
            }
            _ => return None,
        }
    }
}

/// Module of an expert, read from a name such as `model.layers.0.mlp.experts.3.up_proj`.
struct ExpertModule {
    /// Module path of the layer of experts.
    layer: String,
    /// Index of the expert, if the name has one.
    expert: Option<usize>,
}

/// Reads the module of a product's expert from the names of the expert's layer, its weights and the product.
fn expert_module(graph: &Graph<Op>, product: &RoutedProduct) -> Option<ExpertModule> {
    let inputs = graph.node_inputs(product.product);
    let expert_output = inputs[1 - product.weight];
    let layer = source_layer(graph, expert_output)?;
    let weights = graph.node_inputs(layer).into_iter().map(|v| graph.value_name(v).to_string());
    let onnx_nodes = |id: NodeId| graph.node(id).origin.nodes.iter().map(|(name, _)| name.clone());
    let names: Vec<String> = onnx_nodes(layer).chain(weights).chain(onnx_nodes(product.product)).collect();
    let numbered = names.iter().find_map(|name| {
        let (layer, rest) = name.split_once("experts")?;
        let digits: String = rest.chars().skip(1).take_while(char::is_ascii_digit).collect();
        Some(ExpertModule { layer: normalise_path(layer)?, expert: digits.parse().ok() })
    });
    numbered.or_else(|| {
        let path = names.iter().find(|n| n.contains("layers.") || n.contains("layers/"))?;
        let end = path.rfind('/').or_else(|| path.rfind('.'))?;
        Some(ExpertModule { layer: normalise_path(&path[..end])?, expert: None })
    })
}

/// Reads the module path of a layer of experts from the names of its router.
fn router_module(graph: &Graph<Op>, scores: Value) -> Option<String> {
    let layer = source_layer(graph, scores)?;
    let weights = graph.node_inputs(layer).into_iter().map(|v| graph.value_name(v).to_string());
    let onnx_nodes = graph.node(layer).origin.nodes.iter().map(|(name, _)| name.clone());
    onnx_nodes.chain(weights).find_map(|name| {
        let end = ["router", "gate"].into_iter().filter_map(|word| name.find(word)).min()?;
        normalise_path(&name[..end])
    })
}

/// Turns slashes into dots and trims dots at both ends, so that the names of different exporters agree.
fn normalise_path(path: &str) -> Option<String> {
    let path = path.replace('/', ".");
    let path = path.trim_matches('.');
    (!path.is_empty()).then(|| path.to_string())
}

/// Returns the first node to which all products have contributed by addition and data movement.
fn joint_sum(graph: &Graph<Op>, order: &[NodeId], products: &[RoutedProduct]) -> Option<NodeId> {
    if let [product] = products {
        return Some(product.product);
    }
    // Indices of the products that have contributed to each node.
    let mut contributions: BTreeMap<NodeId, HashSet<usize>> =
        products.iter().enumerate().map(|(i, p)| (p.product, HashSet::from([i]))).collect();
    for id in order {
        let passes_on = matches!(
            graph.op(*id),
            Op::Add(_)
                | Op::ScatterAdd(_)
                | Op::Overwrite(_)
                | Op::Reshape(_)
                | Op::Cast(_)
                | Op::Expand(_)
                | Op::Reduce(_)
                | Op::Concat(_)
                | Op::Transpose(_)
        );
        if !passes_on {
            continue;
        }
        let mut joint = HashSet::new();
        for v in graph.node_inputs(*id) {
            joint.extend(contributions.get(&v.node).into_iter().flatten().copied());
        }
        if joint.len() == products.len() {
            return Some(*id);
        }
        if !joint.is_empty() {
            contributions.insert(*id, joint);
        }
    }
    None
}
