//! The emitter: typed virtual registers, labels, one PTX instruction a call. No optimiser: whoever writes a kernel decides
//! every instruction.

use std::fmt;
use std::fmt::Write;

use crate::device::Kernel;

/// A virtual register. Prints as PTX spells it.
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

/// Register classes and their PTX types.
const CLASSES: [(char, &str); 6] =
    [('r', "b32"), ('d', "b64"), ('f', "f32"), ('g', "f64"), ('p', "pred"), ('h', "b16")];

/// Bytes of shared memory that a text may declare; a launch asks for more.
const DECLARED: u32 = 48 << 10;

/// Writes one instruction: `op!(k, "add.u32 {d}, {a}, {b}")`.
#[macro_export]
macro_rules! op {
    ($k:expr, $($text:tt)*) => { $k.line(format!($($text)*)) };
}

/// A kernel being written.
#[derive(Default)]
pub struct Emitter {
    body: String,
    counts: [u32; 6],
    labels: u32,
    shared_bytes: u32,
    resident: Option<u32>,
}

impl Emitter {
    /// An empty kernel.
    pub fn new() -> Emitter {
        Emitter::default()
    }

    fn register(&mut self, class: usize) -> Reg {
        self.counts[class] += 1;
        Reg { class: CLASSES[class].0, index: self.counts[class] - 1 }
    }

    /// A 32-bit integer register.
    pub fn r(&mut self) -> Reg {
        self.register(0)
    }

    /// A 64-bit integer register.
    pub fn d(&mut self) -> Reg {
        self.register(1)
    }

    /// A float32 register.
    pub fn f(&mut self) -> Reg {
        self.register(2)
    }

    /// A float64 register.
    pub fn g(&mut self) -> Reg {
        self.register(3)
    }

    /// A predicate register.
    pub fn p(&mut self) -> Reg {
        self.register(4)
    }

    /// A 16-bit register.
    pub fn h(&mut self) -> Reg {
        self.register(5)
    }

    /// Writes one instruction.
    pub fn line(&mut self, text: String) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.body, "    {text};");
    }

    /// A fresh label.
    pub fn label(&mut self, name: &str) -> String {
        self.labels += 1;
        format!("{name}_{}", self.labels)
    }

    /// Puts a label here.
    pub fn place(&mut self, label: &str) {
        let _ = writeln!(self.body, "{label}:");
    }

    /// Reserves shared memory; returns the offset of its first byte.
    pub fn shared(&mut self, bytes: u32) -> u32 {
        let at = self.shared_bytes;
        self.shared_bytes += bytes.next_multiple_of(16);
        at
    }

    /// Says how many blocks are to fit on a multiprocessor, so that the assembler neither takes more registers nor, for more
    /// blocks, fewer.
    pub fn resident(&mut self, blocks: u32) {
        self.resident = Some(blocks);
    }

    /// A 32-bit parameter.
    pub fn param_u32(&mut self, offset: usize) -> Reg {
        let r = self.r();
        op!(self, "ld.param.u32 {r}, [p+{offset}]");
        r
    }

    /// A float32 parameter.
    pub fn param_f32(&mut self, offset: usize) -> Reg {
        let f = self.f();
        op!(self, "ld.param.f32 {f}, [p+{offset}]");
        f
    }

    /// A 64-bit parameter.
    pub fn param_u64(&mut self, offset: usize) -> Reg {
        let d = self.d();
        op!(self, "ld.param.u64 {d}, [p+{offset}]");
        d
    }

    /// `count` 32-bit parameters, one after another.
    pub fn param_u32s(&mut self, offset: usize, count: usize) -> Vec<Reg> {
        (0..count).map(|i| self.param_u32(offset + 4 * i)).collect()
    }

    /// The dimensions that [`Emitter::coordinates`] takes, of `rank` that lie one after another.
    pub fn param_inner(&mut self, offset: usize, rank: usize) -> Vec<Reg> {
        self.param_u32s(offset + 4, rank.saturating_sub(1))
    }

    /// A 32-bit copy of a special register or an immediate.
    pub fn mov_u32(&mut self, from: &str) -> Reg {
        let r = self.r();
        op!(self, "mov.u32 {r}, {from}");
        r
    }

    /// The linear index of this thread, along x.
    pub fn global_index(&mut self, threads: u32) -> Reg {
        let (block, thread) = (self.mov_u32("%ctaid.x"), self.mov_u32("%tid.x"));
        let i = self.r();
        op!(self, "mad.lo.u32 {i}, {block}, {threads}, {thread}");
        i
    }

    /// Jumps to `label` when `a ≥ b`, unsigned.
    pub fn branch_ge(&mut self, a: Reg, b: impl fmt::Display, label: &str) {
        let p = self.p();
        op!(self, "setp.ge.u32 {p}, {a}, {b}");
        op!(self, "@{p} bra {label}");
    }

    /// The address of element `index` of `size` bytes. The index has a sign: axes may run backwards from the base.
    pub fn address(&mut self, base: Reg, index: Reg, size: u32) -> Reg {
        let d = self.d();
        op!(self, "mad.wide.s32 {d}, {index}, {size}, {base}");
        d
    }

    /// The quotient and the rest of an unsigned division.
    pub fn div_rem(&mut self, a: Reg, b: Reg) -> (Reg, Reg) {
        let (quotient, rest) = (self.r(), self.r());
        op!(self, "div.u32 {quotient}, {a}, {b}");
        op!(self, "mul.lo.u32 {rest}, {quotient}, {b}");
        op!(self, "sub.u32 {rest}, {a}, {rest}");
        (quotient, rest)
    }

    /// The coordinates of a row-major index, outermost first; `inner` are the dimensions without the outermost.
    pub fn coordinates(&mut self, index: Reg, inner: &[Reg]) -> Vec<Reg> {
        let mut rest = index;
        let mut found = vec![];
        for dim in inner.iter().rev() {
            let (quotient, at) = self.div_rem(rest, *dim);
            found.push(at);
            rest = quotient;
        }
        found.push(rest);
        found.reverse();
        found
    }

    /// `start + Σ coordinate · stride`, modulo 2³².
    pub fn offset(&mut self, start: Option<Reg>, coordinates: &[Reg], strides: &[Reg]) -> Reg {
        let mut at = start;
        for (coordinate, stride) in coordinates.iter().zip(strides) {
            let next = self.r();
            match at {
                Some(at) => op!(self, "mad.lo.u32 {next}, {coordinate}, {stride}, {at}"),
                None => op!(self, "mul.lo.u32 {next}, {coordinate}, {stride}"),
            }
            at = Some(next);
        }
        at.unwrap_or_else(|| self.mov_u32("0"))
    }

    /// The finished kernel. `params` is the size of its parameter block in bytes.
    pub fn finish(self, name: &str, threads: u32, params: usize) -> Kernel {
        let mut text = String::from(".version 7.0\n.target sm_80\n.address_size 64\n\n");
        let dynamic = self.shared_bytes > DECLARED;
        if dynamic {
            text.push_str(".extern .shared .align 16 .b8 smem[];\n\n");
        }
        let _ = write!(
            text,
            ".visible .entry {name}(.param .align 8 .b8 p[{params}])\n.maxntid {threads}, 1, 1\n"
        );
        if let Some(blocks) = self.resident {
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
        Kernel { name: name.into(), text, threads, shared: if dynamic { self.shared_bytes } else { 0 } }
    }
}

/// A float32 immediate, bit for bit.
pub fn imm(value: f32) -> String {
    format!("0f{:08X}", value.to_bits())
}

/// A float64 immediate, bit for bit.
pub fn imm64(value: f64) -> String {
    format!("0d{:016X}", value.to_bits())
}
