//! Products and convolutions of the reverse whose operands one of the forward reads, such as `|x| |W|` beside `x W`: one pass over the
//! operands computes both, and the reverse finds its product in memory.

use std::collections::{HashMap, HashSet};

use dlbc_backend::Stages;
use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::prim::{self, Prim, Transform, Unary};

/// A product of the reverse, with the operands of a product of the forward.
#[derive(Clone, Copy)]
pub(super) struct Partner {
    pub(super) node: NodeId,
    /// Transforms of the operands.
    pub(super) transforms: [Transform; 2],
}

/// Operands of a product, each with whether it is transposed, and the geometry of a convolution as text; its weights come first.
type Operands = ([(Value, bool); 2], Option<String>);

/// Returns the partner of each product of the forward that has one.
pub(super) fn find(
    graph: &Graph<Prim>,
    stages: &Stages,
    scores: &HashSet<NodeId>,
) -> HashMap<NodeId, Partner> {
    let product = |id: &NodeId| match graph.op(*id) {
        Prim::MatMul(product) if !scores.contains(id) => Some(operands(graph, *id, product)),
        Prim::Conv(conv) => Some(conv_operands(graph, *id, conv)),
        _ => None,
    };
    // The transforms of the operation itself.
    let plain = |id: &NodeId| match graph.op(*id) {
        Prim::MatMul(product) => [product.a, product.b],
        Prim::Conv(conv) => [conv.w, Transform::Id],
        _ => [Transform::Id; 2],
    };
    let has_bias = |id: &NodeId| matches!(graph.op(*id), Prim::Conv(_)) && graph.node_inputs(*id).len() > 2;
    let mut reverse: HashMap<Operands, Vec<Partner>> = HashMap::new();
    for id in stages.reverse.nodes.iter().filter(|id| !has_bias(id)) {
        if let Some((operands, transforms)) = product(id) {
            reverse.entry(operands).or_default().push(Partner { node: *id, transforms });
        }
    }
    let mut partners = HashMap::new();
    for id in &stages.forward.nodes {
        let Some((operands, transforms)) = product(id) else { continue };
        // Several products of the reverse are fused with one another.
        let Some([partner]) = reverse.get(&operands).map(Vec::as_slice) else { continue };
        // The kernel reads what the node reads, so the node must read the operands untransformed.
        let is_plain = transforms == plain(id);
        if is_plain && partner.node != *id && partner.transforms != transforms {
            partners.insert(*id, *partner);
            reverse.remove(&operands);
        }
    }
    partners
}

/// Returns the operands of a product and their transforms. Nodes that only transform an operand, or arrange the rows of the left one
/// in another shape, are seen through.
fn operands(graph: &Graph<Prim>, id: NodeId, product: &prim::MatMul) -> (Operands, [Transform; 2]) {
    let inputs = graph.node_inputs(id);
    let width = |v: Value| graph.ty(v).shape.as_known().and_then(|dims| dims.last().copied());
    // The rows of a product with one matrix on the right are those of the result, whatever their shape.
    let is_flat = !product.ta && graph.ty(inputs[1]).rank() == 2;
    let source = |mut v: Value, mut transform: Transform, reshapes: bool| loop {
        match (transform, graph.op(v.node)) {
            (Transform::Id | Transform::Abs, Prim::Unary(Unary::Abs)) => transform = Transform::Abs,
            (_, Prim::Reshape(_)) if reshapes && width(graph.node_inputs(v.node)[0]) == width(v) => {}
            _ => return (v, transform),
        }
        v = graph.node_inputs(v.node)[0];
    };
    let (a, a_transform) = source(inputs[0], product.a, is_flat);
    let (b, b_transform) = source(inputs[1], product.b, false);
    (([(a, product.ta), (b, product.tb)], None), [a_transform, b_transform])
}

/// Returns the operands of a convolution and their transforms, weights first, in the same way.
fn conv_operands(graph: &Graph<Prim>, id: NodeId, conv: &prim::Conv) -> (Operands, [Transform; 2]) {
    let inputs = graph.node_inputs(id);
    let magnitude = |v: Value, transform: Transform| match (transform, graph.op(v.node)) {
        (Transform::Id | Transform::Abs, Prim::Unary(Unary::Abs)) => {
            (graph.node_inputs(v.node)[0], Transform::Abs)
        }
        _ => (v, transform),
    };
    let (w, w_transform) = magnitude(inputs[1], conv.w);
    let (x, x_transform) = magnitude(inputs[0], Transform::Id);
    (([(w, false), (x, false)], Some(format!("{:?}", conv.geometry))), [w_transform, x_transform])
}
