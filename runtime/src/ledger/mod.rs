//! Accounts of relevance: by module, by attention head and by expert.

pub(crate) mod expert_relevance;
pub(crate) mod modules;

use std::collections::HashSet;
use std::ops::Deref;

use dlbc_backend::Tensors;
use dlbc_ops::program::{Info, Program};

use crate::error::RuntimeError;
use crate::request::Request;

/// What every rule node did with relevance, from the output to the inputs. Derefs to its rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger(Vec<LedgerRow>);

impl Ledger {
    /// The ledger of a track, whose entries among the reverse's results begin with `prefix`.
    pub(crate) fn of_track(info: &Info, results: &Tensors, prefix: &str) -> Ledger {
        let scalar = |name: String| results.get(&name).map_or(0.0, |t| t.to_f64().iter().sum());
        let rows = info.audit.iter().enumerate().map(|(i, row)| LedgerRow {
            node: row.node.clone(),
            op: row.op.clone(),
            rule: row.rule.clone(),
            operands: row.operands.clone(),
            received: scalar(format!("{prefix}{i}/in")),
            passed: scalar(format!("{prefix}{i}/out")),
            absorbed: scalar(format!("{prefix}{i}/absorbed")),
        });
        Ledger(rows.collect())
    }

    /// Relevance that the nodes kept, all together.
    pub fn total_absorbed(&self) -> f64 {
        self.iter().map(|row| row.absorbed).sum()
    }

    /// The largest magnitude of a row's residual; 0 without rows, NaN if a residual is.
    pub fn worst_residual(&self) -> f64 {
        self.iter().map(|row| row.residual().abs()).max_by(f64::total_cmp).unwrap_or(0.0)
    }
}

impl Deref for Ledger {
    type Target = [LedgerRow];

    fn deref(&self) -> &[LedgerRow] {
        &self.0
    }
}

impl IntoIterator for Ledger {
    type Item = LedgerRow;
    type IntoIter = std::vec::IntoIter<LedgerRow>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Ledger {
    type Item = &'a LedgerRow;
    type IntoIter = std::slice::Iter<'a, LedgerRow>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

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
    /// Relevance that the row fails to account for.
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
    for track in tracks {
        if request.keep_all {
            wanted.extend(rest(track.relevance));
        }
        wanted.extend(rest(track.audit).filter(|name| modules::is_wanted(name, request)));
    }
    if request.experts {
        wanted.extend(rest("experts/"));
    }
    let mut seen = HashSet::new();
    wanted.retain(|n| seen.insert(n.clone()));
    Ok(wanted)
}
