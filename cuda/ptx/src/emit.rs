//! The emitter: typed virtual registers, labels, one PTX instruction per call. It does not optimise: the author of a kernel
//! chooses every instruction.

use std::fmt;
use std::fmt::Write;

use crate::device::Kernel;

/// A virtual register. `Display` prints its PTX name, such as `%r3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reg {
    class: char,
    index: u32,
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}{}", self.class, self.index)
    }
}

/// Register classes: the letter of their names and their PTX type.
const CLASSES: [(char, &str); 6] =
    [('r', "b32"), ('d', "b64"), ('f', "f32"), ('g', "f64"), ('p', "pred"), ('h', "b16")];

/// Shared memory in bytes that a text may declare; a kernel that needs more gets all of it as dynamic shared memory.
const MAX_STATIC_SHARED: u32 = 48 << 10;

/// Appends one instruction to the emitter `k`: `op!(k, "add.u32 {d}, {a}, {b}")`.
#[macro_export]
macro_rules! op {
    ($k:expr, $($text:tt)*) => { $k.line(format!($($text)*)) };
}

/// A kernel under construction.
#[derive(Default)]
pub struct Emitter {
    body: String,
    /// Declared registers by class, in the order of [`CLASSES`].
    counts: [u32; 6],
    labels: u32,
    shared_bytes: u32,
    /// Value of `.minnctapersm`, if the kernel sets it.
    resident_blocks: Option<u32>,
}

impl Emitter {
    /// Creates an emitter without instructions.
    pub fn new() -> Emitter {
        Emitter::default()
    }

    fn register(&mut self, class: usize) -> Reg {
        self.counts[class] += 1;
        Reg { class: CLASSES[class].0, index: self.counts[class] - 1 }
    }

    /// Declares a 32-bit integer register.
    pub fn r(&mut self) -> Reg {
        self.register(0)
    }

    /// Declares a 64-bit integer register.
    pub fn d(&mut self) -> Reg {
        self.register(1)
    }

    /// Declares a float32 register.
    pub fn f(&mut self) -> Reg {
        self.register(2)
    }

    /// Declares a float64 register.
    pub fn g(&mut self) -> Reg {
        self.register(3)
    }

    /// Declares a predicate register.
    pub fn p(&mut self) -> Reg {
        self.register(4)
    }

    /// Declares a 16-bit register.
    pub fn h(&mut self) -> Reg {
        self.register(5)
    }

    /// Appends one instruction; see [`op!`](crate::op).
    pub fn line(&mut self, text: String) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.body, "    {text};");
    }

    /// Creates a label whose name is unique in the kernel.
    pub fn label(&mut self, name: &str) -> String {
        self.labels += 1;
        format!("{name}_{}", self.labels)
    }

    /// Places a label before the next instruction.
    pub fn place(&mut self, label: &str) {
        let _ = writeln!(self.body, "{label}:");
    }

    /// Reserves shared memory and returns the offset of its first byte from `smem`, a multiple of 16.
    pub fn shared(&mut self, bytes: u32) -> u32 {
        let offset = self.shared_bytes;
        self.shared_bytes += bytes.next_multiple_of(16);
        offset
    }

    /// Sets how many blocks must fit on a multiprocessor at once (`.minnctapersm`). The assembler then limits the registers of a
    /// thread to what that number allows, and to no fewer.
    pub fn set_resident_blocks(&mut self, blocks: u32) {
        self.resident_blocks = Some(blocks);
    }

    /// Loads the 32-bit parameter at `offset` of the block.
    pub fn param_u32(&mut self, offset: usize) -> Reg {
        let r = self.r();
        op!(self, "ld.param.u32 {r}, [p+{offset}]");
        r
    }

    /// Loads the float32 parameter at `offset` of the block.
    pub fn param_f32(&mut self, offset: usize) -> Reg {
        let f = self.f();
        op!(self, "ld.param.f32 {f}, [p+{offset}]");
        f
    }

    /// Loads the 64-bit parameter at `offset` of the block.
    pub fn param_u64(&mut self, offset: usize) -> Reg {
        let d = self.d();
        op!(self, "ld.param.u64 {d}, [p+{offset}]");
        d
    }

    /// Loads `count` consecutive 32-bit parameters.
    pub fn param_u32s(&mut self, offset: usize, count: usize) -> Vec<Reg> {
        (0..count).map(|i| self.param_u32(offset + 4 * i)).collect()
    }

    /// Loads the dimensions that [`Emitter::coordinates`] takes, from an array of `rank` dimensions at `offset`: all but the
    /// outermost.
    pub fn param_inner_dims(&mut self, offset: usize, rank: usize) -> Vec<Reg> {
        self.param_u32s(offset + 4, rank.saturating_sub(1))
    }

    /// Copies a register, a special register or an immediate into a new 32-bit register.
    pub fn mov_u32(&mut self, source: &str) -> Reg {
        let r = self.r();
        op!(self, "mov.u32 {r}, {source}");
        r
    }

    /// Returns the index of this thread in the grid, along x.
    pub fn global_index(&mut self, threads: u32) -> Reg {
        let (block, thread) = (self.mov_u32("%ctaid.x"), self.mov_u32("%tid.x"));
        let i = self.r();
        op!(self, "mad.lo.u32 {i}, {block}, {threads}, {thread}");
        i
    }

    /// Jumps to `label` if `a ≥ b`, unsigned.
    pub fn branch_ge(&mut self, a: Reg, b: impl fmt::Display, label: &str) {
        let p = self.p();
        op!(self, "setp.ge.u32 {p}, {a}, {b}");
        op!(self, "@{p} bra {label}");
    }

    /// Returns the address of element `index`, of `size` bytes each. The index is signed: strides may be negative.
    pub fn address(&mut self, base: Reg, index: Reg, size: u32) -> Reg {
        let d = self.d();
        op!(self, "mad.wide.s32 {d}, {index}, {size}, {base}");
        d
    }

    /// Returns the quotient and the remainder of an unsigned division.
    pub fn div_rem(&mut self, a: Reg, b: Reg) -> (Reg, Reg) {
        let (quotient, remainder) = (self.r(), self.r());
        op!(self, "div.u32 {quotient}, {a}, {b}");
        op!(self, "mul.lo.u32 {remainder}, {quotient}, {b}");
        op!(self, "sub.u32 {remainder}, {a}, {remainder}");
        (quotient, remainder)
    }

    /// Returns the coordinates of a row-major index, outermost first; `inner` are all dimensions but the outermost.
    pub fn coordinates(&mut self, index: Reg, inner: &[Reg]) -> Vec<Reg> {
        let mut outer = index;
        let mut coordinates = vec![];
        for dim in inner.iter().rev() {
            let (quotient, coordinate) = self.div_rem(outer, *dim);
            coordinates.push(coordinate);
            outer = quotient;
        }
        coordinates.push(outer);
        coordinates.reverse();
        coordinates
    }

    /// Returns `start + Σ coordinate · stride`, modulo 2³².
    pub fn offset(&mut self, start: Option<Reg>, coordinates: &[Reg], strides: &[Reg]) -> Reg {
        let mut sum = start;
        for (coordinate, stride) in coordinates.iter().zip(strides) {
            let next = self.r();
            match sum {
                Some(sum) => op!(self, "mad.lo.u32 {next}, {coordinate}, {stride}, {sum}"),
                None => op!(self, "mul.lo.u32 {next}, {coordinate}, {stride}"),
            }
            sum = Some(next);
        }
        sum.unwrap_or_else(|| self.mov_u32("0"))
    }

    /// Assembles the kernel's text. `params_bytes` is the size of its parameter block.
    pub fn finish(self, name: &str, threads: u32, params_bytes: usize) -> Kernel {
        let mut text = String::from(".version 7.0\n.target sm_80\n.address_size 64\n\n");
        let dynamic = self.shared_bytes > MAX_STATIC_SHARED;
        if dynamic {
            text.push_str(".extern .shared .align 16 .b8 smem[];\n\n");
        }
        let _ = write!(
            text,
            ".visible .entry {name}(.param .align 8 .b8 p[{params_bytes}])\n.maxntid {threads}, 1, 1\n"
        );
        if let Some(blocks) = self.resident_blocks {
            let _ = writeln!(text, ".minnctapersm {blocks}");
        }
        text.push_str("{\n");
        for ((class, ty), count) in CLASSES.iter().zip(self.counts) {
            if count > 0 {
                let _ = writeln!(text, "    .reg .{ty} %{class}<{count}>;");
            }
        }
        if self.shared_bytes > 0 && !dynamic {
            let _ = writeln!(text, "    .shared .align 16 .b8 smem[{}];", self.shared_bytes);
        }
        text.push_str(&self.body);
        text.push_str("    ret;\n}\n");
        let shared = if dynamic { self.shared_bytes } else { 0 };
        Kernel { name: name.into(), text, threads, shared, variant: None }
    }
}

/// Formats a float32 immediate, bit for bit.
pub fn imm(value: f32) -> String {
    format!("0f{:08X}", value.to_bits())
}

/// Formats a float64 immediate, bit for bit.
pub fn imm64(value: f64) -> String {
    format!("0d{:016X}", value.to_bits())
}
