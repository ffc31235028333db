//! Symbolic dimensions: integer polynomials over symbols and floor divisions, in normal form.
//!
//! A dimension stays symbolic until a run binds its symbols. Two dimensions are equal if their normal forms are, so
//! `n*h + h*n` equals `2*h*n`, and exact divisions cancel. Arithmetic saturates: a dimension that overflows exceeds
//! every limit and is refused where sizes are checked.

mod text;

use std::collections::BTreeMap;
use std::sync::Arc;

/// Values of symbols, by name.
pub type Bindings = BTreeMap<Arc<str>, i64>;

/// Factor of a product: a symbol or a floor division.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Atom {
    Symbol(Arc<str>),
    FloorDiv(Box<Dim>, Box<Dim>),
}

/// Dimension of a tensor or value in a shape computation: an integer expression in normal form, a sum of products with
/// integer coefficients.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dim {
    /// Products and their coefficients, sorted by product; no coefficient is 0. The empty product is the constant term.
    terms: Vec<(Vec<Atom>, i64)>,
}

impl Dim {
    /// Creates a constant dimension.
    pub fn known(value: i64) -> Dim {
        Dim { terms: if value == 0 { vec![] } else { vec![(vec![], value)] } }
    }

    /// Creates a dimension that is a single symbol.
    pub fn symbol(name: &str) -> Dim {
        Dim { terms: vec![(vec![Atom::Symbol(name.into())], 1)] }
    }

    /// Returns the value if the expression has no symbol.
    pub fn as_known(&self) -> Option<i64> {
        match self.terms.as_slice() {
            [] => Some(0),
            [(product, c)] if product.is_empty() => Some(*c),
            _ => None,
        }
    }

    /// Returns whether the dimension is the constant `value`.
    pub fn is(&self, value: i64) -> bool {
        self.as_known() == Some(value)
    }

    /// Returns the size of the expression: terms, symbols and floor divisions. The import bounds it.
    pub fn complexity(&self) -> usize {
        let atom = |a: &Atom| match a {
            Atom::Symbol(_) => 1,
            Atom::FloorDiv(a, b) => 1 + a.complexity() + b.complexity(),
        };
        self.terms.iter().map(|(p, _)| 1 + p.iter().map(atom).sum::<usize>()).sum()
    }

    fn from_terms(terms: impl IntoIterator<Item = (Vec<Atom>, i64)>) -> Dim {
        let mut map: BTreeMap<Vec<Atom>, i64> = BTreeMap::new();
        for (product, c) in terms {
            let slot = map.entry(product).or_default();
            *slot = slot.saturating_add(c);
        }
        Dim { terms: map.into_iter().filter(|(_, c)| *c != 0).collect() }
    }

    /// Returns `⌊self / divisor⌋`. Exact divisions are carried out; a division by 0 stays and fails once it is bound.
    pub fn floor_div(&self, divisor: &Dim) -> Dim {
        if divisor.is(1) {
            return self.clone();
        }
        if self == divisor && !divisor.is(0) {
            return Dim::known(1);
        }
        if let Some(exact) = self.divide_exactly(divisor) {
            return exact;
        }
        match (self.as_known(), divisor.as_known()) {
            (Some(a), Some(b)) if b != 0 => Dim::known(a.div_euclid(b)),
            _ => self.floor_div_by_parts(divisor),
        }
    }

    /// Moves the terms that a constant divisor divides out of the quotient: `⌊(4n + 3) / 2⌋ = 2n + ⌊3 / 2⌋`.
    fn floor_div_by_parts(&self, divisor: &Dim) -> Dim {
        let unevaluated = |d: &Dim, by: &Dim| Dim {
            terms: vec![(vec![Atom::FloorDiv(Box::new(d.clone()), Box::new(by.clone()))], 1)],
        };
        let Some(by) = divisor.as_known().filter(|&b| b > 0) else { return unevaluated(self, divisor) };
        let (whole, rest): (Vec<_>, Vec<_>) = self.terms.iter().cloned().partition(|(_, c)| c % by == 0);
        let whole = Dim::from_terms(whole.into_iter().map(|(p, c)| (p, c / by)));
        let rest = Dim::from_terms(rest);
        let rest = match rest.as_known() {
            Some(r) => Dim::known(r.div_euclid(by)),
            // ⌊⌊a / b⌋ / c⌋ = ⌊a / (b c)⌋ for positive constants.
            None => match rest.terms.as_slice() {
                [(p, 1)] => match p.as_slice() {
                    [Atom::FloorDiv(a, b)] if b.as_known().is_some_and(|b| b > 0) => {
                        a.floor_div(&(&**b * &Dim::known(by)))
                    }
                    _ => unevaluated(&rest, divisor),
                },
                _ => unevaluated(&rest, divisor),
            },
        };
        &whole + &rest
    }

    /// Returns `⌈self / divisor⌉` for a positive constant divisor.
    pub fn ceil_div(&self, divisor: i64) -> Dim {
        (self + &Dim::known(divisor - 1)).floor_div(&Dim::known(divisor))
    }

    /// Returns the quotient if `divisor` is a single product that divides every term.
    fn divide_exactly(&self, divisor: &Dim) -> Option<Dim> {
        let [(by, k)] = divisor.terms.as_slice() else { return None };
        let quotient: Option<Vec<_>> = self
            .terms
            .iter()
            .map(|(product, c)| {
                let mut rest = product.clone();
                for atom in by {
                    let at = rest.iter().position(|a| a == atom)?;
                    rest.remove(at);
                }
                (c % k == 0).then_some((rest, c / k))
            })
            .collect();
        quotient.map(Dim::from_terms)
    }

    /// Evaluates the expression; `None` if a symbol is not bound, a divisor is 0, or the value overflows.
    pub fn eval(&self, bindings: &Bindings) -> Option<i64> {
        let mut sum: i64 = 0;
        for (product, c) in &self.terms {
            let mut value = *c;
            for atom in product {
                let factor = match atom {
                    Atom::Symbol(s) => *bindings.get(s)?,
                    Atom::FloorDiv(a, b) => {
                        let (a, b) = (a.eval(bindings)?, b.eval(bindings)?);
                        if b == 0 {
                            return None;
                        }
                        a.div_euclid(b)
                    }
                };
                value = value.checked_mul(factor)?;
            }
            sum = sum.checked_add(value)?;
        }
        Some(sum)
    }

    /// Replaces the symbols in `bindings` by their values.
    pub fn substitute(&self, bindings: &Bindings) -> Dim {
        self.replace(&|s| bindings.get(s).map(|v| Dim::known(*v)))
    }

    /// Replaces each symbol for which `replacement` returns a dimension.
    pub fn replace(&self, replacement: &impl Fn(&str) -> Option<Dim>) -> Dim {
        let mut sum = Dim::default();
        for (product, c) in &self.terms {
            let mut value = Dim::known(*c);
            for atom in product {
                let factor = match atom {
                    Atom::Symbol(s) => replacement(s).unwrap_or_else(|| Dim::symbol(s)),
                    Atom::FloorDiv(a, b) => a.replace(replacement).floor_div(&b.replace(replacement)),
                };
                value = &value * &factor;
            }
            sum = &sum + &value;
        }
        sum
    }

    /// Returns whether the value is below 0 for every binding: symbols are sizes, so a sum of negative terms is an
    /// index that counts from the end.
    pub fn is_negative(&self) -> bool {
        !self.terms.is_empty() && self.terms.iter().all(|(_, c)| *c < 0)
    }

    /// Returns whether the value is at least 0 for every binding, as far as signs of terms tell.
    pub fn is_nonnegative(&self) -> bool {
        let atom = |a: &Atom| match a {
            Atom::Symbol(_) => true,
            Atom::FloorDiv(a, b) => a.is_nonnegative() && b.is_nonnegative(),
        };
        self.terms.iter().all(|(product, c)| *c > 0 && product.iter().all(atom))
    }

    /// Appends the constant divisors of all floor divisions in the expression to `divisors`.
    pub fn divisors(&self, divisors: &mut Vec<i64>) {
        for atom in self.terms.iter().flat_map(|(product, _)| product) {
            if let Atom::FloorDiv(a, b) = atom {
                divisors.extend(b.as_known());
                a.divisors(divisors);
                b.divisors(divisors);
            }
        }
    }

    /// Returns `(factor, symbol)` if the dimension is a positive multiple of one symbol.
    pub fn as_multiple(&self) -> Option<(i64, &Arc<str>)> {
        match self.terms.as_slice() {
            [(product, factor)] if *factor > 0 => match product.as_slice() {
                [Atom::Symbol(s)] => Some((*factor, s)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Calls `visit` with the name of each symbol in the expression, once per occurrence.
    pub fn symbols(&self, visit: &mut impl FnMut(&Arc<str>)) {
        for (product, _) in &self.terms {
            for atom in product {
                match atom {
                    Atom::Symbol(s) => visit(s),
                    Atom::FloorDiv(a, b) => {
                        a.symbols(visit);
                        b.symbols(visit);
                    }
                }
            }
        }
    }

    /// Evaluates the expression with the operations of `visitor`, for example to emit it as ONNX nodes.
    pub fn fold<T: Clone>(&self, visitor: &mut impl DimVisitor<T>) -> T {
        let mut sum: Option<T> = None;
        for (product, c) in &self.terms {
            let mut value: Option<T> =
                if *c == 1 && !product.is_empty() { None } else { Some(visitor.constant(*c)) };
            for atom in product {
                let factor = match atom {
                    Atom::Symbol(s) => visitor.symbol(s),
                    Atom::FloorDiv(a, b) => {
                        let (a, b) = (a.fold(visitor), b.fold(visitor));
                        visitor.floor_div(a, b)
                    }
                };
                value = Some(match value {
                    None => factor,
                    Some(v) => visitor.mul(v, factor),
                });
            }
            let value = value.unwrap_or_else(|| visitor.constant(1));
            sum = Some(match sum {
                None => value,
                Some(s) => visitor.add(s, value),
            });
        }
        sum.unwrap_or_else(|| visitor.constant(0))
    }
}

/// Operations with which [`Dim::fold`] evaluates an expression; `T` is the type of intermediate results.
pub trait DimVisitor<T> {
    /// Returns the constant `value`.
    fn constant(&mut self, value: i64) -> T;
    /// Returns the value of a symbol.
    fn symbol(&mut self, name: &str) -> T;
    /// Returns `a + b`.
    fn add(&mut self, a: T, b: T) -> T;
    /// Returns `a · b`.
    fn mul(&mut self, a: T, b: T) -> T;
    /// Returns `⌊a / b⌋`.
    fn floor_div(&mut self, a: T, b: T) -> T;
}

impl From<i64> for Dim {
    fn from(value: i64) -> Dim {
        Dim::known(value)
    }
}

impl std::ops::Add for &Dim {
    type Output = Dim;
    fn add(self, other: &Dim) -> Dim {
        Dim::from_terms(self.terms.iter().chain(&other.terms).cloned())
    }
}

impl std::ops::Sub for &Dim {
    type Output = Dim;
    fn sub(self, other: &Dim) -> Dim {
        self + &(other * &Dim::known(-1))
    }
}

impl std::ops::Mul for &Dim {
    type Output = Dim;
    fn mul(self, other: &Dim) -> Dim {
        let mut terms = Vec::with_capacity(self.terms.len() * other.terms.len());
        for (p, a) in &self.terms {
            for (q, b) in &other.terms {
                let mut product: Vec<Atom> = p.iter().chain(q).cloned().collect();
                product.sort();
                terms.push((product, a.saturating_mul(*b)));
            }
        }
        Dim::from_terms(terms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Dim {
        text.parse().expect(text)
    }

    #[test]
    fn normal_form_decides_equality() {
        assert_eq!(&d("n") * &d("h"), &d("h") * &d("n"));
        assert_eq!((&d("n*h") + &d("n*h")).to_string(), "2*h*n");
        assert_eq!(&d("n") - &d("n"), Dim::known(0));
    }

    #[test]
    fn exact_division_cancels() {
        assert_eq!(d("12*h*n").floor_div(&d("4*n")), d("3*h"));
        assert_eq!(d("4*n+3").floor_div(&Dim::known(2)), d("2*n+1"));
        assert_eq!(
            d("n").floor_div(&Dim::known(2)).floor_div(&Dim::known(2)),
            d("n").floor_div(&Dim::known(4))
        );
    }

    #[test]
    fn text_that_would_grow_is_refused() {
        let power = vec!["floor(a+b+c+d+e+f+g+h/(1))"; 100].join("*");
        let (long, sum) =
            (vec!["n"; 10_000].join("*"), (0..10_000).map(|i| format!("n{i}")).collect::<Vec<_>>().join("+"));
        for text in [power, long, sum] {
            assert!(text.parse::<Dim>().is_err());
        }
    }

    #[test]
    fn text_parses_back_and_evaluates() {
        for text in ["n", "0", "-3", "2*h*n+n-5", "floor(h-1/(2))+1", "floor(n/(h))*3"] {
            let dim = d(text);
            assert_eq!(d(&dim.to_string()), dim, "{text}");
        }
        let b = Bindings::from([("h".into(), 7), ("n".into(), 3)]);
        assert_eq!(d("floor(h-1/(2))+n*h").eval(&b), Some(24));
        assert_eq!(d("floor(h-1/(2))+n*h").substitute(&b), Dim::known(24));
        assert_eq!(d("m").eval(&b), None);
        assert_eq!(d("floor(h/(n-3))").eval(&b), None);
    }
}
