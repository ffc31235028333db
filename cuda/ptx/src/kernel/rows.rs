//! Rows: elementwise expressions and reductions along the last axis, in one launch. A normalisation, the residual sum before it
//! and the relevance of both are such rows.
//!
//! A team of threads has a row. It walks over the row once for the reductions of the operands, once more for the reductions of
//! what depends on those, and so on; what several walks need is computed again in each. A walk also stores the results that
//! it can compute. A reduction has the order of [`super::reduce::Reduce`] with the same team, so a row gives the same
//! bits as one launch for each of its nodes.

use dlbc_ops::prim::{Binary, Reduction, Unary};

use super::digest;
use super::pointwise::{Division, Kind, Term, evaluate_term};
use super::reduce::{Pass, Reduce, Team};
use super::storage::Storage;
use crate::device::Kernel;
use crate::emit::{Emitter, Reg};
use crate::op;

/// A node of a row. Numbers are indices of earlier terms.
#[derive(Clone, Debug, PartialEq)]
pub enum RowTerm {
    /// An element, or a value of the whole row if no operand varies along it.
    Element(Term),
    /// A reduction along the row.
    Reduce(Reduction, usize),
}

/// An operand of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowOperand {
    /// Element type: float or boolean.
    pub kind: Kind,
    /// True if the operand varies along the row.
    pub varies: bool,
    /// Type of floats in memory.
    pub storage: Storage,
}

/// A result of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowStore {
    /// Index of the term.
    pub term: usize,
    /// Type of floats in memory.
    pub storage: Storage,
}

/// A variant of the kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// The operands.
    pub operands: Vec<RowOperand>,
    /// Terms with their element types.
    pub terms: Vec<(RowTerm, Kind)>,
    /// Terms that are stored.
    pub stores: Vec<RowStore>,
    /// Threads of a row: [`Team::Warp`] or [`Team::Block`].
    pub team: Team,
}

/// Values of the parameters of [`Rows`].
#[derive(Clone, Debug, Default)]
pub struct RowsArgs {
    /// Number of rows.
    pub rows: u32,
    /// Elements per row, at least 1.
    pub dim: u32,
    /// Address of each operand, and its strides from row to row and along a row, in elements.
    pub operands: Vec<(u64, [i32; 2])>,
    /// Addresses of the results, contiguous.
    pub stores: Vec<u64>,
}

/// Maximum number of operands and results together, by the size of the parameter block.
pub const MAX_ADDRESSES: usize = 24;

/// Threads per block whose rows have a warp each.
const WARPS_THREADS: u32 = 64;
/// Threads per block that has one row, those of [`Team::Block`].
const BLOCK_THREADS: u32 = 256;

// Offsets in the parameter block.
const ROWS: usize = 0;
const DIM: usize = 4;
const OPERANDS: usize = 8;
/// Bytes of an operand in the parameter block.
const OPERAND: usize = 16;

impl Rows {
    /// Returns the entry point's name, which determines the text.
    pub fn name(&self) -> String {
        format!("rows_{}", digest(&format!("{self:?}")))
    }

    fn threads(&self) -> u32 {
        if self.team == Team::Block { BLOCK_THREADS } else { WARPS_THREADS }
    }

    /// Returns the number of blocks for `rows` rows.
    pub fn blocks(&self, rows: u32) -> u32 {
        if self.team == Team::Block { rows } else { rows.div_ceil(WARPS_THREADS / 32) }
    }

    fn stores_offset(&self) -> usize {
        OPERANDS + OPERAND * self.operands.len()
    }

    /// Returns the size of the parameter block in bytes.
    pub fn params_bytes(&self) -> usize {
        self.stores_offset() + 8 * self.stores.len()
    }

    /// Builds the parameter block.
    pub fn params(&self, args: &RowsArgs) -> Vec<u8> {
        let mut bytes: Vec<u8> = [args.rows, args.dim].iter().flat_map(|w| w.to_le_bytes()).collect();
        for (address, strides) in &args.operands {
            bytes.extend(address.to_le_bytes());
            bytes.extend(strides.iter().flat_map(|s| s.to_le_bytes()));
        }
        bytes.extend(args.stores.iter().flat_map(|address| address.to_le_bytes()));
        bytes
    }

    /// Emits the kernel.
    pub fn emit(&self) -> Kernel {
        self.emit_as(&self.name())
    }

    /// Emits the kernel under another name.
    pub fn emit_as(&self, name: &str) -> Kernel {
        let mut emitter = Emitter::new();
        let k = &mut emitter;
        let finished = k.label("DONE");
        let (row, first) = match self.team {
            Team::Block => (k.mov_u32("%ctaid.x"), k.mov_u32("%tid.x")),
            Team::Warp | Team::Thread => {
                let (row, lane) = (k.global_index(WARPS_THREADS), k.mov_u32("%tid.x"));
                op!(k, "shr.u32 {row}, {row}, 5");
                op!(k, "and.b32 {lane}, {lane}, 31");
                let rows = k.param_u32(ROWS);
                k.branch_ge(row, rows, &finished);
                (row, lane)
            }
        };
        let dim = k.param_u32(DIM);
        let mut walk = Walk {
            variant: self,
            levels: self.levels(),
            varies: self.varying(),
            row,
            first,
            dim,
            sources: self.sources(k, row),
            values: vec![None; self.terms.len()],
        };
        let last = walk.levels.iter().copied().max().unwrap_or(0);
        for level in 0..=last {
            walk.values_of_row(k, level);
            walk.elements(k, level);
        }
        walk.store_values_of_row(k);
        k.place(&finished);
        emitter.finish(name, self.threads(), self.params_bytes()).of_variant(self.clone())
    }

    /// Returns for each term the number of reductions, one after another, on which it depends.
    fn levels(&self) -> Vec<usize> {
        let mut levels: Vec<usize> = vec![];
        for (term, _) in &self.terms {
            levels.push(match term {
                RowTerm::Reduce(_, x) => levels[*x] + 1,
                RowTerm::Element(term) => inputs(term).into_iter().map(|i| levels[i]).max().unwrap_or(0),
            });
        }
        levels
    }

    /// Returns for each term whether it varies along the row.
    pub fn varying(&self) -> Vec<bool> {
        let mut varying: Vec<bool> = vec![];
        for (term, _) in &self.terms {
            varying.push(match term {
                RowTerm::Reduce(..) => false,
                RowTerm::Element(Term::Operand(i)) => self.operands[*i].varies,
                RowTerm::Element(term) => inputs(term).into_iter().any(|i| varying[i]),
            });
        }
        varying
    }

    /// Loads address, offset of the row and stride along it for each operand.
    fn sources(&self, k: &mut Emitter, row: Reg) -> Vec<Source> {
        let source = |k: &mut Emitter, i: usize| {
            let at = OPERANDS + OPERAND * i;
            let (base, [row_stride, stride]) = (k.param_u64(at), [8, 12].map(|o| k.param_u32(at + o)));
            Source { base, start: k.offset(None, &[row], &[row_stride]), stride }
        };
        (0..self.operands.len()).map(|i| source(k, i)).collect()
    }
}

/// Returns the variants of the fixed library, by name: the normalisation of a residual sum, stored with the sum; the same by a
/// block for each row; and a masked softmax, stored with its maximum.
pub fn variants() -> Vec<(String, Rows)> {
    let storage = Storage::F32;
    let float = |varies| RowOperand { kind: Kind::F, varies, storage };
    let stores = |terms: &[usize]| terms.iter().map(|term| RowStore { term: *term, storage }).collect();
    let element = |term| (RowTerm::Element(term), Kind::F);
    let sum = |x| (RowTerm::Reduce(Reduction::Sum, x), Kind::F);
    let norm = Rows {
        operands: vec![float(true), float(true), float(true), float(false)],
        terms: vec![
            element(Term::Operand(0)),
            element(Term::Operand(1)),
            element(Term::Operand(2)),
            element(Term::Operand(3)),
            element(Term::Binary(Binary::Add, 0, 2)),
            sum(0),
            // The row's value stands for the reciprocal of its length.
            element(Term::Binary(Binary::Mul, 5, 3)),
            element(Term::Binary(Binary::Sub, 4, 6)),
            element(Term::Binary(Binary::Mul, 7, 7)),
            sum(8),
            element(Term::Float(1.0)),
            element(Term::Binary(Binary::Add, 9, 10)),
            element(Term::Unary(Unary::Sqrt, 11)),
            element(Term::Binary(Binary::Div, 7, 12)),
            element(Term::Binary(Binary::Mul, 13, 1)),
        ],
        stores: stores(&[4, 14, 12, 5]),
        team: Team::Warp,
    };
    let masked = Rows {
        operands: vec![float(true), RowOperand { kind: Kind::B, varies: true, storage }],
        terms: vec![
            element(Term::Operand(0)),
            (RowTerm::Element(Term::Operand(1)), Kind::B),
            element(Term::Float(-4.0)),
            element(Term::Select(1, 2, 0)),
            (RowTerm::Reduce(Reduction::Max, 3), Kind::F),
            element(Term::Binary(Binary::Sub, 3, 4)),
            element(Term::Unary(Unary::Exp, 5)),
            sum(6),
            element(Term::Binary(Binary::GuardedDiv, 6, 7)),
        ],
        stores: stores(&[8, 4]),
        team: Team::Warp,
    };
    let block = |rows: &Rows| Rows { team: Team::Block, ..rows.clone() };
    vec![
        ("norm_block".into(), block(&norm)),
        ("norm_warp".into(), norm),
        ("softmax_block".into(), block(&masked)),
        ("softmax_warp".into(), masked),
    ]
}

/// Returns the terms that a term reads.
fn inputs(term: &Term) -> Vec<usize> {
    match term {
        Term::Operand(_) | Term::Float(_) | Term::Int(_) | Term::Bool(_) => vec![],
        Term::Unary(_, a) | Term::Cast(_, a) => vec![*a],
        Term::Binary(_, a, b) => vec![*a, *b],
        Term::Select(c, a, b) => vec![*c, *a, *b],
    }
}

/// An operand in registers.
struct Source {
    base: Reg,
    /// Offset of the row.
    start: Reg,
    stride: Reg,
}

/// State of the emission of a row.
struct Walk<'a> {
    variant: &'a Rows,
    levels: Vec<usize>,
    varies: Vec<bool>,
    row: Reg,
    /// The thread's first element of the row.
    first: Reg,
    dim: Reg,
    sources: Vec<Source>,
    /// Values of the whole row, by term, as far as they are computed.
    values: Vec<Option<Reg>>,
}

impl Walk<'_> {
    /// Computes a term from the values of earlier ones; operands are loaded at element `at` of the row, or at the first.
    fn term(&self, k: &mut Emitter, i: usize, at: Option<Reg>, values: &[Option<Reg>]) -> Reg {
        let terms = &self.variant.terms;
        match &terms[i] {
            (RowTerm::Element(Term::Operand(o)), kind) => {
                let Source { base, start, stride } = &self.sources[*o];
                let index = at.map_or(*start, |at| k.offset(Some(*start), &[at], &[*stride]));
                if *kind == Kind::F {
                    let storage = self.variant.operands[*o].storage;
                    let address = k.address(*base, index, storage.bytes());
                    return storage.load(k, "global", address, None);
                }
                let (address, v) = (k.address(*base, index, 4), kind.register(k));
                op!(k, "ld.global.{} {v}, [{address}]", kind.suffix());
                v
            }
            (RowTerm::Element(term), kind) => {
                // Terms follow those that they read.
                let typed = |i: usize| (values[i].unwrap_or(self.row), terms[i].1);
                evaluate_term(k, (term, *kind), &typed, Division::Rounded)
            }
            // `elements` computes reductions.
            (RowTerm::Reduce(..), _) => self.row,
        }
    }

    /// Computes the values of the whole row that depend on `level` reductions.
    fn values_of_row(&mut self, k: &mut Emitter, level: usize) {
        for i in 0..self.variant.terms.len() {
            if self.levels[i] == level && !self.varies[i] && self.values[i].is_none() {
                self.values[i] = Some(self.term(k, i, None, &self.values));
            }
        }
    }

    /// Walks over the elements for the reductions and the stores of what depends on `level` reductions.
    fn elements(&mut self, k: &mut Emitter, level: usize) {
        let Rows { terms, stores, team, .. } = self.variant;
        let reduced = |i: usize| match terms[i].0 {
            RowTerm::Reduce(kind, x) if self.levels[x] == level => Some((kind, x)),
            _ => None,
        };
        let reductions: Vec<(usize, Reduction, usize)> =
            (0..terms.len()).filter_map(|i| reduced(i).map(|(kind, x)| (i, kind, x))).collect();
        let is_stored = |(_, s): &(usize, &RowStore)| self.varies[s.term] && self.levels[s.term] == level;
        let stored: Vec<(usize, RowStore)> =
            stores.iter().enumerate().filter(is_stored).map(|(slot, s)| (slot, *s)).collect();
        if reductions.is_empty() && stored.is_empty() {
            return;
        }
        let reduce = |reduction: Reduction| Reduce {
            reduction,
            dtype: Kind::F,
            team: *team,
            kept_axes: 1,
            reduced_axes: 1,
            pass: Pass::Whole,
        };
        let sums: Vec<Reg> = reductions.iter().map(|(_, kind, _)| reduce(*kind).neutral(k)).collect();
        let mut needed = vec![false; terms.len()];
        reductions.iter().map(|r| r.2).chain(stored.iter().map(|s| s.1.term)).for_each(|i| needed[i] = true);
        for i in (0..terms.len()).rev() {
            if let (true, true, RowTerm::Element(term)) = (needed[i], self.varies[i], &terms[i].0) {
                inputs(term).into_iter().for_each(|i| needed[i] = true);
            }
        }
        let bases: Vec<Reg> =
            stored.iter().map(|(slot, _)| k.param_u64(self.variant.stores_offset() + 8 * slot)).collect();
        let (at, (top, end)) = (k.r(), (k.label("ELEMENT"), k.label("WALKED")));
        op!(k, "mov.u32 {at}, {}", self.first);
        k.place(&top);
        k.branch_ge(at, self.dim, &end);
        let mut values = self.values.clone();
        for i in (0..terms.len()).filter(|i| needed[*i] && self.varies[*i]) {
            values[i] = Some(self.term(k, i, Some(at), &values));
        }
        let value = |i: usize| values[i].unwrap_or(self.row);
        for ((_, kind, x), sum) in reductions.iter().zip(&sums) {
            let element = reduce(*kind).widened(k, value(*x));
            reduce(*kind).combine(k, *sum, element);
        }
        for ((_, store), base) in stored.iter().zip(bases) {
            let index = k.r();
            op!(k, "mad.lo.u32 {index}, {}, {}, {at}", self.row, self.dim);
            self.put(k, *store, (base, index), value(store.term), None);
        }
        op!(k, "add.u32 {at}, {at}, {}", if *team == Team::Block { BLOCK_THREADS } else { 32 });
        op!(k, "bra {top}");
        k.place(&end);
        for ((i, kind, _), sum) in reductions.into_iter().zip(sums) {
            self.values[i] = Some(reduce(kind).broadcast(k, self.first, sum));
        }
    }

    /// Stores the values of the whole row, by the row's first thread.
    fn store_values_of_row(&self, k: &mut Emitter) {
        let leads = k.p();
        op!(k, "setp.eq.u32 {leads}, {}, 0", self.first);
        for (slot, store) in self.variant.stores.iter().enumerate().filter(|(_, s)| !self.varies[s.term]) {
            let base = k.param_u64(self.variant.stores_offset() + 8 * slot);
            let value = self.values[store.term].unwrap_or(self.row);
            self.put(k, *store, (base, self.row), value, Some(leads));
        }
    }

    /// Stores a value as element `index` of a result, if `exists`; always without a predicate.
    fn put(
        &self,
        k: &mut Emitter,
        store: RowStore,
        (base, index): (Reg, Reg),
        value: Reg,
        exists: Option<Reg>,
    ) {
        if self.variant.terms[store.term].1 == Kind::F {
            let address = k.address(base, index, store.storage.bytes());
            return store.storage.store(k, address, value, exists);
        }
        let address = k.address(base, index, 4);
        let guard = exists.map_or(String::new(), |p| format!("@{p} "));
        op!(k, "{guard}st.global.u32 [{address}], {value}");
    }
}
