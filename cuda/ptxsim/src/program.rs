//! Parsed kernels.

/// A 32-bit value of each lane.
pub(crate) type L32 = [u32; 32];
/// A 64-bit value of each lane.
pub(crate) type L64 = [u64; 32];

/// A parsed kernel.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) instructions: Vec<Instruction>,
    /// Number of registers of up to 32 bits, predicates and halves among them, and of 64 bits.
    pub(crate) registers: [usize; 2],
    /// Threads per block.
    pub threads: u32,
    /// Size of the parameter block in bytes.
    pub params: usize,
    /// Size of shared memory in bytes.
    pub shared: usize,
}

impl Program {
    /// Returns the number of instructions of the text.
    pub fn len(&self) -> usize {
        self.instructions.len()
    }

    /// Returns whether the kernel has no instructions.
    pub fn is_empty(&self) -> bool {
        self.instructions.is_empty()
    }
}

/// Operand of an instruction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Operand {
    R32(usize),
    R64(usize),
    Immediate(u64),
    /// `%tid.x`.
    Thread,
    /// `%ctaid` along an axis.
    Block(usize),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Space {
    Global,
    Shared,
}

/// Source lane of a shuffle.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Exchange {
    /// The lane whose number differs in the bits of the distance.
    Butterfly,
    /// The lane `distance` below; the first lanes read themselves.
    Up,
    /// The lane with this number.
    Index,
}

/// Combination of a comparison with a predicate.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Join {
    Alone,
    And,
    Or,
}

/// Operation of an instruction. Functions compute all lanes; results of inactive lanes are dropped.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Un32(fn(&L32, &mut L32)),
    Bin32(fn(&L32, &L32, &mut L32)),
    Tri32(fn(&L32, &L32, &L32, &mut L32)),
    Un64(fn(&L64, &mut L64)),
    Bin64(fn(&L64, &L64, &mut L64)),
    Tri64(fn(&L64, &L64, &L64, &mut L64)),
    Widen(fn(&L32, &mut L64)),
    Narrow(fn(&L64, &mut L32)),
    MadWide,
    /// Shift of a 64-bit value by a 32-bit distance.
    Shift64(fn(u64, u32) -> u64),
    Compare32(fn(&L32, &L32, &mut L32), Join),
    Compare64(fn(&L64, &L64, &mut L32), Join),
    Select32,
    Select64,
    Pack,
    Unpack,
    /// Takes the two 16-bit halves of a word apart.
    UnpackHalves,
    Parameter,
    Load(Space),
    /// Load of 16 bits.
    LoadHalf(Space),
    Store(Space),
    /// Store of 16 bits to global memory.
    StoreHalf,
    ReduceOr,
    Shuffle(Exchange),
    Barrier,
    Branch(usize),
    Return,
    /// Asynchronous copy of this many bytes.
    CopyAsync(u32),
    CopyCommit,
    CopyWait(u32),
    Mma(MmaType),
}

/// Operand type and shape of a tensor-core instruction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MmaType {
    /// m16n8k8.
    Tf32,
    /// m16n8k16, two values per register.
    Bf16,
}

#[derive(Clone, Debug)]
pub(crate) struct Instruction {
    pub(crate) op: Op,
    /// Destinations; for a store, the stored values.
    pub(crate) targets: Vec<Operand>,
    /// Sources; for an access to memory, the base address first.
    pub(crate) sources: Vec<Operand>,
    /// Offset from the base address, or of a parameter in its block.
    pub(crate) offset: i64,
    /// Register of the predicate, and the value for which a lane executes the instruction.
    pub(crate) guard: Option<(usize, bool)>,
    pub(crate) line: u32,
}
