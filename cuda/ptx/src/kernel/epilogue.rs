//! What follows a product element by element, done before the product is stored: biases, guarded divisions, `|x| ·`.

use dlbc_ops::prim::{Binary, Unary};

use super::digest;
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

    /// As names have it.
    pub fn name(&self) -> String {
        if self.terms.is_empty() { String::new() } else { format!("_then_{}", digest(&format!("{self:?}"))) }
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
