//! A parsed kernel.

/// A 32-bit value of each lane.
pub(crate) type L32 = [u32; 32];
/// A 64-bit value of each lane.
pub(crate) type L64 = [u64; 32];

/// A kernel ready to run.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) instructions: Vec<Instruction>,
    /// Registers of 32 bits (predicates, halves and floats among them) and of 64.
    pub(crate) registers: [usize; 2],
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of the parameter block.
    pub params: usize,
    /// Bytes of shared memory.
    pub shared: usize,
}

impl Program {
    /// Instructions, counted in the text.
    pub fn len(&self) -> usize {
        self.instructions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.instructions.is_empty()
    }
}

/// Where a value comes from or goes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place {
    R32(usize),
    R64(usize),
    Immediate(u64),
    Thread,
    Block(usize),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Space {
    Global,
    Shared,
}

/// Which lane's value a shuffle gives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Exchange {
    /// The lane whose number differs in these bits.
    Butterfly,
    /// The lane so many before; the first ones keep their own.
    Up,
    /// The lane of this number.
    Index,
}

/// How a comparison joins a predicate.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Join {
    Alone,
    And,
    Or,
}

/// What an instruction does. Functions work on all lanes; what inactive ones compute is dropped.
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
    /// 64 bits shifted by 32.
    Shift64(fn(u64, u32) -> u64),
    Compare32(fn(&L32, &L32, &mut L32), Join),
    Compare64(fn(&L64, &L64, &mut L32), Join),
    Select32,
    Select64,
    Pack,
    Unpack,
    Parameter,
    Load(Space),
    Store(Space),
    ReduceOr,
    Shuffle(Exchange),
    Barrier,
    Branch(usize),
    Return,
    /// Of so many bytes.
    CopyAsync(u32),
    CopyCommit,
    CopyWait(u32),
    Mma(Operands),
}

/// What a tensor core multiplies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operands {
    /// 16 by 8 by 8.
    Tf32,
    /// 16 by 8 by 16, two in a register.
    Bf16,
}

#[derive(Clone, Debug)]
pub(crate) struct Instruction {
    pub(crate) op: Op,
    /// Destinations; the values of a store.
    pub(crate) to: Vec<Place>,
    /// Sources, the base of an address first.
    pub(crate) from: Vec<Place>,
    /// Added to the base; the offset of a parameter.
    pub(crate) offset: i64,
    /// The predicate and the value that lets the instruction run.
    pub(crate) guard: Option<(usize, bool)>,
    pub(crate) line: u32,
}
