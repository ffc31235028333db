//! Accounts of relevance: by module, by attention head and by expert.

pub(crate) mod expert_relevance;
pub(crate) mod modules;

use std::collections::HashSet;

use dlbc_ops::program::Program;

use crate::error::RuntimeError;
use crate::request::Request;

/// A row of the ledger: `received = passed + absorbed`.
#[derive(Clone, Debug, PartialEq)]
pub struct LedgerRow {
    /// The forward node's output tensor.
    pub node: String,
    /// The operator.
    pub op: String,
    /// The rule.
    pub rule: String,
    /// The operands that received relevance.
    pub operands: Vec<String>,
    /// Relevance that came in.
    pub received: f64,
    /// Relevance that went on to operands.
    pub passed: f64,
    /// Relevance that biases, constants and positions without contribution kept.
    pub absorbed: f64,
}

impl LedgerRow {
    /// What the row fails to account for.
    pub fn residual(&self) -> f64 {
        self.received - self.passed - self.absorbed
    }
}

/// The program outputs of the reverse that a request needs.
///
/// # Errors
/// For a tensor to keep whose relevance the program does not have.
pub(crate) fn wanted(program: &Program, request: &Request) -> Result<Vec<String>, RuntimeError> {
    let info = &program.info;
    let all: Vec<&String> = program.graph.outputs().iter().map(|(n, _)| n).collect();
    let tracks = info.mode.tracks();
    let mut wanted = vec![];
    for track in tracks {
        let explained = info.inputs.iter().filter(|i| i.explained);
        wanted.extend(explained.map(|i| format!("{}{}", track.relevance, i.name)));
    }
    for name in &request.keep {
        if !all.contains(&&format!("{}{name}", tracks[0].relevance)) {
            let known = all.iter().filter_map(|n| n.strip_prefix(tracks[0].relevance)).map(String::from);
            return Err(RuntimeError::UnknownRelevance { name: name.clone(), known: known.collect() });
        }
        wanted.extend(tracks.iter().map(|track| format!("{}{name}", track.relevance)));
    }
    let rest =
        |prefix: &'static str| all.iter().filter(move |n| n.starts_with(prefix)).map(|n| n.to_string());
    let Request { audit, layers, heads, .. } = *request;
    for track in tracks {
        if request.keep_all {
            wanted.extend(rest(track.relevance));
        }
        wanted.extend(rest(track.audit).filter(|name| modules::wanted(name, audit, layers, heads)));
    }
    if request.experts {
        wanted.extend(rest("experts/"));
    }
    let mut seen = HashSet::new();
    wanted.retain(|n| seen.insert(n.clone()));
    Ok(wanted)
}
