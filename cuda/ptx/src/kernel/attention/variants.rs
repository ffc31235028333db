//! The kernels of an attention and its rules, as the planner composes them: with a mask per key, rows of -∞ that give 0, a scale
//! of ⅛, and half of the relevance for the values.

use dlbc_ops::prim::{Binary, Transform, Unary};

use super::{Along, End, Group, Operands, Tiled, Unit};
use crate::kernel::pointwise::{Kind, Term};

/// Builder of an expression's terms.
#[derive(Default)]
struct Terms(Vec<(Term, Kind)>);

impl Terms {
    /// Appends a term and returns its index.
    fn add(&mut self, term: Term) -> usize {
        let kind = match term {
            Term::Binary(Binary::Equal, ..) => Kind::B,
            _ => Kind::F,
        };
        self.0.push((term, kind));
        self.0.len() - 1
    }

    fn binary(&mut self, f: Binary, a: usize, b: usize) -> usize {
        self.add(Term::Binary(f, a, b))
    }

    /// Appends `s / 8`, plus the mask if there is one.
    fn scores(&mut self, s: usize, mask: Option<usize>) -> usize {
        let s = self.add(Term::Operand(s));
        let scale = self.add(Term::Float(0.125));
        let scaled = self.binary(Binary::Mul, s, scale);
        let Some(mask) = mask else { return scaled };
        let mask = self.add(Term::Operand(mask));
        self.binary(Binary::Add, scaled, mask)
    }

    /// Appends `e^(s - maximum) · inverse`.
    fn weights(&mut self, scores: usize, maximum: usize, inverse: usize) -> usize {
        let (maximum, inverse) = (self.add(Term::Operand(maximum)), self.add(Term::Operand(inverse)));
        let less = self.binary(Binary::Sub, scores, maximum);
        let e = self.add(Term::Unary(Unary::Exp, less));
        self.binary(Binary::Mul, e, inverse)
    }

    /// Appends the weights of dot product `s`, 0 for rows of -∞; maximum, mask and the sum's reciprocal are the operands from `rest` on.
    fn guarded(&mut self, s: usize, rest: usize) -> usize {
        let maximum = self.add(Term::Operand(rest));
        let none = self.add(Term::Float(f32::NEG_INFINITY));
        let masked = self.binary(Binary::Equal, maximum, none);
        let zero = self.add(Term::Float(0.0));
        let scores = self.scores(s, Some(rest + 1));
        let p = self.weights(scores, rest, rest + 2);
        self.add(Term::Select(masked, zero, p))
    }

    /// Appends half of each weight's relevance, which goes to its query and its key.
    fn through(&mut self, s: usize, flow: usize) -> usize {
        let p = self.guarded(s, 3);
        let flow = self.add(Term::Operand(flow));
        let through = self.binary(Binary::Mul, p, flow);
        let half = self.add(Term::Float(0.5));
        self.binary(Binary::Mul, through, half)
    }
}

fn group(parts: &[[Transform; 2]]) -> Group {
    Group { depth_first: [true, true], parts: parts.to_vec() }
}

/// Side of the attention whose vectors are the rows of the scores.
#[derive(Clone, Copy, PartialEq)]
enum Rows {
    Queries,
    Keys,
}

fn operands(rows: Rows) -> Vec<(Kind, Along)> {
    let (queries, keys) = match rows {
        Rows::Queries => (Along::Own, Along::Other),
        Rows::Keys => (Along::Other, Along::Own),
    };
    vec![(Kind::F, queries), (Kind::F, keys), (Kind::F, queries)]
}

/// Returns every variant of the fixed library, by name.
pub fn variants() -> Vec<(String, Tiled)> {
    let scores = group(&[[Transform::Id, Transform::Id]]);
    let mut variants = vec![];
    let mut add = |name: &str, units: &[Unit], groups: Vec<Group>, operands, terms: Terms, end| {
        for unit in units {
            let suffix = match unit {
                Unit::Fma => "",
                Unit::Tensor(Operands::Split) => "_tensor",
                Unit::Tensor(Operands::Rounded) => "_tf32",
            };
            let kernel = Tiled {
                groups: groups.clone(),
                operands: Vec::clone(&operands),
                terms: terms.0.clone(),
                end,
                unit: *unit,
                spans: 1,
                skips: false,
            };
            if name == "forward" && *unit != Unit::Fma {
                variants.push((format!("{name}_wide{suffix}"), Tiled { spans: 2, ..kernel.clone() }));
            }
            variants.push((format!("{name}{suffix}"), kernel));
        }
    };
    let split = Unit::Tensor(Operands::Split);
    let all_units = &[Unit::Fma, split, Unit::Tensor(Operands::Rounded)][..];
    let both = &[Unit::Fma, split][..];
    let tensor = &[split][..];

    let mut terms = Terms::default();
    terms.scores(0, Some(1));
    let mask = vec![(Kind::F, Along::Other)];
    add("forward", all_units, vec![scores.clone()], mask, terms, End::Softmax { across: true, guard: true });

    let mut terms = Terms::default();
    terms.scores(0, None);
    let columns = Group { depth_first: [false, false], ..scores.clone() };
    add(
        "forward_columns",
        tensor,
        vec![columns],
        vec![],
        terms,
        End::Softmax { across: false, guard: false },
    );

    let mut terms = Terms::default();
    terms.scores(0, Some(1));
    let mask = vec![(Kind::F, Along::Both)];
    add("statistics", tensor, vec![scores.clone()], mask, terms, End::Statistics);

    for (name, part, rows) in
        [("magnitudes", Transform::Abs, Rows::Queries), ("value", Transform::Id, Rows::Keys)]
    {
        let mut terms = Terms::default();
        terms.guarded(0, 1);
        let end = End::Product { part, across: true };
        let units = if rows == Rows::Keys { both } else { tensor };
        add(name, units, vec![scores.clone()], operands(rows), terms, end);
    }
    for (name, rows) in [("query", Rows::Queries), ("key", Rows::Keys)] {
        let mut terms = Terms::default();
        let weight = terms.through(0, 2);
        let all = terms.add(Term::Operand(1));
        terms.binary(Binary::GuardedDiv, weight, all);
        let dots = group(&[[Transform::Id, Transform::Id], [Transform::Abs, Transform::Abs]]);
        let (flow, units) = match rows {
            Rows::Queries => ([Transform::Id, Transform::Abs], all_units),
            Rows::Keys => ([Transform::Abs, Transform::Id], tensor),
        };
        let end = End::Product { part: Transform::Abs, across: true };
        add(name, units, vec![dots, group(&[flow])], operands(rows), terms, end);
    }

    let mut terms = Terms::default();
    let (all, zero) = (terms.add(Term::Operand(0)), terms.add(Term::Float(0.0)));
    let lost = terms.binary(Binary::Equal, all, zero);
    let weight = terms.through(1, 2);
    let nothing = terms.add(Term::Float(0.0));
    terms.add(Term::Select(lost, weight, nothing));
    let dots = group(&[[Transform::Abs, Transform::Abs], [Transform::Id, Transform::Id]]);
    let groups = vec![dots, group(&[[Transform::Id, Transform::Abs]])];
    add("dropped", tensor, groups, operands(Rows::Queries), terms, End::Sum);

    // Tiles that a causal mask rules out are skipped: of queries, and of keys.
    let mut terms = Terms::default();
    terms.scores(0, Some(1));
    let causal = |name: &str, terms: Terms, operands, end| {
        let kernel = Tiled {
            groups: vec![scores.clone()],
            operands,
            terms: terms.0,
            end,
            unit: split,
            spans: 1,
            skips: true,
        };
        (format!("{name}_causal"), kernel)
    };
    let mask = (Kind::F, Along::Both);
    let forward = causal("forward", terms, vec![mask], End::Softmax { across: true, guard: true });
    let mut terms = Terms::default();
    let s = terms.scores(0, Some(1));
    terms.weights(s, 2, 3);
    let operands = vec![mask, (Kind::F, Along::Other), (Kind::F, Along::Other)];
    let value = causal("value", terms, operands, End::Product { part: Transform::Id, across: true });

    // Derivative of a softmax: `p ⊙ (g vᵀ) - p · sum`, with the row sums of an earlier kernel.
    let mut terms = Terms::default();
    let s = terms.scores(0, None);
    let p = terms.weights(s, 2, 3);
    let back = terms.add(Term::Operand(1));
    let flow = terms.binary(Binary::Mul, back, p);
    let sum = terms.add(Term::Operand(4));
    let all = terms.binary(Binary::Mul, p, sum);
    terms.binary(Binary::Sub, flow, all);
    let rows = vec![(Kind::F, Along::Own); 3];
    let end = End::Product { part: Transform::Id, across: true };
    add("derivative", tensor, vec![scores.clone(), scores.clone()], rows, terms, end);
    variants.extend([forward, value]);
    variants
}
