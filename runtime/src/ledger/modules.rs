//! The ledger of the modules, and the relevance of the attention heads.

use std::collections::{BTreeMap, HashSet};

use dlbc_backend::Outputs;
use dlbc_ops::program::{Info, LedgerEntry, LedgerRowInfo, Output, TrackKind};
use dlbc_ops::tensor::Tensor;

use crate::request::Request;

/// Largest depth of nested modules with rows of their own.
const DEPTH: usize = 64;

/// The balance of relevance at a module: `received = passed + absorbed`.
#[derive(Clone, Debug, PartialEq)]
pub struct ModuleRow {
    /// Path of the module, outermost scope first; empty for the whole model.
    pub scope: Vec<String>,
    /// Number of rule nodes in the module and its submodules.
    pub nodes: usize,
    /// Relevance that the module receives from outside.
    pub received: f64,
    /// Relevance that leaves the module for other modules or the model's inputs.
    pub passed: f64,
    /// Relevance that the nodes of the module and its submodules absorb.
    pub absorbed: f64,
}

impl ModuleRow {
    /// Returns the relevance for which the row fails to account: `received - passed - absorbed`, 0 up to rounding.
    pub fn residual(&self) -> f64 {
        self.received - self.passed - self.absorbed
    }
}

/// The relevance of an attention by head. Heads are those of the queries; a key or value head that several of them share counts
/// in each.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadRow {
    /// Output tensor of the attention.
    pub node: String,
    /// Path of the attention's module, outermost scope first.
    pub scope: Vec<String>,
    /// Relevance that each head receives; it sums to `received` of the attention's row in the ledger.
    pub received: Vec<f64>,
    /// Names of the attention's operands (queries, keys and values, or weights and values), each with the relevance that every
    /// head passes to it.
    pub operands: Vec<(String, Vec<f64>)>,
}

/// Returns the sum of an entry of the ledger; 0 for an entry that the run does not compute.
pub(crate) fn scalar(results: &Outputs, track: TrackKind, row: usize, entry: LedgerEntry) -> f64 {
    results.get(&Output::Ledger { track, row, entry }).map_or(0.0, |t| t.to_f64().iter().sum())
}

/// Returns whether a request needs an entry of the ledger.
pub(crate) fn is_requested(entry: LedgerEntry, request: &Request) -> bool {
    match entry {
        LedgerEntry::PassedTo(_) => request.modules,
        LedgerEntry::HeadsReceived | LedgerEntry::HeadsPassed(_) => request.heads,
        LedgerEntry::Received | LedgerEntry::Passed | LedgerEntry::Absorbed => {
            request.ledger || request.modules
        }
    }
}

/// Returns a row for each module, in the model's order, submodules after their module. Modules that only wrap another are left out.
pub(crate) fn modules(info: &Info, results: &Outputs, track: TrackKind) -> Vec<ModuleRow> {
    // Rows with the position of their first node in the model.
    let mut modules: BTreeMap<&[String], (usize, ModuleRow)> = BTreeMap::new();
    let count = info.ledger.len();
    for (i, row) in info.ledger.iter().enumerate() {
        let sum = |entry: LedgerEntry| scalar(results, track, i, entry);
        let (received, passed, absorbed) =
            (sum(LedgerEntry::Received), sum(LedgerEntry::Passed), sum(LedgerEntry::Absorbed));
        let node_path = path(&row.scope);
        let shares: Vec<f64> = match row.to.len() {
            1 => vec![passed],
            several => (0..several).map(|j| sum(LedgerEntry::PassedTo(j))).collect(),
        };
        for depth in 0..=node_path.len() {
            let scope = &node_path[..depth];
            let empty =
                || ModuleRow { scope: scope.to_vec(), nodes: 0, received: 0.0, passed: 0.0, absorbed: 0.0 };
            let (first, module) = modules.entry(scope).or_insert_with(|| (0, empty()));
            // The ledger runs from the output to the inputs.
            *first = count - i;
            let inside = |to: &Option<Vec<String>>| to.as_ref().is_some_and(|to| path(to).starts_with(scope));
            let internal: f64 = row.to.iter().zip(&shares).filter(|(to, _)| inside(to)).map(|(_, s)| s).sum();
            module.nodes += 1;
            module.received += received;
            module.passed += passed - internal;
            module.absorbed += absorbed;
        }
        // Relevance that stays inside a module is received by its nodes, but not by the module.
        for (to, share) in row.to.iter().zip(&shares) {
            let Some(to) = to else { continue };
            let common = node_path.iter().zip(path(to)).take_while(|(a, b)| a == b).count();
            for depth in 0..=common {
                if let Some((_, module)) = modules.get_mut(&node_path[..depth]) {
                    module.received -= share;
                }
            }
        }
    }
    // A module with as many nodes as one of its submodules only wraps it.
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

/// Cuts a path at [`DEPTH`].
fn path(scope: &[String]) -> &[String] {
    &scope[..scope.len().min(DEPTH)]
}

/// Returns the rows of all attentions, in the model's order.
pub(crate) fn heads(info: &Info, results: &Outputs, track: TrackKind) -> Vec<HeadRow> {
    let head_row = |i: usize, row: &LedgerRowInfo| {
        let values =
            |entry: LedgerEntry| results.get(&Output::Ledger { track, row: i, entry }).map(Tensor::to_f64);
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
    let mut rows: Vec<HeadRow> =
        info.ledger.iter().enumerate().filter_map(|(i, row)| head_row(i, row)).collect();
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
    fn relevance_that_stays_inside_a_module_is_not_received_by_it() {
        // 100 → head (absorbs 10) → add → 60 through the block's two layers (the second absorbs 5, the first 15), 30 around.
        let audit = vec![
            row("head", "m/head", &[Some("m/block")]),
            row("add", "m/block", &[Some("m/block/second"), None]),
            row("second", "m/block/second", &[Some("m/block/first")]),
            row("first", "m/block/first", &[None]),
        ];
        let info = Info { ledger: audit, ..Info::default() };
        let ledger = [(100.0, 90.0, 10.0), (90.0, 90.0, 0.0), (60.0, 55.0, 5.0), (55.0, 40.0, 15.0)];
        let mut results = Outputs::new();
        let track = TrackKind::Single;
        for (i, (received, passed, absorbed)) in ledger.into_iter().enumerate() {
            for (entry, v) in [
                (LedgerEntry::Received, received),
                (LedgerEntry::Passed, passed),
                (LedgerEntry::Absorbed, absorbed),
            ] {
                results.insert(Output::Ledger { track, row: i, entry }, Tensor::scalar(v));
            }
        }
        for (j, v) in [60.0, 30.0].into_iter().enumerate() {
            results
                .insert(Output::Ledger { track, row: 1, entry: LedgerEntry::PassedTo(j) }, Tensor::scalar(v));
        }
        let rows = modules(&info, &results, track);
        let sums: Vec<(String, usize, [f64; 3])> =
            rows.iter().map(|r| (r.scope.join("/"), r.nodes, [r.received, r.passed, r.absorbed])).collect();
        let expected = [
            ("", 4, [100.0, 70.0, 30.0]),
            ("m/block", 3, [90.0, 70.0, 20.0]),
            ("m/block/first", 1, [55.0, 40.0, 15.0]),
            ("m/block/second", 1, [60.0, 55.0, 5.0]),
            ("m/head", 1, [100.0, 90.0, 10.0]),
        ];
        assert_eq!(sums, expected.map(|(scope, nodes, sums)| (scope.to_string(), nodes, sums)));
    }
}
