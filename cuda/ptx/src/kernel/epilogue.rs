//! Epilogues: elementwise expressions over a product, evaluated in registers before it is stored, such as a bias, a guarded
//! division or a factor `|x|`.

use dlbc_ops::prim::{Binary, Unary};

use super::name;
use super::pointwise::{Division, Kind, Term, evaluate};
use super::storage::Storage;
use crate::emit::{Emitter, Reg};

/// Maximum number of operands besides the product: the parameter blocks have as many addresses.
pub const OPERANDS: usize = 4;
/// Maximum number of terms; each is emitted once per element of a thread's tile.
const TERMS: usize = 14;

/// Broadcast of an epilogue's operand to the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broadcast {
    /// No broadcast: the operand has the shape of the result.
    Full,
    /// One element per row of the product, or per channel of the convolution.
    Row,
    /// One element per column.
    Column,
    /// One element for all.
    Scalar,
}

/// Operand of an epilogue besides the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SideOperand {
    /// Broadcast to the product.
    pub broadcast: Broadcast,
    /// Type of the elements in memory.
    pub storage: Storage,
}

impl From<Broadcast> for SideOperand {
    fn from(broadcast: Broadcast) -> SideOperand {
        SideOperand { broadcast, storage: Storage::F32 }
    }
}

/// Elementwise expression over a product. Without terms the product is stored unchanged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Epilogue {
    /// Operands besides the product. In `terms`, operand 0 is the product's element; a second product may be operand 1;
    /// these operands follow.
    pub operands: Vec<SideOperand>,
    /// Terms with their element types. The last one is the result, a float.
    pub terms: Vec<(Term, Kind)>,
    /// Type of the result in memory.
    pub storage: Storage,
}

impl Epilogue {
    /// Returns whether terms are few and cheap enough to be evaluated for every element of a tile.
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

    /// Returns the suffix of the kernel's name: a letter for the broadcast of each operand, followed by that of a narrow type, then
    /// the terms in order, and the type of a narrow result. Different expressions have different names, because kernels are
    /// cached by name.
    pub fn name(&self) -> String {
        let to = match self.storage {
            Storage::F32 => String::new(),
            narrow => format!("_to{}", narrow.name()),
        };
        if self.terms.is_empty() {
            return to;
        }
        let letters = |operand: &SideOperand| {
            let broadcast = match operand.broadcast {
                Broadcast::Full => "f",
                Broadcast::Row => "r",
                Broadcast::Column => "c",
                Broadcast::Scalar => "o",
            };
            let storage = match operand.storage {
                Storage::F32 => "",
                Storage::Bf16 => "b",
                Storage::F16 => "h",
            };
            format!("{broadcast}{storage}")
        };
        let operands: String = self.operands.iter().map(letters).collect();
        let terms: Vec<String> = self.terms.iter().map(|(term, kind)| name::term(term, *kind)).collect();
        format!("_then_{operands}_{}{to}", terms.join("_"))
    }
}

/// Applies an epilogue and stores the results.
pub(super) struct Writer<'a> {
    epilogue: &'a Epilogue,
    out: Reg,
    /// The address of each operand; of scalars the value.
    operands: Vec<Reg>,
}

impl<'a> Writer<'a> {
    /// Loads addresses and scalars. `out` and `operands` are offsets in the parameter block.
    pub(super) fn new(k: &mut Emitter, epilogue: &'a Epilogue, out: usize, operands: usize) -> Writer<'a> {
        let out = k.param_u64(out);
        let loaded = epilogue.operands.iter().enumerate().map(|(i, operand)| {
            let base = k.param_u64(operands + 8 * i);
            match operand.broadcast {
                Broadcast::Scalar => operand.storage.load(k, "global", base, None),
                Broadcast::Full | Broadcast::Row | Broadcast::Column => base,
            }
        });
        Writer { epilogue, operands: loaded.collect(), out }
    }

    /// Loads element `index` of each operand with this broadcast, 0 unless `exists`.
    pub(super) fn load(&self, k: &mut Emitter, broadcast: Broadcast, index: Reg, exists: Reg) -> Vec<Reg> {
        let pairs = self.epilogue.operands.iter().zip(&self.operands);
        pairs
            .filter(|(operand, _)| operand.broadcast == broadcast)
            .map(|(operand, base)| {
                let address = k.address(*base, index, operand.storage.bytes());
                operand.storage.load(k, "global", address, Some(exists))
            })
            .collect()
    }

    /// Applies the epilogue to the element's `sums` and stores the result at `index`, if `exists`. `row` and `column` are the
    /// loaded operands of the element's row and column.
    pub(super) fn store(
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
            for (SideOperand { broadcast, storage }, base) in
                self.epilogue.operands.iter().zip(&self.operands)
            {
                let value = match broadcast {
                    Broadcast::Full => {
                        let address = k.address(*base, index, storage.bytes());
                        Some(storage.load(k, "global", address, Some(exists)))
                    }
                    Broadcast::Row => row.next().copied(),
                    Broadcast::Column => column.next().copied(),
                    Broadcast::Scalar => Some(*base),
                };
                values.extend(value);
            }
            value = evaluate(k, &self.epilogue.terms, &values, Division::Full);
        }
        let storage = self.epilogue.storage;
        let address = k.address(self.out, index, storage.bytes());
        storage.store(k, address, value, Some(exists));
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

        /// Draws an element of the list.
        fn choose<T: Clone>(&mut self, list: &[T]) -> T {
            list[self.below(list.len())].clone()
        }

        fn float(&mut self) -> f32 {
            self.choose(&[
                0.0,
                -0.0,
                1.0,
                10.0,
                0.1,
                1.1,
                -1.1,
                1e-30,
                1e30,
                f32::INFINITY,
                f32::NEG_INFINITY,
            ])
        }

        fn unary(&mut self) -> Unary {
            let (alpha, beta) = (self.float(), self.float());
            let (min, max) = (self.choose(&[None, Some(alpha)]), self.choose(&[None, Some(beta)]));
            self.choose(&[
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
            let binary =
                self.choose(&[Binary::Add, Binary::Min, Binary::GuardedDiv, Binary::Less, Binary::Xor]);
            let [a, b, c] = [self.below(12), self.below(12), self.below(12)];
            let (unary, float) = (self.unary(), self.float());
            let term = self.choose(&[
                Term::Operand(a),
                Term::Float(float),
                Term::Int(a as i64 - 6),
                Term::Bool(a > 5),
                Term::Unary(unary, a),
                Term::Binary(binary, a, b),
                Term::Select(a, b, c),
                Term::Cast(if a > 5 { DType::F16 } else { DType::I8 }, b),
            ]);
            (term, self.choose(&[Kind::F, Kind::I, Kind::B]))
        }

        fn epilogue(&mut self) -> Epilogue {
            let broadcasts = [Broadcast::Full, Broadcast::Row, Broadcast::Column, Broadcast::Scalar];
            let storages = [Storage::F32, Storage::Bf16, Storage::F16];
            let operand = |draw: &mut Draw| {
                let (broadcast, storage) = (draw.choose(&broadcasts), draw.choose(&storages));
                SideOperand { broadcast, storage }
            };
            let operands = (0..self.below(3)).map(|_| operand(self)).collect();
            let storage = self.choose(&storages);
            Epilogue { operands, terms: (0..1 + self.below(4)).map(|_| self.term()).collect(), storage }
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
                let first = names.entry(name.clone()).or_insert_with(|| text.clone());
                assert_eq!(*first, text, "both are named {name}");
                // The next epilogue differs in a single term.
                let at = draw.below(epilogue.terms.len());
                epilogue.terms[at] = draw.term();
            }
        }
        assert!(names.len() > 10_000, "{}", names.len());
    }
}
