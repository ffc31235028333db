//! Folds batch normalisation into the convolution or linear layer before it; elsewhere it stays.

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::Op;
use dlbc_ops::tensor::Tensor;

use super::layer::{fold, unit_axis};
use super::pass::Context;
use super::pattern::each;

/// Folds each batch normalisation that is the only reader of a layer.
pub fn run(graph: &mut Graph<Op>, _: &Context) -> bool {
    each(graph, fold_into_layer)
}

fn fold_into_layer(graph: &mut Graph<Op>, id: NodeId) -> Option<()> {
    let Op::BatchNorm(norm) = graph.op(id).clone() else { return None };
    let inputs = graph.node_inputs(id);
    let layer = inputs[0];
    // Batch normalisation normalises axis 1, which is the unit axis of a linear layer only if its result is a matrix.
    if graph.only_consumer(layer) != Some(id) || unit_axis(graph, layer) != Some(1) {
        return None;
    }
    let parameters: Option<Vec<Vec<f64>>> =
        inputs[1..].iter().map(|v| graph.constant(*v).map(Tensor::to_f64)).collect();
    let p = parameters?;
    let (gamma, beta, mean, var) = (&p[0], &p[1], &p[2], &p[3]);
    let units = gamma.len();
    if [beta.len(), mean.len(), var.len()].iter().any(|n| *n != units) {
        return None;
    }
    let scale: Vec<f64> = (0..units).map(|i| gamma[i] / (var[i] + f64::from(norm.epsilon)).sqrt()).collect();
    let shift: Vec<f64> = (0..units).map(|i| beta[i] - mean[i] * scale[i]).collect();
    let tensor =
        |v: Vec<f64>| Tensor::from_f32(&[units], &v.into_iter().map(|x| x as f32).collect::<Vec<_>>());
    fold(graph, layer, &tensor(scale), &tensor(shift), Value { node: id, slot: 0 })
}
