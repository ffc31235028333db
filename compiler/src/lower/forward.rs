//! Lowering of a model alone, without relevance.

use dlbc_ops::graph::Graph;
use dlbc_ops::op::Op;
use dlbc_ops::prim::Builder;
use dlbc_ops::program::{Info, InputInfo, Output, Program};

use super::track_flow::node_error;
use crate::error::CompileError;

/// Lowers a model to a program that computes its outputs and explains nothing.
///
/// # Errors
/// When an operator does not fit the shapes of its operands.
pub fn lower_forward(graph: &Graph<Op>) -> Result<Program, CompileError> {
    let mut b = Builder::new();
    let values = graph.lower(&mut b).map_err(|(id, source)| node_error(graph, id, source))?;
    let inputs = graph.inputs().iter().map(|id| {
        let node = graph.node(*id);
        InputInfo { name: node.name().to_string(), ty: node.types[0].clone(), explained: false }
    });
    let info = Info {
        outputs: graph.outputs().iter().map(|(name, _)| name.clone()).collect(),
        inputs: inputs.collect(),
        ..Info::default()
    };
    let mut program = b.finish();
    let outputs = graph.outputs().iter().map(|(name, v)| (Output::from(name), values[v]));
    let dims = graph.data_dependent_dims().iter();
    let dims = dims.map(|(symbol, v)| (Output::Dimension(symbol.clone()), values[v]));
    program.set_outputs(outputs.chain(dims).collect());
    program.remove_unused();
    program.check().map_err(|faults| CompileError::BrokenGraph { pass: "lower", faults })?;
    Ok(Program { graph: program, info })
}
