//! A recurrence as ONNX `Scan`: captures are values of the graph around the body.

use std::collections::HashMap;

use dlbc_ops::graph::Value;
use dlbc_ops::prim::{Prim, Scan};
use dlbc_proto::write::{attr_graph, attr_int, attr_ints, graph};

use super::contract::*;
use crate::onnx_builder::types::value_info;

/// Operands: the first state, sequences, captures. The node's second output is the result.
impl OnnxLowering for Scan {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        let x = at.x;
        let step = self.body.graph();
        let result = self.body.result().ok_or("a step without a result")?;
        let taken = 1 + self.sequences;
        let mut names: HashMap<Value, String> = HashMap::new();
        let mut inputs = vec![];
        for (k, id) in step.inputs().iter().enumerate() {
            let node = step.node(*id);
            let name = if k < taken { s.name(node.name()) } else { x[k].to_string() };
            if k < taken {
                inputs.push(value_info(&name, &node.types[0]));
            }
            names.insert(Value { node: *id, slot: 0 }, name);
        }
        let (ends, nodes) = s.in_subgraph(|s| -> Result<[String; 2], String> {
            for id in step.topological() {
                let prim = step.op(id);
                if matches!(prim, Prim::Input) {
                    continue;
                }
                let operands = step.node_inputs(id);
                let types: Vec<TensorType> = operands.iter().map(|v| step.ty(*v).clone()).collect();
                let x: Vec<&str> = operands.iter().map(|v| names[v].as_str()).collect();
                let result = prim.lower(s, &Operands { x: &x, types: &types })?;
                names.insert(Value { node: id, slot: 0 }, result);
            }
            let next = &names[&result];
            Ok([s.add("Identity", &[next], vec![]), s.add("Identity", &[next], vec![])])
        });
        let outputs = ends?.iter().map(|name| value_info(name, step.ty(result))).collect();
        let name = s.name("step");
        let body = graph(&name, nodes, vec![], inputs, outputs);
        let way = i64::from(self.reverse);
        let attributes = vec![
            attr_graph("body", body),
            attr_int("num_scan_inputs", self.sequences as i64),
            attr_ints("scan_input_directions", vec![way; self.sequences]),
            attr_ints("scan_output_directions", vec![way]),
        ];
        Ok(s.add_second("Scan", &x[..taken], attributes))
    }
}
