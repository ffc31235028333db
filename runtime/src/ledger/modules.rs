//! The ledger by module, and the relevance of each head of the attentions.

use std::collections::{BTreeMap, HashSet};

use dlbc_backend::Outputs;
use dlbc_ops::program::{Info, LedgerEntry, LedgerRowInfo, Output, TrackKind};
use dlbc_ops::tensor::Tensor;

use crate::request::Request;

/// Modules inside each other that are told apart.
const DEPTH: usize = 64;

/// What a module did with relevance: `received = passed + absorbed`.
#[derive(Clone, Debug, PartialEq)]
pub struct ModuleRow {
    /// The path of the module, outermost first; empty for the whole model.
    pub scope: Vec<String>,
    /// Rule nodes in it.
    pub nodes: usize,
    /// Relevance that came into it from outside.
    pub received: f64,
    /// Relevance that left it, for other modules or for the model's inputs.
    pub passed: f64,
    /// Relevance that its nodes kept. Those of its parts, and of its own nodes, add up to it.
    pub absorbed: f64,
}

impl ModuleRow {
    /// What the row fails to account for.
    pub fn residual(&self) -> f64 {
        self.received - self.passed - self.absorbed
    }
}

/// The relevance of an attention by head. A head is one of the queries; keys and values that several heads share count in
/// each of them.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadRow {
    /// The attention's output tensor.
    pub node: String,
    /// The path of its module.
    pub scope: Vec<String>,
    /// What each head received. The sum is what the attention's row of the ledger received.
    pub received: Vec<f64>,
    /// What each head passed to the attention's operands: queries, keys, values, or weights and values, by tensor name.
    pub operands: Vec<(String, Vec<f64>)>,
}

/// Sum of an entry of the ledger; 0 for one that the run does not have.
pub(crate) fn scalar(made: &Outputs, track: TrackKind, row: usize, entry: LedgerEntry) -> f64 {
    made.get(&Output::Ledger { track, row, entry }).map_or(0.0, |t| t.to_f64().iter().sum())
}

/// True for an entry of the ledger that a request needs.
pub(crate) fn is_wanted(entry: LedgerEntry, request: &Request) -> bool {
    match entry {
        LedgerEntry::PassedTo(_) => request.modules,
        LedgerEntry::HeadsReceived | LedgerEntry::HeadsPassed(_) => request.heads,
        LedgerEntry::Received | LedgerEntry::Passed | LedgerEntry::Absorbed => {
            request.ledger || request.modules
        }
    }
}

/// A row of each module, parts after what they are part of, in the model's order.
pub(crate) fn modules(info: &Info, made: &Outputs, track: TrackKind) -> Vec<ModuleRow> {
    let mut modules: BTreeMap<&[String], (usize, ModuleRow)> = BTreeMap::new();
    let count = info.ledger.len();
    for (i, row) in info.ledger.iter().enumerate() {
        let of = |entry: LedgerEntry| scalar(made, track, i, entry);
        let (received, passed, absorbed) =
            (of(LedgerEntry::Received), of(LedgerEntry::Passed), of(LedgerEntry::Absorbed));
        let own = path(&row.scope);
        let shares: Vec<f64> = match row.to.len() {
            1 => vec![passed],
            several => (0..several).map(|j| of(LedgerEntry::PassedTo(j))).collect(),
        };
        for depth in 0..=own.len() {
            let scope = &own[..depth];
            let empty =
                || ModuleRow { scope: scope.to_vec(), nodes: 0, received: 0.0, passed: 0.0, absorbed: 0.0 };
            let (first, module) = modules.entry(scope).or_insert_with(|| (0, empty()));
            // The ledger runs from the output to the inputs.
            *first = count - i;
            let inside = |to: &Option<Vec<String>>| to.as_ref().is_some_and(|to| path(to).starts_with(scope));
            let kept: f64 = row.to.iter().zip(&shares).filter(|(to, _)| inside(to)).map(|(_, s)| s).sum();
            module.nodes += 1;
            module.received += received;
            module.passed += passed - kept;
            module.absorbed += absorbed;
        }
        // What stays inside a module is received there and was not received by it.
        for (to, share) in row.to.iter().zip(&shares) {
            let Some(to) = to else { continue };
            let common = own.iter().zip(path(to)).take_while(|(a, b)| a == b).count();
            for depth in 0..=common {
                if let Some((_, module)) = modules.get_mut(&own[..depth]) {
                    module.received -= share;
                }
            }
        }
    }
    // Not those that only wrap another.
    let nodes = |scope: &[String]| modules.get(scope).map_or(0, |(_, m)| m.nodes);
    let inner = modules.iter().filter_map(|(scope, (_, m))| {
        let (_, outer) = scope.split_last()?;
        (nodes(outer) == m.nodes).then_some(outer)
    });
    let wraps: HashSet<&[String]> = inner.collect();
    let all = nodes(&[]);
    let order = |scope: &[String]| -> Vec<usize> {
        (1..=scope.len()).map(|depth| modules.get(&scope[..depth]).map_or(0, |m| m.0)).collect()
    };
    let mut rows: Vec<(Vec<usize>, ModuleRow)> = modules
        .iter()
        .filter(|(scope, (_, m))| scope.is_empty() || (m.nodes < all && !wraps.contains(*scope)))
        .map(|(scope, (_, module))| (order(scope), module.clone()))
        .collect();
    rows.sort_by(|(a, _), (b, _)| a.cmp(b));
    rows.into_iter().map(|(_, row)| row).collect()
}

fn path(scope: &[String]) -> &[String] {
    &scope[..scope.len().min(DEPTH)]
}

/// The heads of each attention, in the model's order.
pub(crate) fn heads(info: &Info, made: &Outputs, track: TrackKind) -> Vec<HeadRow> {
    let of = |i: usize, row: &LedgerRowInfo| {
        let values =
            |entry: LedgerEntry| made.get(&Output::Ledger { track, row: i, entry }).map(Tensor::to_f64);
        let received = values(LedgerEntry::HeadsReceived)?;
        let operands = row.operands.iter().enumerate();
        let operands =
            operands.filter_map(|(k, name)| Some((name.clone(), values(LedgerEntry::HeadsPassed(k))?)));
        Some(HeadRow {
            node: row.node.clone(),
            scope: row.scope.clone(),
            received,
            operands: operands.collect(),
        })
    };
    let mut rows: Vec<HeadRow> = info.ledger.iter().enumerate().filter_map(|(i, row)| of(i, row)).collect();
    rows.reverse();
    rows
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn row(node: &str, scope: &str, to: &[Option<&str>]) -> LedgerRowInfo {
        let path = |s: &str| s.split('/').filter(|p| !p.is_empty()).map(String::from).collect::<Vec<_>>();
        LedgerRowInfo {
            node: node.into(),
            op: String::new(),
            rule: String::new(),
            operands: vec![],
            scope: path(scope),
            to: to.iter().map(|t| t.map(path)).collect(),
        }
    }

    #[test]
    fn what_stays_inside_a_module_is_not_received_by_it() {
        // 100 → head (keeps 10) → add → 60 through the block's two layers (the second keeps 5, the first 15), 30 around.
        let audit = vec![
            row("head", "m/head", &[Some("m/block")]),
            row("add", "m/block", &[Some("m/block/second"), None]),
            row("second", "m/block/second", &[Some("m/block/first")]),
            row("first", "m/block/first", &[None]),
        ];
        let info = Info { ledger: audit, ..Info::default() };
        let books = [(100.0, 90.0, 10.0), (90.0, 90.0, 0.0), (60.0, 55.0, 5.0), (55.0, 40.0, 15.0)];
        let mut made = Outputs::new();
        let track = TrackKind::Single;
        for (i, (received, passed, absorbed)) in books.into_iter().enumerate() {
            for (entry, v) in [
                (LedgerEntry::Received, received),
                (LedgerEntry::Passed, passed),
                (LedgerEntry::Absorbed, absorbed),
            ] {
                made.insert(Output::Ledger { track, row: i, entry }, Tensor::scalar(v));
            }
        }
        for (j, v) in [60.0, 30.0].into_iter().enumerate() {
            made.insert(Output::Ledger { track, row: 1, entry: LedgerEntry::PassedTo(j) }, Tensor::scalar(v));
        }
        let rows = modules(&info, &made, track);
        let found: Vec<(String, usize, [f64; 3])> =
            rows.iter().map(|r| (r.scope.join("/"), r.nodes, [r.received, r.passed, r.absorbed])).collect();
        let expected = [
            ("", 4, [100.0, 70.0, 30.0]),
            ("m/block", 3, [90.0, 70.0, 20.0]),
            ("m/block/first", 1, [55.0, 40.0, 15.0]),
            ("m/block/second", 1, [60.0, 55.0, 5.0]),
            ("m/head", 1, [100.0, 90.0, 10.0]),
        ];
        assert_eq!(found, expected.map(|(scope, nodes, sums)| (scope.to_string(), nodes, sums)));
    }
}
