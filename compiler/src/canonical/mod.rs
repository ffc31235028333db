//! Canonicalisation: passes that recover operators from the pieces in which exporters write them, before rules apply.
//!
//! [`PASSES`] gives the order, with a reason on each line whose position matters. The graph is verified after_pass each pass.

mod fold_affine;
mod fold_batch_norm;
mod fuse_linear_bias;
mod layer;
mod pass;
mod pattern;
mod recover_attention;
mod recover_embedding;
mod recover_gelu;
mod recover_moment_norm;
mod recover_norm;
mod recover_silu;
mod recover_softmax;
mod split_two_classes;

use dlbc_ops::graph::Graph;
use dlbc_ops::op::Op;

pub use pass::{Context, Pass};

use crate::error::CompileError;
use pass::pass;

/// All passes, in the order in which they run.
pub const PASSES: &[Pass] = &[
    pass("recover_norm", recover_norm::run), // before its products and sums fold into anything else
    pass("recover_moment_norm", recover_moment_norm::run),
    pass("recover_softmax", recover_softmax::run), // `recover_attention` looks for the softmax
    pass("recover_embedding", recover_embedding::run), // before its bias fuses into a layer
    pass("fuse_linear_bias", fuse_linear_bias::run), // a bias is part of its layer before anything folds into the layer
    Pass { name: "fold_batch_norm", applies: |c| c.composite.fold_batch_norm, run: fold_batch_norm::run },
    Pass { name: "fold_affine", applies: |c| c.composite.fold_batch_norm, run: fold_affine::run }, // batch norms written as Mul and Add
    pass("split_two_classes", split_two_classes::run), // after_pass the layer before them has its bias
    pass("recover_silu", recover_silu::run),           // before a gate is recovered as an ordinary product
    pass("recover_gelu", recover_gelu::run),
    Pass {
        name: "recover_attention",
        applies: |c| c.composite.recover_attention,
        run: recover_attention::run,
    },
    pass("remove_unused", |g, _| g.remove_unused() > 0), // last: nodes that the other passes left without readers
];

/// Runs the passes that apply in `context`, and calls `after_pass` with the name of each and the graph.
///
/// # Errors
/// [`CompileError::BrokenGraph`] when a pass leaves a graph that does not verify: a bug in dlbc.
pub fn canonicalise(
    graph: &mut Graph<Op>,
    context: &Context,
    mut after_pass: impl FnMut(&'static str, &Graph<Op>),
) -> Result<(), CompileError> {
    for pass in PASSES.iter().filter(|p| (p.applies)(context)) {
        if (pass.run)(graph, context) {
            graph.check().map_err(|faults| CompileError::BrokenGraph { pass: pass.name, faults })?;
        }
        after_pass(pass.name, graph);
    }
    Ok(())
}
