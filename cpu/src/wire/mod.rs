//! Stage → tract model, primitive by primitive.
//!
//! A primitive says in its file which operators it becomes, and is a [`Kernel`] where it does not; products with a constant are
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
use super::products;
use super::weights::{Cache, datum};
use super::wiring::Wiring;

/// Builds the model of a stage; also returns the inputs that are no inputs of the model, since products read them in place,
/// where that is allowed.
pub fn model(
    graph: &Graph<Prim>,
    stage: &Stage,
    cache: &mut Cache,
    in_place: bool,
) -> TractResult<(TypedModel, Vec<Value>)> {
    let chains = products::find(graph, stage, in_place);
    let expressions = pointwise::find(graph, stage, &chains);
    let given: Vec<Value> = stage.inputs.iter().filter(|v| chains.given.contains(&v.node)).copied().collect();
    let (model, values) = (TypedModel::default(), HashMap::new());
    let mut w = Wiring { graph, cache, model, values, shares: vec![], given };
    for v in stage.inputs.iter().filter(|v| !chains.given.contains(&v.node)) {
        let fact = datum(graph.ty(*v).dtype).fact(w.dims(*v));
        let outlet = w.model.add_source(w.name(*v), fact)?;
        w.values.insert(*v, outlet);
    }
    let tensors = constants(graph, stage, &chains);
    for id in &stage.nodes {
        let within = chains.inner.contains(id) || expressions.within(*id);
        let elsewhere = matches!(graph.op(*id), Prim::Const(_)) && !tensors.contains(id);
        if matches!(graph.op(*id), Prim::Input) || within || elsewhere {
            continue;
        }
        let made = match chains.by_end.get(id) {
            Some(chain) => w.product(chain),
            None if expressions.makes(*id) => w.expression(expressions.build(graph, *id), *id),
            None => w.node(*id),
        };
        let outlet = made.map_err(|e| e.context(format!("node `{}`", graph.node(*id).name())))?;
        w.values.insert(Value { node: *id, slot: 0 }, outlet);
    }
    let outputs: Vec<OutletId> = stage.outputs.iter().map(|v| w.values[v]).collect();
    // An input that is an output as it stands, or an output named twice, needs a node of its own.
    let outputs: Vec<OutletId> = outputs
        .iter()
        .enumerate()
        .map(|(i, o)| {
            let plain = !w.model.inputs.contains(o) && !outputs[..i].contains(o);
            if plain { Ok(*o) } else { w.wire(&format!("output.{i}"), ops::identity::Identity, &[*o]) }
        })
        .collect::<TractResult<_>>()?;
    w.model.select_output_outlets(&outputs)?;
    Ok((w.model, w.given))
}

/// The constants that must be tensors of the engine. Operators of ours read the others where the program holds them.
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
            let made = self.cache.tensor(id, Transform::Id, t)?;
            let name = self.unique(&at.name);
            return self.model.add_const(name, made);
        }
        if let Some(operators) = implementation(&prim)
            && let Some(outlet) = operators.wire(self, &at)?
        {
            return Ok(outlet);
        }
        self.kernel(prim, &at)
    }

    /// An elementwise expression.
    fn expression(&mut self, (op, operands): (Pointwise, Vec<Value>), id: NodeId) -> TractResult<OutletId> {
        let inputs: Vec<OutletId> = operands.iter().map(|o| self.values[o]).collect();
        let name = self.name(Value { node: id, slot: 0 });
        self.wire(&name, op, &inputs)
    }

    /// A primitive as a kernel of this crate.
    fn kernel(&mut self, prim: Prim, at: &At) -> TractResult<OutletId> {
        let title = format!("{}: {}", at.name, prim.name());
        let kernel = Kernel::new(title, prim, datum(self.graph.ty(at.v).dtype), self.dims(at.v));
        self.wire(&at.name, kernel, &at.inputs(self))
    }
}
