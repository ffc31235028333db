//! Outputs of programs, and their names in artifacts and printed graphs.

use std::fmt;
use std::sync::Arc;

use super::track::{Mode, TrackKind};

/// Name of a tensor or dimension symbol. Clones share the text.
pub type Name = Arc<str>;

/// Entry of a ledger row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LedgerEntry {
    /// Relevance that the node received, a scalar.
    Received,
    /// Relevance that the node passed to its operands, a scalar.
    Passed,
    /// Relevance that biases and constants absorbed, a scalar.
    Absorbed,
    /// Relevance that the node passed to the module of this index in [`LedgerRowInfo::to`](super::LedgerRowInfo::to), a
    /// scalar. Exists only if there are several modules.
    PassedTo(usize),
    /// Relevance that an attention received by head, `[head]`.
    HeadsReceived,
    /// Relevance that an attention passed to the operand of this index in
    /// [`LedgerRowInfo::operands`](super::LedgerRowInfo::operands), `[head]`.
    HeadsPassed(usize),
}

/// Entry of a mixture-of-experts layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ExpertEntry {
    /// Relevance that each expert received, `[expert]`.
    Relevance,
    /// Number of tokens that were routed to each expert, `[expert]`.
    Tokens,
    /// Relevance that the layer received, a scalar.
    Received,
}

impl ExpertEntry {
    /// All entries, in the order in which programs list them.
    pub const ALL: [ExpertEntry; 3] = [ExpertEntry::Relevance, ExpertEntry::Tokens, ExpertEntry::Received];

    fn word(self) -> &'static str {
        match self {
            ExpertEntry::Relevance => "relevance",
            ExpertEntry::Tokens => "tokens",
            ExpertEntry::Received => "received",
        }
    }
}

/// Entry of an ensemble of trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TreesEntry {
    /// Rows that the ensemble reads, `[row, feature]`.
    Rows,
    /// Leaves that the rows reach, int64 `[row, tree]`.
    Leaves,
    /// Rows of a background as the ensemble reads them, a constant `[row, feature]`. Absent unless the program holds one.
    Background,
    /// Numbers of rows of the training that reach each branch and then each leaf, a constant `[branch + leaf]`. Absent unless the
    /// model file has them.
    Covers,
}

impl TreesEntry {
    /// All entries.
    pub const ALL: [TreesEntry; 4] =
        [TreesEntry::Rows, TreesEntry::Leaves, TreesEntry::Background, TreesEntry::Covers];

    /// Returns the output of this entry of an ensemble.
    pub fn of(self, ensemble: usize) -> Output {
        Output::Trees { ensemble, entry: self }
    }

    fn word(self) -> &'static str {
        match self {
            TreesEntry::Rows => "rows",
            TreesEntry::Leaves => "leaves",
            TreesEntry::Background => "background",
            TreesEntry::Covers => "covers",
        }
    }
}

/// Output of a program. Its text form is the name in artifacts and printed graphs; [`Output::parse`] reads it back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Output {
    /// Model output: `output/NAME`.
    Model(Name),
    /// Relevance of a tensor, of the tensor's shape: `relevance/NAME`; in contrastive mode `relevance_pos/NAME` and
    /// `relevance_neg/NAME`.
    Relevance {
        /// Track of the relevance.
        track: TrackKind,
        /// Name of an input or intermediate tensor of the model.
        tensor: Name,
    },
    /// Entry of the ledger: `audit/ROW/in`, `audit/ROW/out`, `audit/ROW/absorbed`, `audit/ROW/to/I`,
    /// `audit/ROW/heads/in`, `audit/ROW/heads/I`; for the opposing track `audit_neg/…`.
    Ledger {
        /// Track of the relevance.
        track: TrackKind,
        /// Index of the row in [`Info::ledger`](super::Info::ledger).
        row: usize,
        /// Entry of the row.
        entry: LedgerEntry,
    },
    /// Entry of a mixture-of-experts layer: `experts/LAYER/relevance`, `experts/LAYER/tokens`,
    /// `experts/LAYER/received`.
    Expert {
        /// Index of the layer in [`Info::experts`](super::Info::experts).
        layer: usize,
        /// Entry of the layer.
        entry: ExpertEntry,
    },
    /// Size of a data-dependent dimension, int64 of one element: `dim/SYMBOL`.
    Dimension(Name),
    /// Input that the model's own normalisation maps to 0, of the shape of the named input: `baseline/NAME`. Used by
    /// integrated gradients.
    Baseline(Name),
    /// Values that determine the sign of the seed and the weights of a difference, of the explained output's shape:
    /// `start/value`. Absent if these are the values of the explained output itself.
    SeedValue,
    /// Values whose signs the seed takes, of the explained output's shape: `start/sign`. Absent if these are the same
    /// as [`Output::SeedValue`].
    SeedSign,
    /// Entry of an ensemble of trees: `trees/INDEX/rows`, `trees/INDEX/leaves`, `trees/INDEX/background`, `trees/INDEX/covers`.
    Trees {
        /// Index of the ensemble in [`TreesInfo::ensembles`](super::TreesInfo::ensembles).
        ensemble: usize,
        /// Entry of the ensemble.
        entry: TreesEntry,
    },
    /// Intermediate value that one part of a program passes to the next, by its name. Does not occur in artifacts.
    Value(Name),
}

impl Output {
    /// Creates [`Output::Relevance`] of a tensor.
    pub fn relevance(track: TrackKind, tensor: impl Into<Name>) -> Output {
        Output::Relevance { track, tensor: tensor.into() }
    }

    /// Creates [`Output::Value`].
    pub fn value(name: impl Into<Name>) -> Output {
        Output::Value(name.into())
    }

    /// Parses the name of an output of a program in this mode; `None` if no output has this name.
    pub fn parse(name: &str, mode: Mode) -> Option<Output> {
        let (kind, rest) = name.split_once('/')?;
        let track = |prefix: fn(TrackKind) -> &'static str| {
            mode.tracks().iter().copied().find(|track| prefix(*track).strip_suffix('/') == Some(kind))
        };
        match (kind, rest) {
            ("output", name) => return Some(Output::Model(name.into())),
            ("dim", symbol) => return Some(Output::Dimension(symbol.into())),
            ("baseline", input) => return Some(Output::Baseline(input.into())),
            ("start", "value") => return Some(Output::SeedValue),
            ("start", "sign") => return Some(Output::SeedSign),
            ("trees", rest) => {
                let (ensemble, word) = rest.split_once('/')?;
                let entry = TreesEntry::ALL.into_iter().find(|entry| entry.word() == word)?;
                return Some(entry.of(ensemble.parse().ok()?));
            }
            ("experts", rest) => {
                let (layer, word) = rest.split_once('/')?;
                let entry = ExpertEntry::ALL.into_iter().find(|entry| entry.word() == word)?;
                return Some(Output::Expert { layer: layer.parse().ok()?, entry });
            }
            (_, _) => {}
        }
        if let Some(track) = track(TrackKind::relevance) {
            return Some(Output::relevance(track, rest));
        }
        let track = track(TrackKind::ledger)?;
        let (row, entry) = rest.split_once('/')?;
        Some(Output::Ledger { track, row: row.parse().ok()?, entry: LedgerEntry::parse(entry)? })
    }
}

impl LedgerEntry {
    fn parse(text: &str) -> Option<LedgerEntry> {
        match text {
            "in" => Some(LedgerEntry::Received),
            "out" => Some(LedgerEntry::Passed),
            "absorbed" => Some(LedgerEntry::Absorbed),
            "heads/in" => Some(LedgerEntry::HeadsReceived),
            indexed => match indexed.split_once('/')? {
                ("to", i) => Some(LedgerEntry::PassedTo(i.parse().ok()?)),
                ("heads", i) => Some(LedgerEntry::HeadsPassed(i.parse().ok()?)),
                (_, _) => None,
            },
        }
    }
}

impl TrackKind {
    /// Returns the prefix of [`Output::Relevance`] names, which precedes the tensor's name.
    pub fn relevance(self) -> &'static str {
        match self {
            TrackKind::Single => "relevance/",
            TrackKind::Supporting => "relevance_pos/",
            TrackKind::Opposing => "relevance_neg/",
        }
    }

    /// Returns the prefix of [`Output::Ledger`] names, which precedes the row's index.
    pub fn ledger(self) -> &'static str {
        match self {
            TrackKind::Single | TrackKind::Supporting => "audit/",
            TrackKind::Opposing => "audit_neg/",
        }
    }
}

impl fmt::Display for LedgerEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LedgerEntry::Received => f.write_str("in"),
            LedgerEntry::Passed => f.write_str("out"),
            LedgerEntry::Absorbed => f.write_str("absorbed"),
            LedgerEntry::PassedTo(i) => write!(f, "to/{i}"),
            LedgerEntry::HeadsReceived => f.write_str("heads/in"),
            LedgerEntry::HeadsPassed(i) => write!(f, "heads/{i}"),
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Model(name) => write!(f, "output/{name}"),
            Output::Relevance { track, tensor } => write!(f, "{}{tensor}", track.relevance()),
            Output::Ledger { track, row, entry } => write!(f, "{}{row}/{entry}", track.ledger()),
            Output::Expert { layer, entry } => write!(f, "experts/{layer}/{}", entry.word()),
            Output::Dimension(symbol) => write!(f, "dim/{symbol}"),
            Output::Baseline(input) => write!(f, "baseline/{input}"),
            Output::SeedValue => f.write_str("start/value"),
            Output::SeedSign => f.write_str("start/sign"),
            Output::Trees { ensemble, entry } => write!(f, "trees/{ensemble}/{}", entry.word()),
            Output::Value(name) => f.write_str(name),
        }
    }
}

/// Creates [`Output::Model`].
impl From<&str> for Output {
    fn from(name: &str) -> Output {
        Output::Model(name.into())
    }
}

/// Creates [`Output::Model`].
impl From<&String> for Output {
    fn from(name: &String) -> Output {
        Output::Model(name.as_str().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_output_reads_back_from_its_text() {
        for mode in [Mode::Default, Mode::Contrastive] {
            let mut outputs = vec![
                Output::Model("a/b".into()),
                Output::Dimension("n_1".into()),
                Output::Baseline("x:0".into()),
                Output::SeedValue,
                Output::SeedSign,
            ];
            outputs.extend(TreesEntry::ALL.map(|entry| entry.of(2)));
            outputs.extend(ExpertEntry::ALL.map(|entry| Output::Expert { layer: 3, entry }));
            for track in mode.tracks().iter().copied() {
                outputs.push(Output::relevance(track, "layer/output/x"));
                let entries = [
                    LedgerEntry::Received,
                    LedgerEntry::Passed,
                    LedgerEntry::Absorbed,
                    LedgerEntry::PassedTo(0),
                    LedgerEntry::PassedTo(12),
                ];
                let heads =
                    [LedgerEntry::HeadsReceived, LedgerEntry::HeadsPassed(0), LedgerEntry::HeadsPassed(2)];
                let all = entries.into_iter().chain(heads);
                outputs.extend(all.map(|entry| Output::Ledger { track, row: 7, entry }));
            }
            for output in outputs {
                assert_eq!(Output::parse(&output.to_string(), mode), Some(output));
            }
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in
            ["", "x", "relevance", "audit/x/in", "audit/1", "audit/1/sum", "experts/0/all", "start/end"]
        {
            assert_eq!(Output::parse(name, Mode::Default), None, "{name}");
        }
        assert_eq!(Output::parse("relevance/x", Mode::Contrastive), None);
        assert_eq!(Output::parse("relevance_neg/x", Mode::Default), None);
        assert_eq!(Output::parse("audit_neg/1/in", Mode::Default), None);
    }
}
