//! Elementwise chains: one expression over operands that broadcast, and one result. They are emitted from the lowered graph.
//!
//! On the device, floats are float32, integers are int64, and booleans are 32-bit words, 0 or 1, so that no two threads share a
//! word.

mod float;
mod whole;

use dlbc_ops::prim::{Binary, Unary};
use dlbc_ops::tensor::DType;

use super::digest;
use super::storage::Storage;
use crate::device::Kernel;
use crate::emit::{Emitter, Reg, imm};
use crate::op;

/// Threads per block.
pub const THREADS: u32 = 256;

/// Element type on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Float: float32.
    F,
    /// Integer: int64.
    I,
    /// Boolean: 0 or 1 in 32 bits.
    B,
}

impl Kind {
    /// Returns the device type that represents an element type of the program.
    pub fn of(dtype: DType) -> Kind {
        match dtype {
            DType::F32 | DType::F64 | DType::F16 | DType::Bf16 => Kind::F,
            DType::Bool => Kind::B,
            DType::I8 | DType::I16 | DType::I32 | DType::I64 => Kind::I,
            DType::U8 | DType::U16 | DType::U32 | DType::U64 => Kind::I,
        }
    }

    /// Returns the size of an element in bytes.
    pub fn bytes(self) -> u32 {
        match self {
            Kind::F | Kind::B => 4,
            Kind::I => 8,
        }
    }

    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Kind::F => "f32",
            Kind::I => "s64",
            Kind::B => "u32",
        }
    }

    pub(super) fn register(self, k: &mut Emitter) -> Reg {
        match self {
            Kind::F => k.f(),
            Kind::I => k.d(),
            Kind::B => k.r(),
        }
    }
}

/// Mapping from a thread's index to its element of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Thread `i` accesses element `i`.
    Linear,
    /// The thread's coordinates, times a stride per axis.
    Strided,
    /// Every thread accesses the first element.
    Scalar,
}

/// An operand of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Operand {
    /// Element type.
    pub kind: Kind,
    /// Mapping from threads to elements.
    pub access: Access,
    /// Type of floats in memory.
    pub storage: Storage,
}

impl Operand {
    /// Creates an operand of this type, whose floats are not narrow.
    pub fn new(kind: Kind, access: Access) -> Operand {
        Operand { kind, access, storage: Storage::F32 }
    }

    /// Returns the size of an element in memory, in bytes.
    fn bytes(&self) -> u32 {
        if self.kind == Kind::F { self.storage.bytes() } else { self.kind.bytes() }
    }
}

/// A node of an expression. Numbers are indices of earlier terms.
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    /// An operand, by its index in the list of operands.
    Operand(usize),
    /// A float constant.
    Float(f32),
    /// An integer constant.
    Int(i64),
    /// A boolean constant.
    Bool(bool),
    /// A function of one term.
    Unary(Unary, usize),
    /// A function of two terms.
    Binary(Binary, usize, usize),
    /// `condition ? a : b`.
    Select(usize, usize, usize),
    /// A conversion to an element type.
    Cast(DType, usize),
}

/// A kernel that evaluates one expression for every element.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    /// The operands.
    pub operands: Vec<Operand>,
    /// Terms with their element types. The last one is the result.
    pub terms: Vec<(Term, Kind)>,
    /// Number of axes of the index space; 0 if nothing is strided.
    pub rank: usize,
    /// Mapping from threads to elements of the result: linear or strided.
    pub out: Access,
    /// Type of the result in memory, if it is a float.
    pub storage: Storage,
    /// Elements per thread: 1, or 4 if everything is linear and float.
    pub width: u32,
}

/// Values of the parameters of a [`Chain`].
#[derive(Clone, Debug, Default)]
pub struct ChainArgs {
    /// Address of the result.
    pub out: u64,
    /// Address of the status word, which a failing element sets to 1; 0 if the expression cannot fail.
    pub status: u64,
    /// Addresses of the operands.
    pub operands: Vec<u64>,
    /// Number of elements.
    pub count: u32,
    /// Dimensions of the index space; empty if nothing is strided.
    pub dims: Vec<u32>,
    /// Strides of the result in elements, modulo 2³²; empty if it is linear.
    pub out_strides: Vec<i32>,
    /// Strides of each strided operand, in elements, modulo 2³².
    pub strides: Vec<Vec<i32>>,
}

impl Chain {
    /// Returns the element type of the result.
    pub fn result(&self) -> Kind {
        self.terms.last().map_or(Kind::F, |(_, kind)| *kind)
    }

    /// Returns whether an element can fail, by an integer division by 0.
    pub fn fails(&self) -> bool {
        self.terms.iter().any(|(term, kind)| {
            let divides = matches!(term, Term::Binary(Binary::Div | Binary::Mod | Binary::Pow, ..));
            divides && *kind == Kind::I
        })
    }

    /// Returns the number of blocks for `count` elements.
    pub fn blocks(&self, count: u32) -> u32 {
        count.div_ceil(THREADS * self.width)
    }

    /// Returns the entry point's name, which determines the text.
    pub fn name(&self) -> String {
        format!("pointwise_{}", digest(&format!("{self:?}")))
    }

    /// Returns the offset of the element count in the parameter block; dimensions and strides follow it.
    fn count_at(&self) -> usize {
        16 + 8 * self.operands.len()
    }

    /// Returns the indices of the strided operands.
    fn strided(&self) -> impl Iterator<Item = usize> + '_ {
        let strided = |o: &Operand| o.access == Access::Strided;
        self.operands.iter().enumerate().filter(move |(_, o)| strided(o)).map(|(i, _)| i)
    }

    /// Returns the size of the parameter block in bytes.
    fn params_bytes(&self) -> usize {
        let lists = 1 + usize::from(self.out == Access::Strided) + self.strided().count();
        (self.count_at() + 4 + 4 * self.rank * lists).next_multiple_of(8)
    }

    /// Builds the parameter block.
    pub fn params(&self, args: &ChainArgs) -> Vec<u8> {
        let mut words: Vec<u8> = vec![];
        words.extend(args.out.to_le_bytes());
        words.extend(args.status.to_le_bytes());
        words.extend(args.operands.iter().flat_map(|o| o.to_le_bytes()));
        words.extend(args.count.to_le_bytes());
        words.extend(args.dims.iter().flat_map(|d| d.to_le_bytes()));
        words.extend(
            args.out_strides.iter().chain(args.strides.iter().flatten()).flat_map(|s| s.to_le_bytes()),
        );
        words.resize(self.params_bytes(), 0);
        words
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
        let i = k.global_index(THREADS);
        let count = k.param_u32(self.count_at());
        if self.width > 1 {
            op!(k, "shl.b32 {i}, {i}, {}", self.width.trailing_zeros());
        }
        k.branch_ge(i, count, &finished);
        let at = self.count_at() + 4;
        let inner = k.param_inner_dims(at, self.rank);
        let coordinates = k.coordinates(i, &inner);
        let mut lists = at + 4 * self.rank;
        let mut strided = |k: &mut Emitter| {
            let strides = k.param_u32s(lists, self.rank);
            lists += 4 * self.rank;
            k.offset(None, &coordinates, &strides)
        };
        let out_index = if self.out == Access::Strided { strided(k) } else { i };
        let mut loaded: Vec<Vec<Reg>> = vec![];
        for (number, operand) in self.operands.iter().enumerate() {
            let base = k.param_u64(16 + 8 * number);
            let address = match operand.access {
                Access::Linear => k.address(base, i, operand.bytes()),
                Access::Strided => {
                    let index = strided(k);
                    k.address(base, index, operand.bytes())
                }
                Access::Scalar => base,
            };
            loaded.push(self.load(k, *operand, address));
        }
        let results: Vec<Reg> = (0..self.width as usize)
            .map(|lane| {
                let values: Vec<Reg> = loaded.iter().map(|l| l[lane.min(l.len() - 1)]).collect();
                evaluate(k, &self.terms, &values, Division::Rounded)
            })
            .collect();
        let base = k.param_u64(0);
        let kind = self.result();
        let out = Operand { kind, access: self.out, storage: self.storage };
        let address = k.address(base, out_index, out.bytes());
        match *results.as_slice() {
            [a, b, c, d] => self.storage.store_four(k, address, [a, b, c, d]),
            [value, ..] if kind == Kind::F => self.storage.store(k, address, value, None),
            [value, ..] => op!(k, "st.global.{} [{address}], {value}", kind.suffix()),
            [] => {}
        }
        k.place(&finished);
        emitter.finish(name, THREADS, self.params_bytes()).of_variant(self.clone())
    }

    fn load(&self, k: &mut Emitter, operand: Operand, address: Reg) -> Vec<Reg> {
        if self.width == 4 && operand.access == Access::Linear {
            return operand.storage.load_four(k, "global", address, None);
        }
        if operand.kind == Kind::F {
            return vec![operand.storage.load(k, "global", address, None)];
        }
        let v = operand.kind.register(k);
        op!(k, "ld.global.{} {v}, [{address}]", operand.kind.suffix());
        vec![v]
    }
}

/// Rounding of float divisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Division {
    /// Rounds to nearest.
    Rounded,
    /// Accurate to two units in the last place; takes few instructions and no call.
    Full,
}

/// Evaluates `terms` and returns the value of the last one.
pub(super) fn evaluate(k: &mut Emitter, terms: &[(Term, Kind)], operands: &[Reg], division: Division) -> Reg {
    let mut values: Vec<Reg> = vec![];
    for (term, kind) in terms {
        let value = match term {
            Term::Operand(i) => operands[*i],
            term => evaluate_term(k, (term, *kind), &|i| (values[i], terms[i].1), division),
        };
        values.push(value);
    }
    values.last().copied().unwrap_or_else(|| k.f())
}

/// Evaluates a term of element type `kind` other than an operand. `typed` returns the value and the element type of an earlier
/// term.
pub(super) fn evaluate_term(
    k: &mut Emitter,
    (term, kind): (&Term, Kind),
    typed: &dyn Fn(usize) -> (Reg, Kind),
    division: Division,
) -> Reg {
    match term {
        Term::Operand(i) => typed(*i).0,
        Term::Float(v) => {
            let f = k.f();
            op!(k, "mov.f32 {f}, {}", imm(*v));
            f
        }
        Term::Int(v) => {
            let d = k.d();
            op!(k, "mov.b64 {d}, 0x{:016x}", *v as u64);
            d
        }
        Term::Bool(v) => k.mov_u32(if *v { "1" } else { "0" }),
        Term::Unary(f, a) => match typed(*a) {
            (a, Kind::F) => float::unary(k, *f, a),
            (a, Kind::I) => whole::unary(k, *f, a),
            (a, Kind::B) => {
                let r = k.r();
                op!(k, "xor.b32 {r}, {a}, 1");
                r
            }
        },
        Term::Binary(f, a, b) => match (typed(*a), typed(*b).0) {
            ((a, Kind::F), b) => float::binary(k, *f, a, b, division),
            ((a, Kind::I), b) => whole::binary(k, *f, a, b),
            ((a, Kind::B), b) => whole::logic(k, *f, a, b),
        },
        Term::Select(c, a, b) => {
            let (c, a, b, p) = (typed(*c).0, typed(*a).0, typed(*b).0, k.p());
            op!(k, "setp.ne.u32 {p}, {c}, 0");
            let d = kind.register(k);
            let ty = match kind {
                Kind::F => "f32",
                Kind::I => "b64",
                Kind::B => "b32",
            };
            op!(k, "selp.{ty} {d}, {a}, {b}, {p}");
            d
        }
        Term::Cast(dtype, a) => {
            let (a, source) = typed(*a);
            whole::cast(k, *dtype, a, source)
        }
    }
}

/// Converts a predicate to a word, 0 or 1.
fn as_word(k: &mut Emitter, p: Reg) -> Reg {
    let r = k.r();
    op!(k, "selp.u32 {r}, 1, 0, {p}");
    r
}

/// Sets the status word, the second parameter of the block, if `p`.
fn fail(k: &mut Emitter, p: Reg) {
    let status = k.param_u64(8);
    op!(k, "@{p} red.global.or.b32 [{status}], 1");
}
