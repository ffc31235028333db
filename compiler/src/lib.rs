//! The compiler: ONNX model → `Graph<Op>` → relevance graph → one lowered program.
//!
//! [`import()`] reads the nodes of a model into a graph of operators, [`canonical`] recovers operators that exporters write in
//! pieces, [`derive_relevance`] gives each node between the explained output and the inputs its relevance rule, and [`lower()`]
//! writes forward and relevance as one graph of primitives. [`compile`] runs all four.
//!
//! ```no_run
//! use dlbc_compiler::{Options, compile};
//!
//! let model = dlbc_proto::read_model("model.onnx".as_ref(), &dlbc_proto::Limits::default())?;
//! let compiled = compile(&model, &Options::default())?;
//! println!("{}", compiled.relevance);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod canonical;
mod composite;
mod error;
pub mod expert_detection;
mod import;
mod inspect;
mod liveness;
mod lower;
mod options;
mod output_semantics;
mod relevance;
mod remedy;
mod rotation;
mod trees;

pub use composite::{Composite, Quantity, built_in_names, built_in_source};
pub use dlbc_ops::program::Mode;
pub use error::{CompileError, ErrorKind, UnknownWord, Unsupported};
pub use import::import;
pub use inspect::{Inspection, NodeRow, inspect};
pub use lower::{lower, lower_forward};
pub use options::{Options, TREESHAP};
pub use relevance::{RelevanceGraph, derive_relevance};
pub use remedy::Remedy;
pub use trees::has_trees;

use std::time::Instant;

use dlbc_ops::graph::Graph;
use dlbc_ops::op::Op;
use dlbc_ops::program::Program;
use dlbc_proto::Model;

/// Result of a compilation, stage by stage.
pub struct Compiled {
    /// Operators of the model after the canonical passes.
    pub model: Graph<Op>,
    /// Rule nodes from the explained output back to the inputs.
    pub relevance: RelevanceGraph,
    /// Forward and relevance as one graph of primitives.
    pub program: Program,
    /// Statistics of each phase, in the order in which they ran.
    pub phases: Vec<Phase>,
    /// Warnings for the user: entries of a composite file that select no node.
    pub warnings: Vec<String>,
    /// Text of the graph after the pass that [`Options::dump_after`] names; `None` if it is not set or no such pass ran.
    pub dump: Option<String>,
}

/// Statistics of a phase of a compilation.
#[derive(Clone, Debug)]
pub struct Phase {
    /// `parsed` (import), `fused` (canonical passes), `ruled` (relevance graph) or `lowered` (primitives).
    pub name: &'static str,
    /// Number of nodes in the graph that the phase produced; for `parsed`, in the model file.
    pub nodes: usize,
    /// Wall-clock duration in seconds.
    pub seconds: f64,
}

/// Compiles a model into a program that computes its outputs and the relevance of its inputs.
///
/// # Errors
/// For an invalid or unsupported model, an option that names nothing in the model, and a mistake in the composite.
pub fn compile(model: &Model, options: &Options) -> Result<Compiled, CompileError> {
    let composite = options.composite()?;
    let mut phases = vec![];
    let mut clock = Instant::now();
    let mut phase = |name: &'static str, nodes: usize| {
        phases.push(Phase { name, nodes, seconds: clock.elapsed().as_secs_f64() });
        clock = Instant::now();
    };
    let mut dump = None;
    let dump_after = options.dump_after.as_deref();

    let mut graph = import(model, options)?;
    phase("parsed", model.graph().node.len());
    if dump_after == Some("import") {
        dump = Some(graph.to_string());
    }
    let context = canonical::Context { options, composite: &composite };
    canonical::canonicalise(&mut graph, &context, |pass, graph| {
        if dump_after == Some(pass) {
            dump = Some(graph.to_string());
        }
    })?;
    phase("fused", graph.len());
    let relevance = derive_relevance(&graph, &composite, options)?;
    phase("ruled", relevance.graph.len());
    let mut program = lower(&graph, &relevance)?;
    phase("lowered", program.graph.len());

    program.info.rules = composite.name;
    program.info.rules_hash = composite.hash;
    describe(model, &mut program)?;
    // Built-in composites name operators that most models lack: only the user's own file is checked.
    let warnings = if options.rules_file.is_some() { relevance.unmatched.clone() } else { vec![] };
    Ok(Compiled { model: graph, relevance, program, phases, warnings, dump })
}

/// Compiles a model into a program that computes its outputs and explains nothing. The options that concern relevance have no
/// effect on the outputs.
///
/// # Errors
/// For an invalid or unsupported model, and for an option that names nothing in the model.
pub fn compile_forward(model: &Model, options: &Options) -> Result<Program, CompileError> {
    let composite = options.composite()?;
    let mut graph = import(model, options)?;
    canonical::canonicalise(&mut graph, &canonical::Context { options, composite: &composite }, |_, _| {})?;
    let mut program = lower_forward(&graph)?;
    describe(model, &mut program)?;
    Ok(program)
}

/// Compiles a model whose explained output is a sum of trees into a program that computes its outputs and what the Shapley values
/// of its inputs are computed from.
///
/// # Errors
/// For an invalid or unsupported model, for an option that names nothing in the model, and for an output that does not depend on
/// one sum of trees alone.
pub fn compile_trees(model: &Model, options: &Options) -> Result<Program, CompileError> {
    let composite = Composite::named(&Options::default().rules)?;
    let mut graph = import(model, options)?;
    canonical::canonicalise(&mut graph, &canonical::Context { options, composite: &composite }, |_, _| {})?;
    let trees = trees::describe(&graph, options)?;
    let mut program = lower::lower_trees(&graph, trees)?;
    program.info.rules = TREESHAP.into();
    describe(model, &mut program)?;
    Ok(program)
}

/// Records in the description of a program what is known of the model file.
fn describe(model: &Model, program: &mut Program) -> Result<(), CompileError> {
    if let Some(name) = model.path.as_ref().and_then(|p| p.file_name()) {
        program.info.model = name.to_string_lossy().into_owned();
    }
    program.info.metadata = output_semantics::metadata(&model.proto);
    let strings = import::string_tensors(model);
    if !strings.is_empty() {
        program.info.vocabulary = import::vocabulary(model);
        program.info.strings = strings;
    }
    program.info.probabilities = output_semantics::probabilities(model.graph());
    let model_file = program.info.model.clone();
    let digests = model.digests()?.into_iter();
    program.info.hashes =
        digests.map(|d| (d.location.clone().unwrap_or_else(|| model_file.clone()), d.hex())).collect();
    Ok(())
}
