//! JSON form of graphs that are attributes of primitives.

use std::collections::HashMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Prim;
use crate::graph::{Body, Graph, NodeId, Origin, Value};
use crate::program::Output;
use crate::tensor::TensorType;

/// Node in the JSON form of a body.
#[derive(Serialize, Deserialize)]
struct Line {
    name: String,
    prim: Prim,
    ty: TensorType,
    /// Indices of the operands in [`BodyJson::lines`].
    operands: Vec<usize>,
}

/// JSON form of a body; the lines are in the order of [`Body::order`].
#[derive(Serialize, Deserialize)]
struct BodyJson {
    lines: Vec<Line>,
    result: usize,
}

impl Body<Prim> {
    /// Returns the nodes in the order of the JSON form: inputs in their order, then each node after its operands.
    pub fn order(&self) -> Vec<NodeId> {
        let graph = self.graph();
        let rest = graph.topological().into_iter().filter(|id| !graph.inputs().contains(id));
        graph.inputs().iter().copied().chain(rest).collect()
    }
}

impl Serialize for Body<Prim> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let graph = self.graph();
        let order = self.order();
        let indices: HashMap<NodeId, usize> = order.iter().enumerate().map(|(i, id)| (*id, i)).collect();
        let line = |id: &NodeId| Line {
            name: graph.node(*id).name().into(),
            prim: graph.op(*id).clone(),
            ty: graph.node(*id).types[0].clone(),
            operands: graph.node_inputs(*id).iter().map(|v| indices[&v.node]).collect(),
        };
        let result = self.result().and_then(|v| indices.get(&v.node).copied()).unwrap_or(usize::MAX);
        BodyJson { lines: order.iter().map(line).collect(), result }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Body<Prim> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Body<Prim>, D::Error> {
        let json = BodyJson::deserialize(deserializer)?;
        let mut graph = Graph::default();
        let mut values: Vec<Value> = vec![];
        for line in json.lines {
            let operands =
                line.operands.iter().map(|i| values.get(*i).copied()).collect::<Option<Vec<Value>>>();
            let operands = operands.ok_or_else(|| {
                D::Error::custom("step: expected operands of earlier lines, found a later one")
            })?;
            values.push(match line.prim {
                Prim::Input => graph.add_input(Prim::Input, &line.name, line.ty),
                prim => graph.add_value(prim, &line.name, line.ty, Origin::default(), &operands),
            });
        }
        let result = values.get(json.result).copied();
        graph.add_output(
            Output::value("next"),
            result.ok_or_else(|| D::Error::custom("step: expected a result, found none"))?,
        );
        Ok(Body::new(graph))
    }
}
