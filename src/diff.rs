//! `dlbc diff`: how far two results agree, tensor by tensor.

use std::fmt::Write;

use dlbc_ops::tensor::Tensor;
use serde::Serialize;

use crate::args::DiffArgs;
use crate::exit::{Code, failure, invalid};
use crate::input::result;
use crate::statistics::{correlation, ranks};
use crate::terminal::{Align, Table, json_text, number, print, visible};

/// Whether a key of a result names relevance, of any target and track.
fn is_relevance(key: &str) -> bool {
    let own = ["relevance/", "relevance_pos/", "relevance_neg/"];
    // `target/T/relevance/NAME`.
    let of_target = key.strip_prefix("target/").and_then(|rest| rest.split_once('/')).map(|(_, rest)| rest);
    own.iter().any(|prefix| of_target.unwrap_or(key).starts_with(prefix))
}

/// What a tensor is called: its name, with the target and track where they are not those of every result.
fn title(key: &str) -> String {
    key.strip_prefix("relevance/").unwrap_or(key).to_string()
}

/// What both results have of a tensor.
#[derive(Debug, Serialize)]
struct Compared {
    tensor: String,
    /// Spearman's rank correlation.
    rank: f64,
    cosine: f64,
    /// `Σ|a - b| / Σ|a|`.
    l1: f64,
    /// The share of the greatest elements of the first that are among the greatest of the second.
    overlap: f64,
    /// The elements that differ most.
    moves: Vec<Move>,
}

/// An element in both.
#[derive(Debug, Serialize)]
struct Move {
    index: Vec<usize>,
    before: f64,
    after: f64,
}

#[derive(Serialize)]
struct Difference {
    tensors: Vec<Compared>,
    /// In the first result alone.
    only_first: Vec<String>,
    /// In the second result alone.
    only_second: Vec<String>,
    /// What misses a bound.
    failed: Vec<String>,
}

/// Compares two results.
///
/// # Errors
/// For files that are no results, results without a common tensor, and, with exit code 6, a bound that is missed.
pub fn diff(args: &DiffArgs) -> anyhow::Result<()> {
    let read = |path| result::read(path, is_relevance, args.limits.tensor_bytes());
    let (first, second) = (read(&args.first)?, read(&args.second)?);
    let mut difference =
        Difference { tensors: vec![], only_first: vec![], only_second: vec![], failed: vec![] };
    for (name, a) in &first {
        let title = title(name);
        match second.get(name) {
            Some(b) if b.dims() == a.dims() => {
                difference.tensors.push(compare(title, a, b, args.top, args.moves))
            }
            Some(b) => {
                let shapes =
                    format!("`{}`: shapes {:?} and {:?} differ", visible(&title), a.dims(), b.dims());
                return Err(invalid(shapes));
            }
            None => difference.only_first.push(title),
        }
    }
    let alone = second.keys().filter(|name| !first.contains_key(*name));
    difference.only_second.extend(alone.map(|n| title(n)));
    if difference.tensors.is_empty() {
        return Err(invalid("the results have no relevance of the same tensor"));
    }
    for c in &difference.tensors {
        for (what, found, bound) in [
            ("rank correlation", c.rank, args.min_rank),
            ("cosine", c.cosine, args.min_cosine),
            ("overlap", c.overlap, args.min_overlap),
        ] {
            if let Some(bound) = bound.filter(|bound| found.is_nan() || found < *bound) {
                let message = format!("`{}`: {what} {found:.4} is below {bound}", visible(&c.tensor));
                difference.failed.push(message);
            }
        }
        if let Some(bound) = args.max_l1.filter(|bound| c.l1.is_nan() || c.l1 > *bound) {
            difference.failed.push(format!(
                "`{}`: relative L1 {:.4e} is above {bound}",
                visible(&c.tensor),
                c.l1
            ));
        }
    }
    print(&if args.json { json_text(&difference)? + "\n" } else { text(&difference) })?;
    match difference.failed.as_slice() {
        [] => Ok(()),
        failed => {
            let more = failed.len().saturating_sub(LISTED);
            let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
            Err(failure(Code::Gate, failed[..failed.len() - more].join("; ") + &rest))
        }
    }
}

/// Tensors whose moves are listed, and bounds whose misses are named.
const LISTED: usize = 10;

fn compare(tensor: String, a: &Tensor, b: &Tensor, top: usize, moves: usize) -> Compared {
    let dims = a.dims().to_vec();
    let (a, b) = (a.to_f64(), b.to_f64());
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let (off, size): (f64, f64) =
        (a.iter().zip(&b).map(|(x, y)| (x - y).abs()).sum(), a.iter().map(|x| x.abs()).sum());
    let greatest = |x: &[f64]| -> Vec<usize> {
        let mut order: Vec<usize> = (0..x.len()).collect();
        order.sort_by(|i, j| x[*j].total_cmp(&x[*i]).then(i.cmp(j)));
        order.truncate(top.max(1));
        order.sort_unstable();
        order
    };
    let (ours, theirs) = (greatest(&a), greatest(&b));
    let common = ours.iter().filter(|i| theirs.binary_search(i).is_ok()).count();
    let mut order: Vec<usize> = (0..a.len()).filter(|i| a[*i] != b[*i]).collect();
    order.sort_by(|i, j| (a[*j] - b[*j]).abs().total_cmp(&(a[*i] - b[*i]).abs()).then(i.cmp(j)));
    let moves =
        order.into_iter().take(moves).map(|i| Move { index: index(i, &dims), before: a[i], after: b[i] });
    Compared {
        tensor,
        rank: correlation(&ranks(&a), &ranks(&b)),
        cosine: quotient(dot(&a, &b), (dot(&a, &a) * dot(&b, &b)).sqrt()),
        l1: quotient(off, size),
        overlap: quotient(common as f64, ours.len() as f64),
        moves: moves.collect(),
    }
}

/// `a / b`; 0 of two zeros.
fn quotient(a: f64, b: f64) -> f64 {
    if b == 0.0 && a == 0.0 { 0.0 } else { a / b }
}

fn index(flat: usize, dims: &[usize]) -> Vec<usize> {
    let mut rest = flat;
    let mut index: Vec<usize> = dims
        .iter()
        .rev()
        .map(|d| {
            let at = rest % d.max(&1);
            rest /= d.max(&1);
            at
        })
        .collect();
    index.reverse();
    index
}

fn text(difference: &Difference) -> String {
    let right = |name| (name, Align::Right);
    let columns =
        [("tensor", Align::Left), right("rank"), right("cosine"), right("overlap"), right("relative L1")];
    let mut table = Table::new(&columns);
    for c in &difference.tensors {
        let row = [c.rank, c.cosine, c.overlap].map(|v| format!("{v:.4}"));
        let [rank, cosine, overlap] = row;
        table.row([c.tensor.clone(), rank, cosine, overlap, format!("{:.3e}", c.l1)]);
    }
    let mut out = table.text(0);
    if difference.tensors.iter().any(|c| !c.moves.is_empty()) {
        let mut table = Table::new(&[("largest moves", Align::Left), right("first"), right("second")]);
        // Of many tensors those that differ most.
        let mut moved: Vec<&Compared> = difference.tensors.iter().filter(|c| !c.moves.is_empty()).collect();
        let more = moved.len().saturating_sub(LISTED);
        if more > 0 {
            moved.sort_by(|a, b| b.l1.total_cmp(&a.l1));
            moved.truncate(LISTED);
        }
        for c in moved {
            for m in &c.moves {
                let place = m.index.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
                table.row([format!("{}[{place}]", c.tensor), number(m.before, 4), number(m.after, 4)]);
            }
        }
        let _ = write!(out, "\n{}", table.text(0));
        if more > 0 {
            let _ = writeln!(out, "{more} more tensors differ; `--json` has their moves");
        }
    }
    for (which, names) in [("first", &difference.only_first), ("second", &difference.only_second)] {
        if !names.is_empty() {
            let names: Vec<String> = names.iter().map(|n| visible(n).to_string()).collect();
            let _ = writeln!(out, "only in the {which}: {}", names.join(", "));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_and_its_negative() {
        let a = Tensor::from_f32(&[2, 2], &[1.0, -2.0, 3.0, 4.0]);
        let b = Tensor::from_f32(&[2, 2], &[-1.0, 2.0, -3.0, -4.0]);
        let same = compare("x".into(), &a, &a, 2, 5);
        assert_eq!((same.rank, same.l1, same.overlap, same.moves.len()), (1.0, 0.0, 1.0, 0));
        assert!((same.cosine - 1.0).abs() < 1e-12);
        let other = compare("x".into(), &a, &b, 2, 5);
        assert_eq!((other.rank, other.l1, other.overlap), (-1.0, 2.0, 0.0));
        assert_eq!(other.moves[0].index, [1, 1]);
    }

    #[test]
    fn numbers_of_scipy_and_numpy() {
        // scipy.stats.spearmanr, and a·b / |a||b|.
        let a = Tensor::from_f32(&[6], &[1.0, 2.0, 2.0, 4.0, 5.0, 0.5]);
        let b = Tensor::from_f32(&[6], &[2.0, 1.0, 4.0, 3.0, 3.0, -7.0]);
        let c = compare("x".into(), &a, &b, 3, 2);
        assert!(
            (c.rank - 0.647_058_823_529_411_8).abs() < 1e-12
                && (c.cosine - 0.533_849_676_556_665_4).abs() < 1e-12,
            "{c:?}"
        );
        // The three greatest stand at 4, 3, 1 and at 2, 3, 4.
        assert!((c.overlap - 2.0 / 3.0).abs() < 1e-12);
        let moves: Vec<usize> = c.moves.iter().map(|m| m.index[0]).collect();
        assert_eq!(moves, [5, 2]);
    }

    #[test]
    fn keys_of_relevance() {
        for key in ["relevance/x", "relevance_neg/x", "target/1-7/relevance/a/b", "target/-1/relevance_pos/x"]
        {
            assert!(is_relevance(key), "{key}");
        }
        for key in
            ["output/relevance/x", "audit/start", "target/1/audit/start", "target/relevance/x", "layers/m"]
        {
            assert!(!is_relevance(key), "{key}");
        }
        assert_eq!(title("relevance/relevance/x"), "relevance/x");
        assert_eq!(title("target/1/relevance/x"), "target/1/relevance/x");
    }
}
