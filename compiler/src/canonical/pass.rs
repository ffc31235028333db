//! Signature of a canonical pass.

use dlbc_ops::graph::Graph;
use dlbc_ops::op::Op;

use crate::composite::Composite;
use crate::options::Options;

/// Settings of a compilation that a pass may depend on.
pub struct Context<'a> {
    /// Options of the compilation.
    pub options: &'a Options,
    /// The composite whose rules will apply.
    pub composite: &'a Composite,
}

/// A canonical pass.
pub struct Pass {
    /// Name for `--dump-after` and error messages, a verb phrase.
    pub name: &'static str,
    /// Returns whether the pass applies in this context.
    pub applies: fn(&Context) -> bool,
    /// Rewrites the graph; returns whether it changed.
    pub run: fn(&mut Graph<Op>, &Context) -> bool,
}

/// A pass that applies in every context.
pub(super) const fn pass(name: &'static str, run: fn(&mut Graph<Op>, &Context) -> bool) -> Pass {
    Pass { name, applies: |_| true, run }
}
