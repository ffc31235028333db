//! Leaves of decision trees, by as many look-ups and comparisons as the trees are deep.

use std::collections::HashMap;

use dlbc_ops::graph::Value;
use dlbc_ops::prim::{Builder, Prim, TreeLeaves};

use super::contract::*;

/// Largest number of branches on the way to a leaf that is written out.
const MAX_DEPTH: usize = 1000;

impl OnnxLowering for TreeLeaves {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        if self.depth > MAX_DEPTH {
            return Err(format!("its trees have {} levels, more than {MAX_DEPTH}", self.depth));
        }
        let mut b = Builder::new();
        let inputs: Vec<Value> =
            operands.types.iter().zip(operands.names).map(|(ty, name)| b.input(name, ty.clone())).collect();
        let leaves = self.expand(&mut b, &inputs);
        b.ok().map_err(|e| e.to_string())?;
        let graph = b.finish();
        let mut names: HashMap<Value, String> =
            inputs.iter().copied().zip(operands.names.iter().map(ToString::to_string)).collect();
        for id in graph.topological() {
            let v = Value { node: id, slot: 0 };
            let name = match graph.op(id) {
                Prim::Input => continue,
                Prim::Const(t) => builder.constant(t),
                prim => {
                    let inputs = graph.node_inputs(id);
                    let operand_names: Vec<&str> = inputs.iter().map(|v| names[v].as_str()).collect();
                    let types: Vec<TensorType> = inputs.iter().map(|v| graph.ty(*v).clone()).collect();
                    prim.lower(builder, &Operands { names: &operand_names, types: &types })?
                }
            };
            names.insert(v, name);
        }
        names.remove(&leaves).ok_or_else(|| "its trees have no leaves".into())
    }
}
