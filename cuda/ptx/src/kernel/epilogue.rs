//! What follows a product element by element, done before the product is stored: biases, guarded divisions, `|x| ·`.

use dlbc_ops::prim::{Binary, Unary};

use super::name;
use super::pointwise::{Division, Kind, Term, evaluate};
use super::tile::load_where;
use crate::emit::{Emitter, Reg};
use crate::op;

/// Operands beside the product: as many as the parameter blocks have addresses.
pub const OPERANDS: usize = 4;
/// Terms: each is emitted for every element of a thread's tile.
const TERMS: usize = 14;

/// How an operand lies beside the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Like the result.
    Full,
    /// An element for each row of the product, or channel of the convolution.
    Row,
    /// An element for each column.
    Column,
    /// One element.
    One,
}

/// What follows a product. Nothing when there are no terms.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Epilogue {
    /// The operands. Terms count the product's element (and that of a second product beside it) first.
    pub operands: Vec<Reach>,
    /// The terms in order, with what each is; the last is the result, a float.
    pub terms: Vec<(Term, Kind)>,
}

impl Epilogue {
    /// Whether terms are few and cheap enough to stand behind every element of a tile.
    pub fn takes(terms: &[(Term, Kind)], operands: usize) -> bool {
        let cheap = |(term, kind): &(Term, Kind)| match term {
            Term::Operand(_) => *kind == Kind::F,
            Term::Float(_) | Term::Bool(_) | Term::Select(..) => *kind != Kind::I,
            Term::Unary(f, _) => {
                matches!(
                    f,
                    Unary::Abs
                        | Unary::Neg
                        | Unary::Relu
                        | Unary::LeakyRelu { .. }
                        | Unary::Clip { .. }
                        | Unary::Not
                )
            }
            Term::Binary(f, ..) => *kind != Kind::I && !matches!(f, Binary::Pow | Binary::Mod),
            Term::Int(_) | Term::Cast(..) => false,
        };
        let float = terms.last().is_some_and(|(_, kind)| *kind == Kind::F);
        float && operands <= OPERANDS && terms.len() <= TERMS && terms.iter().all(cheap)
    }

    /// The expression as the end of a kernel's name, nothing without terms: a letter for the reach of each operand, then the
    /// terms in order. Different expressions have different names, since kernels are found by name.
    pub fn name(&self) -> String {
        if self.terms.is_empty() {
            return String::new();
        }
        let reach = |reach: &Reach| match reach {
            Reach::Full => 'f',
            Reach::Row => 'r',
            Reach::Column => 'c',
            Reach::One => 'o',
        };
        let reaches: String = self.operands.iter().map(reach).collect();
        let terms: Vec<String> = self.terms.iter().map(|(term, kind)| name::term(term, *kind)).collect();
        format!("_then_{reaches}_{}", terms.join("_"))
    }
}

/// What the stores of a kernel need.
pub(super) struct Writer<'a> {
    epilogue: &'a Epilogue,
    out: Reg,
    /// Operands by address, the single elements by value.
    operands: Vec<Reg>,
}

impl<'a> Writer<'a> {
    /// Loads what is the same everywhere. `out` and `operands` are offsets in the parameter block.
    pub(super) fn new(k: &mut Emitter, epilogue: &'a Epilogue, out: usize, operands: usize) -> Writer<'a> {
        let out = k.param_u64(out);
        let loaded = epilogue.operands.iter().enumerate().map(|(i, reach)| {
            let base = k.param_u64(operands + 8 * i);
            match reach {
                Reach::One => load_where(k, base, None),
                Reach::Full | Reach::Row | Reach::Column => base,
            }
        });
        Writer { epilogue, operands: loaded.collect(), out }
    }

    /// The elements of operands of this reach at an index that exists where `exists`.
    pub(super) fn along(&self, k: &mut Emitter, reach: Reach, index: Reg, exists: Reg) -> Vec<Reg> {
        let pairs = self.epilogue.operands.iter().zip(&self.operands);
        pairs
            .filter(|(own, _)| **own == reach)
            .map(|(_, base)| {
                let address = k.address(*base, index, 4);
                load_where(k, address, Some(exists))
            })
            .collect()
    }

    /// Stores what becomes of `sums` at an index of the result, where `exists`.
    pub(super) fn put(
        &self,
        k: &mut Emitter,
        sums: &[Reg],
        (index, exists): (Reg, Reg),
        [row, column]: [&[Reg]; 2],
    ) {
        let mut value = sums[0];
        if !self.epilogue.terms.is_empty() {
            let (mut row, mut column) = (row.iter(), column.iter());
            let mut values = sums.to_vec();
            for (reach, own) in self.epilogue.operands.iter().zip(&self.operands) {
                let taken = match reach {
                    Reach::Full => {
                        let address = k.address(*own, index, 4);
                        Some(load_where(k, address, Some(exists)))
                    }
                    Reach::Row => row.next().copied(),
                    Reach::Column => column.next().copied(),
                    Reach::One => Some(*own),
                };
                values.extend(taken);
            }
            value = evaluate(k, &self.epilogue.terms, &values, Division::Full);
        }
        let address = k.address(self.out, index, 4);
        op!(k, "@{exists} st.global.f32 [{address}], {value}");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use dlbc_ops::tensor::DType;

    use super::*;

    /// Draws numbers below a bound, the same on every run.
    struct Draw(u64);

    impl Draw {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % bound
        }

        fn of<T: Clone>(&mut self, list: &[T]) -> T {
            list[self.below(list.len())].clone()
        }

        fn float(&mut self) -> f32 {
            self.of(&[0.0, -0.0, 1.0, 10.0, 0.1, 1.1, -1.1, 1e-30, 1e30, f32::INFINITY, f32::NEG_INFINITY])
        }

        fn unary(&mut self) -> Unary {
            let (alpha, beta) = (self.float(), self.float());
            let (min, max) = (self.of(&[None, Some(alpha)]), self.of(&[None, Some(beta)]));
            self.of(&[
                Unary::Abs,
                Unary::Neg,
                Unary::Relu,
                Unary::Not,
                Unary::Exp,
                Unary::LeakyRelu { alpha },
                Unary::Elu { alpha },
                Unary::HardSigmoid { alpha, beta },
                Unary::Clip { min, max },
            ])
        }

        fn term(&mut self) -> (Term, Kind) {
            let binary = self.of(&[Binary::Add, Binary::Min, Binary::GuardedDiv, Binary::Less, Binary::Xor]);
            let [a, b, c] = [self.below(12), self.below(12), self.below(12)];
            let (unary, float) = (self.unary(), self.float());
            let term = self.of(&[
                Term::Operand(a),
                Term::Float(float),
                Term::Int(a as i64 - 6),
                Term::Bool(a > 5),
                Term::Unary(unary, a),
                Term::Binary(binary, a, b),
                Term::Select(a, b, c),
                Term::Cast(if a > 5 { DType::F16 } else { DType::I8 }, b),
            ]);
            (term, self.of(&[Kind::F, Kind::I, Kind::B]))
        }

        fn epilogue(&mut self) -> Epilogue {
            let reaches = [Reach::Full, Reach::Row, Reach::Column, Reach::One];
            let operands = (0..self.below(3)).map(|_| self.of(&reaches)).collect();
            Epilogue { operands, terms: (0..1 + self.below(4)).map(|_| self.term()).collect() }
        }
    }

    #[test]
    fn different_expressions_have_different_names() {
        let mut draw = Draw(1);
        let mut names: HashMap<String, String> = HashMap::new();
        for _ in 0..10_000 {
            let mut epilogue = draw.epilogue();
            for _ in 0..2 {
                let (name, text) = (epilogue.name(), format!("{epilogue:?}"));
                assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{name}");
                let known = names.entry(name.clone()).or_insert_with(|| text.clone());
                assert_eq!(*known, text, "both are named {name}");
                // One that differs in a single term comes next.
                let at = draw.below(epilogue.terms.len());
                epilogue.terms[at] = draw.term();
            }
        }
        assert!(names.len() > 10_000, "{}", names.len());
    }
}
