//! Accounts of relevance: by module, by attention head and by expert.

pub(crate) mod expert_relevance;
pub(crate) mod modules;

use std::collections::HashSet;
use std::ops::Deref;

use dlbc_backend::Outputs;
use dlbc_ops::program::{Info, LedgerEntry, Name, Output, Program, TrackKind};

use crate::error::RuntimeError;
use crate::request::Request;

/// What every rule node did with relevance, from the output to the inputs. Derefs to its rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger(Vec<LedgerRow>);

impl Ledger {
    /// The ledger of a track, from the results of a reverse.
    pub(crate) fn of_track(info: &Info, results: &Outputs, track: TrackKind) -> Ledger {
        let rows = info.ledger.iter().enumerate().map(|(i, row)| LedgerRow {
            node: row.node.clone(),
            op: row.op.clone(),
            rule: row.rule.clone(),
            operands: row.operands.clone(),
            received: modules::scalar(results, track, i, LedgerEntry::Received),
            passed: modules::scalar(results, track, i, LedgerEntry::Passed),
            absorbed: modules::scalar(results, track, i, LedgerEntry::Absorbed),
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
pub(crate) fn wanted(program: &Program, request: &Request) -> Result<Vec<Output>, RuntimeError> {
    let info = &program.info;
    let all: Vec<&Output> = program.graph.outputs().iter().map(|(output, _)| output).collect();
    let tracks = info.mode.tracks();
    let mut wanted = vec![];
    for track in tracks {
        let explained = info.inputs.iter().filter(|i| i.explained);
        wanted.extend(explained.map(|i| Output::relevance(*track, i.name.as_str())));
    }
    for name in &request.keep {
        if !all.contains(&&Output::relevance(tracks[0], name.as_str())) {
            let known = all.iter().filter_map(|output| tensor(output, tracks[0]));
            let known = known.map(|tensor| tensor.to_string()).collect();
            return Err(RuntimeError::UnknownRelevance { name: name.clone(), known });
        }
        wanted.extend(tracks.iter().map(|track| Output::relevance(*track, name.as_str())));
    }
    let rest = |wanted: &dyn Fn(&Output) -> bool| -> Vec<Output> {
        all.iter().filter(|output| wanted(output)).map(|output| (*output).clone()).collect()
    };
    for track in tracks {
        if request.keep_all {
            wanted.extend(rest(&|output| tensor(output, *track).is_some()));
        }
        wanted.extend(rest(&|output| match output {
            Output::Ledger { track: own, entry, .. } => own == track && modules::is_wanted(*entry, request),
            Output::Model(_)
            | Output::Relevance { .. }
            | Output::Expert { .. }
            | Output::Dimension(_)
            | Output::Baseline(_)
            | Output::SeedValue
            | Output::SeedSign
            | Output::Value(_) => false,
        }));
    }
    if request.experts {
        wanted.extend(rest(&|output| matches!(output, Output::Expert { .. })));
    }
    let mut seen = HashSet::new();
    wanted.retain(|n| seen.insert(n.clone()));
    Ok(wanted)
}

/// The tensor whose relevance on a track an output is; `None` for other outputs.
pub(crate) fn tensor(output: &Output, track: TrackKind) -> Option<&Name> {
    match output {
        Output::Relevance { track: own, tensor } if *own == track => Some(tensor),
        Output::Model(_)
        | Output::Relevance { .. }
        | Output::Ledger { .. }
        | Output::Expert { .. }
        | Output::Dimension(_)
        | Output::Baseline(_)
        | Output::SeedValue
        | Output::SeedSign
        | Output::Value(_) => None,
    }
}
