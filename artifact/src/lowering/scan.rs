//! A recurrence as ONNX `Scan`, whose body reads captures from the outer graph.

use std::collections::HashMap;

use dlbc_ops::graph::Value;
use dlbc_ops::prim::{Prim, Scan};
use dlbc_proto::write::{attr_graph, attr_int, attr_ints, graph};

use super::contract::*;
use crate::onnx_builder::types::value_info;

/// Operands: the initial state, sequences, captures. The result is the second output of the node.
impl OnnxLowering for Scan {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        let x = operands.names;
        let step = self.body.graph();
        let result = self.body.result().ok_or("expected a step with a result")?;
        let scan_inputs = 1 + self.sequences;
        let mut names: HashMap<Value, String> = HashMap::new();
        let mut inputs = vec![];
        for (k, id) in step.inputs().iter().enumerate() {
            let node = step.node(*id);
            let name = if k < scan_inputs { builder.name(node.name()) } else { x[k].to_string() };
            if k < scan_inputs {
                inputs.push(value_info(&name, &node.types[0]));
            }
            names.insert(Value { node: *id, slot: 0 }, name);
        }
        let (ends, nodes) = builder.in_subgraph(|builder| -> Result<[String; 2], String> {
            for id in step.topological() {
                let prim = step.op(id);
                if matches!(prim, Prim::Input) {
                    continue;
                }
                let operands = step.node_inputs(id);
                let types: Vec<TensorType> = operands.iter().map(|v| step.ty(*v).clone()).collect();
                let x: Vec<&str> = operands.iter().map(|v| names[v].as_str()).collect();
                let result = prim.lower(builder, &Operands { names: &x, types: &types })?;
                names.insert(Value { node: id, slot: 0 }, result);
            }
            let next = &names[&result];
            Ok([builder.add("Identity", &[next], vec![]), builder.add("Identity", &[next], vec![])])
        });
        let outputs = ends?.iter().map(|name| value_info(name, step.ty(result))).collect();
        let name = builder.name("step");
        let body = graph(&name, nodes, vec![], inputs, outputs);
        let direction = i64::from(self.reverse);
        let attributes = vec![
            attr_graph("body", body),
            attr_int("num_scan_inputs", self.sequences as i64),
            attr_ints("scan_input_directions", vec![direction; self.sequences]),
            attr_ints("scan_output_directions", vec![direction]),
        ];
        Ok(builder.add_second("Scan", &x[..scan_inputs], attributes))
    }
}
