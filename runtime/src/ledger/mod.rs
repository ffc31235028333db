//! Ledgers of relevance: by rule node, by module, by attention head and by expert.

pub(crate) mod expert_relevance;
pub(crate) mod modules;

use std::collections::HashSet;
use std::ops::Deref;

use dlbc_backend::Outputs;
use dlbc_ops::program::{Info, LedgerEntry, Name, Output, Program, TrackKind};

use crate::error::RuntimeError;
use crate::request::Request;

/// The balance of relevance at every rule node, from the output to the inputs. Derefs to its rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger(Vec<LedgerRow>);

impl Ledger {
    /// Reads the ledger of a track from the results of a reverse.
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

    /// Creates a ledger of these rows.
    pub(crate) fn of_rows(rows: Vec<LedgerRow>) -> Ledger {
        Ledger(rows)
    }

    /// Returns the relevance that all nodes absorb together.
    pub fn total_absorbed(&self) -> f64 {
        self.iter().map(|row| row.absorbed).sum()
    }

    /// Returns the largest magnitude of a residual; 0 for an empty ledger, NaN if a residual is NaN.
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

/// The balance of relevance at a rule node: `received = passed + absorbed`.
#[derive(Clone, Debug, PartialEq)]
pub struct LedgerRow {
    /// Output tensor of the forward node.
    pub node: String,
    /// Operator of the forward node, with its attributes.
    pub op: String,
    /// Rule that distributes the relevance, with its parameters.
    pub rule: String,
    /// Names of the operand tensors that receive relevance.
    pub operands: Vec<String>,
    /// Relevance that reaches the node's output.
    pub received: f64,
    /// Relevance that the node passes on to its operands.
    pub passed: f64,
    /// Relevance that biases, constants and elements without contributions absorb.
    pub absorbed: f64,
}

impl LedgerRow {
    /// Returns the relevance for which the row fails to account: `received - passed - absorbed`, 0 up to rounding.
    pub fn residual(&self) -> f64 {
        self.received - self.passed - self.absorbed
    }
}

/// Returns the program's reverse outputs that a request needs, without duplicates.
///
/// # Errors
/// When the request names a tensor whose relevance the program does not compute.
pub(crate) fn requested_outputs(program: &Program, request: &Request) -> Result<Vec<Output>, RuntimeError> {
    let info = &program.info;
    let all: Vec<&Output> = program.graph.outputs().iter().map(|(output, _)| output).collect();
    let tracks = info.mode.tracks();
    let mut requested = vec![];
    for track in tracks {
        let explained = info.inputs.iter().filter(|i| i.explained);
        requested.extend(explained.map(|i| Output::relevance(*track, i.name.as_str())));
    }
    for name in &request.keep {
        if !all.contains(&&Output::relevance(tracks[0], name.as_str())) {
            let known = all.iter().filter_map(|output| relevance_tensor(output, tracks[0]));
            let known = known.map(|tensor| tensor.to_string()).collect();
            return Err(RuntimeError::UnknownRelevance { name: name.clone(), known });
        }
        requested.extend(tracks.iter().map(|track| Output::relevance(*track, name.as_str())));
    }
    let matching = |predicate: &dyn Fn(&Output) -> bool| -> Vec<Output> {
        all.iter().filter(|output| predicate(output)).map(|output| (*output).clone()).collect()
    };
    for track in tracks {
        if request.keep_all {
            requested.extend(matching(&|output| relevance_tensor(output, *track).is_some()));
        }
        requested.extend(matching(&|output| match output {
            Output::Ledger { track: other, entry, .. } => {
                other == track && modules::is_requested(*entry, request)
            }
            Output::Model(_)
            | Output::Relevance { .. }
            | Output::Expert { .. }
            | Output::Dimension(_)
            | Output::Baseline(_)
            | Output::SeedValue
            | Output::SeedSign
            | Output::Trees { .. }
            | Output::Value(_) => false,
        }));
    }
    if request.experts {
        requested.extend(matching(&|output| matches!(output, Output::Expert { .. })));
    }
    let mut seen = HashSet::new();
    requested.retain(|n| seen.insert(n.clone()));
    Ok(requested)
}

/// Returns the tensor whose relevance on a track the output is; `None` for other outputs.
pub(crate) fn relevance_tensor(output: &Output, track: TrackKind) -> Option<&Name> {
    match output {
        Output::Relevance { track: other, tensor } if *other == track => Some(tensor),
        Output::Model(_)
        | Output::Relevance { .. }
        | Output::Ledger { .. }
        | Output::Expert { .. }
        | Output::Dimension(_)
        | Output::Baseline(_)
        | Output::SeedValue
        | Output::SeedSign
        | Output::Trees { .. }
        | Output::Value(_) => None,
    }
}
