//! Construction of the tract model of a stage, node by node.
//!
//! The file of a primitive chooses its operators; a primitive without any becomes a [`Kernel`]. Products with a constant become
//! operators of this crate (`product.rs`).

mod product;

use std::collections::{HashMap, HashSet};

use dlbc_backend::Stage;
use dlbc_ops::graph::{Graph, NodeId, PrintOp, Value};
use dlbc_ops::prim::{self, Prim, Transform};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops;

use super::kernel::Kernel;
use super::lookup::Lookup;
use super::pointwise::{self, Pointwise};
use super::prim::{At, implementation};
use super::products::{self, BorrowInputs};
use super::weights::{Cache, datum};
use super::wiring::Wiring;

/// Builds the model of a stage. Also returns the borrowed inputs, which are not inputs of the model.
pub fn model(
    graph: &Graph<Prim>,
    stage: &Stage,
    cache: &mut Cache,
    inputs: BorrowInputs,
) -> TractResult<(TypedModel, Vec<Value>)> {
    let chains = products::find(graph, stage, inputs);
    let expressions = pointwise::find(graph, stage, &chains);
    let borrowed: Vec<Value> =
        stage.inputs.iter().filter(|v| chains.borrowed.contains(&v.node)).copied().collect();
    let (model, values) = (TypedModel::default(), HashMap::new());
    let mut w = Wiring { graph, cache, model, values, shares: vec![], borrowed };
    for v in stage.inputs.iter().filter(|v| !chains.borrowed.contains(&v.node)) {
        let fact = datum(graph.ty(*v).dtype).fact(w.dims(*v));
        let outlet = w.model.add_source(w.name(*v), fact)?;
        w.values.insert(*v, outlet);
    }
    let tensors = constants(graph, stage, &chains);
    for id in &stage.nodes {
        let is_fused = chains.inner.contains(id) || expressions.is_inner(*id);
        let is_unused = matches!(graph.op(*id), Prim::Const(_)) && !tensors.contains(id);
        if matches!(graph.op(*id), Prim::Input) || is_fused || is_unused {
            continue;
        }
        let wired = match chains.by_end.get(id) {
            Some(chain) => w.product(chain),
            None if expressions.is_root(*id) => w.expression(expressions.build(graph, *id), *id),
            None => w.node(*id),
        };
        let outlet = wired.map_err(|e| e.context(format!("node `{}`", graph.node(*id).name())))?;
        w.values.insert(Value { node: *id, slot: 0 }, outlet);
    }
    let outputs: Vec<OutletId> = stage.outputs.iter().map(|v| w.values[v]).collect();
    // tract requires that outputs are distinct and are not inputs, so such outputs get an identity node.
    let outputs: Vec<OutletId> = outputs
        .iter()
        .enumerate()
        .map(|(i, o)| {
            let distinct = !w.model.inputs.contains(o) && !outputs[..i].contains(o);
            if distinct { Ok(*o) } else { w.wire(&format!("output.{i}"), ops::identity::Identity, &[*o]) }
        })
        .collect::<TractResult<_>>()?;
    w.model.select_output_outlets(&outputs)?;
    Ok((w.model, w.borrowed))
}

/// Returns the constants that the model needs as tensors. Operators of this crate read the others from the program.
fn constants(graph: &Graph<Prim>, stage: &Stage, chains: &products::Chains) -> HashSet<NodeId> {
    let products: HashSet<NodeId> = chains.by_end.values().map(|chain| chain.product).collect();
    let mut tensors: HashSet<NodeId> = stage.outputs.iter().map(|v| v.node).collect();
    for id in &stage.nodes {
        for (k, v) in graph.node_inputs(*id).into_iter().enumerate() {
            let Prim::Const(t) = graph.op(v.node) else { continue };
            let in_place = match graph.op(*id) {
                Prim::Gather(prim::Gather { axis: 0 }) => k == 0 && Lookup::new(String::new(), t).is_some(),
                _ => k == 1 && products.contains(id),
            };
            if !in_place {
                tensors.insert(v.node);
            }
        }
    }
    tensors
}

impl Wiring<'_> {
    fn node(&mut self, id: NodeId) -> TractResult<OutletId> {
        let v = Value { node: id, slot: 0 };
        let at = At { name: self.name(v), v, operands: self.graph.node_inputs(id) };
        let prim = self.graph.op(id).clone();
        if let Prim::Const(t) = &prim {
            let constant = self.cache.tensor(id, Transform::Id, t)?;
            let name = self.unique(&at.name);
            return self.model.add_const(name, constant);
        }
        if let Some(operators) = implementation(&prim)
            && let Some(outlet) = operators.wire(self, &at)?
        {
            return Ok(outlet);
        }
        self.kernel(prim, &at)
    }

    /// Adds an elementwise expression.
    fn expression(&mut self, (op, operands): (Pointwise, Vec<Value>), id: NodeId) -> TractResult<OutletId> {
        let inputs: Vec<OutletId> = operands.iter().map(|o| self.values[o]).collect();
        let name = self.name(Value { node: id, slot: 0 });
        self.wire(&name, op, &inputs)
    }

    /// Adds a primitive as a [`Kernel`].
    fn kernel(&mut self, prim: Prim, at: &At) -> TractResult<OutletId> {
        let title = format!("{}: {}", at.name, prim.name());
        let kernel = Kernel::new(title, prim, datum(self.graph.ty(at.v).dtype), self.dims(at.v));
        self.wire(&at.name, kernel, &at.inputs(self))
    }
}
