//! Types in which operands and results are stored. Kernels compute in float32: narrow elements are widened where they are read,
//! which is exact, and results are rounded where they are stored.

use std::fmt::Display;

use crate::emit::{Emitter, Reg};
use crate::op;

/// Type of stored elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Storage {
    /// float32.
    #[default]
    F32,
    /// bfloat16.
    Bf16,
    /// float16.
    F16,
}

impl Storage {
    /// Returns the size of an element in bytes.
    pub const fn bytes(self) -> u32 {
        match self {
            Storage::F32 => 4,
            Storage::Bf16 | Storage::F16 => 2,
        }
    }

    /// Returns the number of elements in 16 bytes.
    pub const fn group(self) -> u32 {
        16 / self.bytes()
    }

    /// Returns the type's part of a kernel's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Storage::F32 => "",
            Storage::Bf16 => "_bf16",
            Storage::F16 => "_f16",
        }
    }

    /// Loads the element at `address` of a state space and widens it; 0 unless it exists. Without a predicate it is loaded always.
    pub(super) fn load(
        self,
        k: &mut Emitter,
        space: &str,
        address: impl Display,
        exists: Option<Reg>,
    ) -> Reg {
        let (loaded, ty, zero) = match self {
            Storage::F32 => (k.f(), "f32", "mov.f32"),
            Storage::Bf16 => (k.r(), "u16", "mov.u32"),
            Storage::F16 => (k.h(), "b16", "mov.b16"),
        };
        match exists {
            Some(p) => {
                let nothing = if self == Storage::F32 { "0f00000000" } else { "0" };
                op!(k, "{zero} {loaded}, {nothing}");
                op!(k, "@{p} ld.{space}.{ty} {loaded}, [{address}]");
            }
            None => op!(k, "ld.{space}.{ty} {loaded}, [{address}]"),
        }
        match self {
            Storage::F32 => loaded,
            Storage::Bf16 => {
                let (bits, v) = (k.r(), k.f());
                op!(k, "shl.b32 {bits}, {loaded}, 16");
                op!(k, "mov.b32 {v}, {bits}");
                v
            }
            Storage::F16 => {
                let v = k.f();
                op!(k, "cvt.f32.f16 {v}, {loaded}");
                v
            }
        }
    }

    /// Widens both elements of a word, the one at the lower address first. Words of float32 have one.
    pub(super) fn widen(self, k: &mut Emitter, word: Reg) -> Vec<Reg> {
        match self {
            Storage::F32 => {
                let v = k.f();
                op!(k, "mov.b32 {v}, {word}");
                vec![v]
            }
            Storage::Bf16 => {
                let (low, high, a, b) = (k.r(), k.r(), k.f(), k.f());
                op!(k, "shl.b32 {low}, {word}, 16");
                op!(k, "and.b32 {high}, {word}, 0xffff0000");
                op!(k, "mov.b32 {a}, {low}");
                op!(k, "mov.b32 {b}, {high}");
                vec![a, b]
            }
            Storage::F16 => {
                let (low, high, a, b) = (k.h(), k.h(), k.f(), k.f());
                op!(k, "mov.b32 {{{low}, {high}}}, {word}");
                op!(k, "cvt.f32.f16 {a}, {low}");
                op!(k, "cvt.f32.f16 {b}, {high}");
                vec![a, b]
            }
        }
    }

    /// Rounds a value to the nearest one of a narrow type and returns its bits.
    fn narrowed(self, k: &mut Emitter, value: Reg) -> Reg {
        match self {
            Storage::F32 => value,
            Storage::Bf16 | Storage::F16 => {
                let h = k.h();
                let ty = if self == Storage::Bf16 { "bf16" } else { "f16" };
                op!(k, "cvt.rn.{ty}.f32 {h}, {value}");
                h
            }
        }
    }

    /// Stores a value to global memory, rounded to the nearest one of the type, if the element exists; always without a predicate.
    pub(super) fn store(self, k: &mut Emitter, address: impl Display, value: Reg, exists: Option<Reg>) {
        let guard = exists.map_or(String::new(), |p| format!("@{p} "));
        let ty = if self == Storage::F32 { "f32" } else { "b16" };
        let bits = self.narrowed(k, value);
        op!(k, "{guard}st.global.{ty} [{address}], {bits}");
    }

    /// Stores four values to adjacent elements of global memory, which start at a multiple of four elements.
    pub(super) fn store_four(self, k: &mut Emitter, address: impl Display, [a, b, c, d]: [Reg; 4]) {
        let packed = |k: &mut Emitter, low: Reg, high: Reg| {
            let word = k.r();
            let ty = if self == Storage::Bf16 { "bf16x2" } else { "f16x2" };
            op!(k, "cvt.rn.{ty}.f32 {word}, {high}, {low}");
            word
        };
        if self == Storage::F32 {
            op!(k, "st.global.v4.f32 [{address}], {{{a}, {b}, {c}, {d}}}");
        } else {
            let (low, high) = (packed(k, a, b), packed(k, c, d));
            op!(k, "st.global.v2.b32 [{address}], {{{low}, {high}}}");
        }
    }

    /// Loads four adjacent elements of a state space and widens them; zeros unless they exist. They start at a multiple of four
    /// elements.
    pub(super) fn load_four(
        self,
        k: &mut Emitter,
        space: &str,
        address: impl Display,
        exists: Option<Reg>,
    ) -> Vec<Reg> {
        let guard = exists.map_or(String::new(), |p| format!("@{p} "));
        if self == Storage::F32 {
            let v = [k.f(), k.f(), k.f(), k.f()];
            if exists.is_some() {
                v.iter().for_each(|v| op!(k, "mov.f32 {v}, 0f00000000"));
            }
            let [a, b, c, d] = v;
            op!(k, "{guard}ld.{space}.v4.f32 {{{a}, {b}, {c}, {d}}}, [{address}]");
            return v.to_vec();
        }
        let words = [k.r(), k.r()];
        if exists.is_some() {
            words.iter().for_each(|w| op!(k, "mov.u32 {w}, 0"));
        }
        op!(k, "{guard}ld.{space}.v2.b32 {{{}, {}}}, [{address}]", words[0], words[1]);
        words.into_iter().flat_map(|w| self.widen(k, w)).collect()
    }
}
