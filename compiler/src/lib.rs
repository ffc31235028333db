//! The compiler: ONNX model → `Graph<Op>` → relevance graph → one lowered program.
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
mod meaning;
mod options;
mod relevance;

pub use composite::{Composite, Quantity, built_in_names, built_in_source};
pub use dlbc_ops::program::Mode;
pub use error::{CompileError, ErrorKind, Unsupported};
pub use import::import;
pub use inspect::{Inspection, NodeRow, inspect};
pub use lower::lower;
pub use options::Options;
pub use relevance::{RelevanceGraph, derive_relevance};

use std::time::Instant;

use dlbc_ops::graph::Graph;
use dlbc_ops::op::Op;
use dlbc_ops::program::Program;
use dlbc_proto::Model;

/// What a compilation makes, stage by stage.
pub struct Compiled {
    /// The canonical model.
    pub model: Graph<Op>,
    /// Its relevance graph.
    pub relevance: RelevanceGraph,
    /// Both, lowered.
    pub program: Program,
    /// The phases in order.
    pub phases: Vec<Phase>,
    /// What the user may have meant otherwise: entries of the composite that select nothing.
    pub warnings: Vec<String>,
    /// The text of the graph after the pass that `Options::dump_after` names.
    pub dump: Option<String>,
}

/// A phase of a compilation.
#[derive(Clone, Debug)]
pub struct Phase {
    /// `parsed`, `fused`, `ruled` or `lowered`.
    pub name: &'static str,
    /// Nodes of the graph that it made.
    pub nodes: usize,
    /// How long it took.
    pub seconds: f64,
}

/// Compiles a model: the whole flow in one screen.
///
/// # Errors
/// See [`CompileError`].
pub fn compile(model: &Model, options: &Options) -> Result<Compiled, CompileError> {
    let composite = options.composite()?;
    let mut phases = vec![];
    let mut clock = Instant::now();
    let mut phase = |name: &'static str, nodes: usize| {
        phases.push(Phase { name, nodes, seconds: clock.elapsed().as_secs_f64() });
        clock = Instant::now();
    };
    let mut dump = None;
    let wanted = options.dump_after.as_deref();

    let mut graph = import(model, options)?;
    phase("parsed", model.graph().node.len());
    if wanted == Some("import") {
        dump = Some(graph.to_string());
    }
    let context = canonical::Context { options, composite: &composite };
    canonical::canonicalise(&mut graph, &context, |pass, graph| {
        if wanted == Some(pass) {
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
    if let Some(name) = model.path.as_ref().and_then(|p| p.file_name()) {
        program.info.model = name.to_string_lossy().into_owned();
    }
    program.info.metadata = meaning::metadata(&model.proto);
    program.info.probabilities = meaning::probabilities(model.graph());
    let own = program.info.model.clone();
    let digests = model.digests()?.into_iter();
    program.info.hashes =
        digests.map(|d| (d.location.clone().unwrap_or_else(|| own.clone()), d.hex())).collect();
    // Those that come with dlbc are for any model.
    let warnings = if options.rules_file.is_some() { relevance.unmatched.clone() } else { vec![] };
    Ok(Compiled { model: graph, relevance, program, phases, warnings, dump })
}
