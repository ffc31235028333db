//! Passes: what each is given and what it returns.

use dlbc_ops::graph::Graph;
use dlbc_ops::op::Op;

use crate::composite::Composite;
use crate::options::Options;

/// The settings of a compilation that a pass may depend on.
pub struct Context<'a> {
    /// Options of the compilation.
    pub options: &'a Options,
    /// The composite whose rules will apply.
    pub composite: &'a Composite,
}

/// A pass: a name and a function that says whether it changed the graph.
pub struct Pass {
    /// A verb phrase.
    pub name: &'static str,
    /// Returns whether the pass applies in this context.
    pub applies: fn(&Context) -> bool,
    /// Rewrites the graph; returns whether it changed.
    pub run: fn(&mut Graph<Op>, &Context) -> bool,
}

pub(super) const fn pass(name: &'static str, run: fn(&mut Graph<Op>, &Context) -> bool) -> Pass {
    Pass { name, applies: |_| true, run }
}
