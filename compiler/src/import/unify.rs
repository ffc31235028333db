//! Unification: replacements of symbols that make two dimensions equal.

use std::collections::BTreeSet;

use dlbc_ops::tensor::{Dim, TensorType};

/// A symbol and the dimension that replaces it.
pub type Merge = (String, Dim);

/// Returns replacements of symbols after which `a` equals `b`; `None` if there are none.
///
/// If one side is a single symbol, the other side replaces it. Otherwise one symbol replaces another, or two symbols replace
/// two others; symbols at the same axis of inputs of equal rank are tried first. Otherwise a symbol becomes a multiple of a
/// new one.
pub fn merge(a: &Dim, b: &Dim, inputs: &[TensorType]) -> Option<Vec<Merge>> {
    let mut symbols = BTreeSet::new();
    for d in [a, b] {
        d.symbols(&mut |s| {
            symbols.insert(s.to_string());
        });
    }
    // With more symbols, the search would take too long and hardly find a plausible answer.
    if symbols.len() > 8 {
        return None;
    }
    for (alone, other) in [(b, a), (a, b)] {
        let is_symbol = symbols.iter().find(|s| *alone == Dim::symbol(s));
        let mut within = false;
        if let Some(name) = is_symbol {
            other.symbols(&mut |s| within |= **s == **name);
            if !within {
                return Some(vec![(name.clone(), other.clone())]);
            }
        }
    }
    let pairs = candidates(&symbols, inputs);
    let equal = |pairs: &[(String, String)]| {
        let replacement = |s: &str| pairs.iter().find(|(from, _)| from == s).map(|(_, to)| Dim::symbol(to));
        a.replace(&replacement) == b.replace(&replacement)
    };
    let single = pairs.iter().map(|p| vec![p.clone()]);
    let double = pairs.iter().enumerate().flat_map(|(i, p)| {
        let others = pairs[i + 1..].iter().filter(move |q| q.0 != p.0 && q.1 != p.0 && q.0 != p.1);
        others.map(move |q| vec![p.clone(), q.clone()])
    });
    let Some(pairs) = single.chain(double).find(|pairs| equal(pairs)) else {
        return symbol_as_multiple(a, b, &symbols);
    };
    Some(pairs.into_iter().map(|(from, to)| (from, Dim::symbol(&to))).collect())
}

/// Replaces a symbol by a multiple of a new symbol, so that quotients of it such as halves and quarters agree.
fn symbol_as_multiple(a: &Dim, b: &Dim, symbols: &BTreeSet<String>) -> Option<Vec<Merge>> {
    // The divisors are strides and sizes of windows, which are small.
    const LARGEST: i64 = 1 << 12;
    let mut divisors = vec![];
    a.divisors(&mut divisors);
    b.divisors(&mut divisors);
    let common = divisors.into_iter().filter(|d| (2..=LARGEST).contains(d)).fold(1, lcm);
    if !(2..=LARGEST).contains(&common) {
        return None;
    }
    symbols.iter().find_map(|symbol| {
        let multiple = &Dim::known(common) * &Dim::symbol(&format!("{symbol}_{common}"));
        let replacement = |s: &str| (s == symbol.as_str()).then(|| multiple.clone());
        (a.replace(&replacement) == b.replace(&replacement)).then(|| vec![(symbol.clone(), multiple.clone())])
    })
}

/// Returns lcm(a, b) of positive numbers.
fn lcm(a: i64, b: i64) -> i64 {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}

/// Returns all pairs of symbols, those at the same axis of two inputs of equal rank first.
fn candidates(symbols: &BTreeSet<String>, inputs: &[TensorType]) -> Vec<(String, String)> {
    let position = |name: &str| {
        let symbol = Dim::symbol(name);
        inputs
            .iter()
            .find_map(|ty| ty.shape.0.iter().position(|d| *d == symbol).map(|axis| (ty.rank(), axis)))
    };
    let all: Vec<&String> = symbols.iter().collect();
    let mut pairs: Vec<(String, String)> = vec![];
    for (i, to) in all.iter().enumerate() {
        for from in &all[i + 1..] {
            pairs.push(((*from).clone(), (*to).clone()));
        }
    }
    pairs.sort_by_key(|(a, b)| position(a) != position(b));
    pairs
}

#[cfg(test)]
mod tests {
    use dlbc_ops::tensor::DType;

    use super::*;

    fn dim(text: &str) -> Dim {
        text.parse().expect("a dimension")
    }

    fn merged(a: &str, b: &str, inputs: &[&[&str]]) -> Option<Vec<(String, String)>> {
        let types: Vec<TensorType> = inputs
            .iter()
            .map(|dims| TensorType::new(DType::I64, dims.iter().map(|d| dim(d)).collect::<Vec<_>>()))
            .collect();
        let merges = merge(&dim(a), &dim(b), &types)?;
        let mut merges: Vec<_> = merges.into_iter().map(|(s, d)| (s, d.to_string())).collect();
        merges.sort();
        Some(merges)
    }

    fn pairs(pairs: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        Some(pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect())
    }

    #[test]
    fn a_symbol_becomes_the_other_side() {
        assert_eq!(merged("n", "m", &[]), pairs(&[("m", "n")]));
        assert_eq!(merged("p+1", "q", &[]), pairs(&[("q", "p+1")]));
        assert_eq!(merged("q", "p+1", &[]), pairs(&[("q", "p+1")]));
    }

    #[test]
    fn products_go_by_the_axes_of_inputs() {
        let inputs: &[&[&str]] = &[&["a", "b"], &["c", "d"]];
        assert_eq!(merged("a*b", "c*d", inputs), pairs(&[("c", "a"), ("d", "b")]));
        let swapped: &[&[&str]] = &[&["a", "b"], &["d", "c"]];
        assert_eq!(merged("a*b", "c*d", swapped), pairs(&[("c", "b"), ("d", "a")]));
        assert_eq!(merged("a*b", "c*floor(a*b/(c))", inputs), pairs(&[("c", "a")]));
    }

    #[test]
    fn what_nothing_makes_equal_stays_unequal() {
        assert_eq!(merged("n", "2", &[]), pairs(&[("n", "2")]));
        assert_eq!(merged("n", "n+1", &[]), None);
        assert_eq!(merged("2*n", "3*m", &[]), None);
    }

    #[test]
    fn halves_that_must_fit_make_a_multiple() {
        assert_eq!(merged("floor(h/(2))", "2*floor(h/(4))", &[]), pairs(&[("h", "4*h_4")]));
        assert_eq!(merged("floor(h/(2))", "floor(h/(3))", &[]), None);
    }
}
