//! Outputs of a program, and their names in artifacts and printed graphs.

use std::fmt;
use std::sync::Arc;

use super::track::{Mode, TrackKind};

/// Name of a tensor or of a dimension; clones share it.
pub type Name = Arc<str>;

/// An entry of a row of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entry {
    /// Relevance that came in: a scalar.
    Received,
    /// Relevance that went on to operands: a scalar.
    Passed,
    /// Relevance that biases and constants kept: a scalar.
    Absorbed,
    /// Relevance that went to the module of this index in [`AuditRow::to`](super::AuditRow::to), where there are several: a scalar.
    To(usize),
    /// Relevance that an attention received, `[head]`.
    HeadsReceived,
    /// Relevance that an attention passed to the operand of this index in [`AuditRow::operands`](super::AuditRow::operands), `[head]`.
    HeadsOf(usize),
}

/// An entry of a layer of experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ExpertEntry {
    /// Relevance that went to each expert, `[expert]`.
    Relevance,
    /// Number of tokens that each expert had, `[expert]`.
    Tokens,
    /// Relevance that the layer received: a scalar.
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

/// An output of a program. The text form is its name in artifacts and printed graphs; [`Output::parse`] reads it back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Output {
    /// A model output, by its name: `output/NAME`.
    Model(Name),
    /// Relevance of a tensor, of the tensor's shape: `relevance/NAME`, in contrastive mode `relevance_pos/NAME` and
    /// `relevance_neg/NAME`.
    Relevance {
        /// The track.
        track: TrackKind,
        /// Name of the tensor: an input or an intermediate of the model.
        tensor: Name,
    },
    /// An entry of the ledger: `audit/ROW/in`, `audit/ROW/out`, `audit/ROW/absorbed`, `audit/ROW/to/I`,
    /// `audit/ROW/heads/in`, `audit/ROW/heads/I`; of the opposing track `audit_neg/…`.
    Ledger {
        /// The track.
        track: TrackKind,
        /// Index of the row in [`Info::audit`](super::Info::audit).
        row: usize,
        /// The entry of the row.
        entry: Entry,
    },
    /// An entry of a layer of experts: `experts/LAYER/relevance`, `experts/LAYER/tokens`, `experts/LAYER/received`.
    Expert {
        /// Index of the layer in [`Info::experts`](super::Info::experts).
        layer: usize,
        /// The entry of the layer.
        entry: ExpertEntry,
    },
    /// A data-dependent dimension, int64 of one element, by its symbol: `dim/SYMBOL`.
    Dimension(Name),
    /// The input that the model's own normalisation maps to 0, of the shape of the input of this name: `baseline/NAME`. For
    /// integrated gradients.
    Baseline(Name),
    /// The values that decide the sign of the start and the weights of a difference, of the explained output's shape:
    /// `start/value`. Absent where these are the output's own values.
    StartValue,
    /// The values whose signs the start has, of the explained output's shape, where they are others: `start/sign`.
    StartSign,
    /// An intermediate value that a part of a program hands to the next part, by its name. No artifact has one.
    Value(Name),
}

impl Output {
    /// Relevance of a tensor on a track.
    pub fn relevance(track: TrackKind, tensor: impl Into<Name>) -> Output {
        Output::Relevance { track, tensor: tensor.into() }
    }

    /// An intermediate value.
    pub fn value(name: impl Into<Name>) -> Output {
        Output::Value(name.into())
    }

    /// Reads the name of an output of a program of this mode; `None` for a name that no output has.
    pub fn parse(name: &str, mode: Mode) -> Option<Output> {
        let (kind, rest) = name.split_once('/')?;
        let track = |spelled: fn(TrackKind) -> &'static str| {
            mode.tracks().iter().copied().find(|track| spelled(*track).strip_suffix('/') == Some(kind))
        };
        match (kind, rest) {
            ("output", name) => return Some(Output::Model(name.into())),
            ("dim", symbol) => return Some(Output::Dimension(symbol.into())),
            ("baseline", input) => return Some(Output::Baseline(input.into())),
            ("start", "value") => return Some(Output::StartValue),
            ("start", "sign") => return Some(Output::StartSign),
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
        Some(Output::Ledger { track, row: row.parse().ok()?, entry: Entry::parse(entry)? })
    }
}

impl Entry {
    fn parse(text: &str) -> Option<Entry> {
        match text {
            "in" => Some(Entry::Received),
            "out" => Some(Entry::Passed),
            "absorbed" => Some(Entry::Absorbed),
            "heads/in" => Some(Entry::HeadsReceived),
            indexed => match indexed.split_once('/')? {
                ("to", i) => Some(Entry::To(i.parse().ok()?)),
                ("heads", i) => Some(Entry::HeadsOf(i.parse().ok()?)),
                (_, _) => None,
            },
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Received => f.write_str("in"),
            Entry::Passed => f.write_str("out"),
            Entry::Absorbed => f.write_str("absorbed"),
            Entry::To(i) => write!(f, "to/{i}"),
            Entry::HeadsReceived => f.write_str("heads/in"),
            Entry::HeadsOf(i) => write!(f, "heads/{i}"),
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
            Output::StartValue => f.write_str("start/value"),
            Output::StartSign => f.write_str("start/sign"),
            Output::Value(name) => f.write_str(name),
        }
    }
}

/// A model output.
impl From<&str> for Output {
    fn from(name: &str) -> Output {
        Output::Model(name.into())
    }
}

/// A model output.
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
                Output::StartValue,
                Output::StartSign,
            ];
            outputs.extend(ExpertEntry::ALL.map(|entry| Output::Expert { layer: 3, entry }));
            for track in mode.tracks().iter().copied() {
                outputs.push(Output::relevance(track, "layer/output/x"));
                let entries = [Entry::Received, Entry::Passed, Entry::Absorbed, Entry::To(0), Entry::To(12)];
                let heads = [Entry::HeadsReceived, Entry::HeadsOf(0), Entry::HeadsOf(2)];
                let all = entries.into_iter().chain(heads);
                outputs.extend(all.map(|entry| Output::Ledger { track, row: 7, entry }));
            }
            for output in outputs {
                assert_eq!(Output::parse(&output.to_string(), mode), Some(output));
            }
        }
    }

    #[test]
    fn other_names_are_no_outputs() {
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
