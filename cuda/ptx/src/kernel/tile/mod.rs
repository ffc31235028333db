//! The product of two matrices whose elements come from sources: block tiles in shared memory, register tiles in threads.
//!
//! Sums run over the depth in order, whatever the tile, so every tile size of scalar threads gives the same bits. Tiles of tensor
//! cores are filled by asynchronous copies, a ring of steps ahead of the one that is multiplied (`ring`).

use dlbc_ops::prim::Transform;

use super::math;
use crate::emit::{Emitter, Reg, imm};
use crate::op;

mod ring;
mod scalar;
mod staged;
mod tensor;

pub(super) use tensor::halves;

/// Sizes of a block's tile and of a thread's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Rows of a block.
    pub rows: u32,
    /// Columns of a block.
    pub columns: u32,
    /// Depth of a step.
    pub depth: u32,
    /// What multiplies.
    pub units: Units,
}

/// What multiplies a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Units {
    /// Threads with so many rows and columns, a multiple of 4.
    Scalar(u32),
    /// Tensor cores, in warps of so many rows and columns.
    Tensor([u32; 2], Math),
}

/// What a tensor core makes of float32 operands. Products are exact and sums float32; `u` is the sum of the magnitudes
/// `|a b|` of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Math {
    /// Each operand is two tf32 ones, its upper bits and the upper bits of what is left, and a product three (3xTF32). An
    /// infinite operand gives NaN.
    Split,
    /// Operands rounded to 11 bits.
    Tf32,
    /// Operands rounded to 8 bits.
    Bf16,
}

impl Math {
    /// How far the operands put an element off at most, in `u`: two of half a unit in the last place, and of split ones what
    /// the fourth product and the bits below both parts would add.
    pub const fn error(self) -> f64 {
        match self {
            Math::Split => 1.0 / (1 << 19) as f64,
            Math::Tf32 => 1.0 / (1 << 10) as f64,
            Math::Bf16 => 1.0 / (1 << 7) as f64,
        }
    }
}

impl Tile {
    /// For few rows.
    pub const FLAT: Tile = Tile { rows: 16, columns: 64, depth: 16, units: Units::Scalar(4) };
    /// For most.
    pub const SMALL: Tile = Tile { rows: 64, columns: 64, depth: 16, units: Units::Scalar(4) };
    /// For large products.
    pub const LARGE: Tile = Tile { rows: 128, columns: 128, depth: 8, units: Units::Scalar(8) };

    /// For tensor cores.
    pub const fn tensor(math: Math) -> Tile {
        Tile { rows: 64, columns: 64, depth: 16, units: Units::Tensor([32, 32], math) }
    }

    /// For large products on tensor cores.
    pub const fn large_tensor(math: Math) -> Tile {
        Tile { rows: 128, columns: 128, depth: 16, units: Units::Tensor([64, 32], math) }
    }

    /// Threads of a block.
    pub fn threads(self) -> u32 {
        match self.units {
            Units::Scalar(each) => self.rows / each * (self.columns / each),
            Units::Tensor([rows, columns], _) => 32 * (self.rows / rows) * (self.columns / columns),
        }
    }

    /// What tensor cores make of the operands; nothing for scalar threads.
    pub fn math(self) -> Option<Math> {
        match self.units {
            Units::Scalar(_) => None,
            Units::Tensor(_, math) => Some(math),
        }
    }

    /// As names have it.
    pub fn name(self) -> String {
        let units = match self.units {
            Units::Scalar(_) => "",
            Units::Tensor(_, Math::Split) => "_3xtf32",
            Units::Tensor(_, Math::Tf32) => "_tf32",
            Units::Tensor(_, Math::Bf16) => "_bf16",
        };
        format!("{}x{}x{}{units}", self.rows, self.columns, self.depth)
    }
}

/// A second product of the same operands by other parts of them, while they are in shared memory; on tensor cores alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Second {
    /// Parts of the operands.
    pub parts: [Transform; 2],
    /// Whether its sums are kept apart for what follows, rather than added to the first's.
    pub apart: bool,
}

impl Second {
    /// As names have it.
    pub(super) fn name(self) -> String {
        let [a, b] = self.parts.map(part_name);
        format!("_{}_{a}_{b}", if self.apart { "beside" } else { "and" })
    }
}

/// Where the elements of a matrix come from. A lane is a row of the left matrix or a column of the right one.
pub(super) trait Source {
    /// Whether neighbours in depth, rather than neighbouring lanes, lie side by side in memory.
    fn depth_first(&self) -> bool;

    /// Whether four neighbours lie side by side from each multiple of 16 bytes on, so that one copy takes them.
    fn wide(&self) -> bool;

    /// The part of the elements that counts.
    fn part(&self) -> Transform;

    /// How many lanes there are.
    fn lanes(&self) -> Reg;

    /// Registers that loads of a lane need; the second says whether it exists.
    fn lane(&self, k: &mut Emitter, lane: Reg) -> Vec<Reg>;

    /// The address of the element at `depth`, and where it exists: `inside`, which says that the depth does, and what the
    /// source adds. Without `inside` lane and depth are known to exist.
    fn address(&self, k: &mut Emitter, lane: &[Reg], depth: Reg, inside: Option<Reg>) -> (Reg, Option<Reg>);
}

/// The part of the element at `depth`; 0 where it does not exist.
pub(super) fn load(
    k: &mut Emitter,
    source: &dyn Source,
    lane: &[Reg],
    depth: Reg,
    inside: Option<Reg>,
) -> Reg {
    if source.part() == Transform::One {
        let exists = both(k, lane[1], inside);
        return one(k, exists);
    }
    let (address, exists) = source.address(k, lane, depth, inside);
    let value = load_where(k, address, exists);
    part(k, source.part(), value)
}

/// The depths that a block adds up.
#[derive(Clone, Copy)]
pub(super) struct Depths {
    /// The first.
    pub(super) from: Reg,
    /// Beyond the last.
    pub(super) to: Reg,
}

impl Depths {
    /// Slice `index` of so many depths each, of `all`.
    pub(super) fn slice(k: &mut Emitter, index: Reg, each: Reg, all: Reg) -> Depths {
        let (from, to) = (k.r(), k.r());
        op!(k, "mul.lo.u32 {from}, {index}, {each}");
        op!(k, "add.u32 {to}, {from}, {each}");
        op!(k, "min.u32 {to}, {to}, {all}");
        Depths { from, to }
    }
}

/// Loads a float where `exists`, else 0; everywhere without it.
pub(super) fn load_where(k: &mut Emitter, address: Reg, exists: Option<Reg>) -> Reg {
    let value = k.f();
    match exists {
        Some(p) => {
            op!(k, "mov.f32 {value}, {}", imm(0.0));
            op!(k, "@{p} ld.global.f32 {value}, [{address}]");
        }
        None => op!(k, "ld.global.f32 {value}, [{address}]"),
    }
    value
}

/// Where the lane and the depth exist.
pub(super) fn both(k: &mut Emitter, lane: Reg, inside: Option<Reg>) -> Option<Reg> {
    inside.map(|inside| {
        let exists = k.p();
        op!(k, "and.pred {exists}, {inside}, {lane}");
        exists
    })
}

/// The part of a loaded element; elements that do not exist are 0 in every part.
pub(super) fn part(k: &mut Emitter, part: Transform, value: Reg) -> Reg {
    match part {
        Transform::Id => value,
        Transform::Abs => math::unary(k, "abs.f32", value),
        Transform::Pos => math::binary(k, "max.NaN.f32", value, imm(0.0)),
        Transform::Neg => math::binary(k, "min.NaN.f32", value, imm(0.0)),
        Transform::Square => math::binary(k, "mul.rn.f32", value, value),
        // Whoever loads takes 1, which needs no element.
        Transform::One => value,
    }
}

/// 1 where `exists`, else 0; 1 everywhere without it.
fn one(k: &mut Emitter, exists: Option<Reg>) -> Reg {
    match exists {
        Some(p) => math::pick(k, imm(1.0), imm(0.0), p),
        None => math::unary(k, "mov.f32", imm(1.0)),
    }
}

/// As names have it.
pub(super) fn part_name(part: Transform) -> &'static str {
    match part {
        Transform::Id => "id",
        Transform::Abs => "abs",
        Transform::Pos => "pos",
        Transform::Neg => "neg",
        Transform::Square => "square",
        Transform::One => "one",
    }
}

/// What a thread has at the end: sums by row and column, and the global indices of those.
pub(super) struct Sums {
    /// Global row indices.
    pub(super) rows: Vec<Reg>,
    /// Global column indices.
    pub(super) columns: Vec<Reg>,
    /// By row, then column.
    pub(super) values: Vec<Vec<Reg>>,
    /// Those of a second product that is kept apart.
    pub(super) second: Option<Vec<Vec<Reg>>>,
}

impl Sums {
    /// The sums of an element.
    pub(super) fn at(&self, row: usize, column: usize) -> Vec<Reg> {
        std::iter::once(&self.values).chain(&self.second).map(|values| values[row][column]).collect()
    }
}

/// Where a thread stands in the tile, and where it reads.
struct Place {
    rows: Reg,
    columns: Reg,
    /// Byte addresses in shared memory of its first elements at depth 0.
    reads: [Reg; 2],
}

/// Emits the whole product for the block whose first row and column are given.
pub(super) fn multiply(
    k: &mut Emitter,
    (tile, second): (Tile, Option<Second>),
    sources: (&dyn Source, &dyn Source),
    start: (Reg, Reg),
    depths: Depths,
) -> Sums {
    match tile.units {
        Units::Scalar(each) => staged::multiply(k, tile, each, sources, start, depths),
        Units::Tensor(warp, math) => ring::multiply(k, tile, (warp, math, second), sources, start, depths),
    }
}

/// How a thread shares in bringing one operand: `wide` elements at a time, all threads side by side along what lies side by
/// side in memory.
struct Share {
    /// Registers of each lane that the thread brings.
    lanes: Vec<Vec<Reg>>,
    /// Depths within a step, beside the lanes (one of both has a single entry).
    depths: Vec<Reg>,
    /// Byte address in shared memory of the first element, and the step to each next one.
    first: Reg,
    step: u32,
    /// The first lane.
    lane: Reg,
}

/// Words from a depth to the next, and from a lane to the next.
type Pitch = [u32; 2];

fn share(
    k: &mut Emitter,
    tile: Tile,
    source: &dyn Source,
    (extent, start): (u32, Reg),
    width: u32,
    (base, pitch): (u32, Pitch),
) -> Share {
    let tid = k.mov_u32("%tid.x");
    let fast = if source.depth_first() { tile.depth } else { extent } / width;
    let count = extent * tile.depth / width / tile.threads();
    let (low, high, first) = (k.r(), k.r(), k.r());
    op!(k, "and.b32 {low}, {tid}, {}", fast - 1);
    op!(k, "shr.u32 {high}, {tid}, {}", fast.trailing_zeros());
    if width > 1 {
        op!(k, "shl.b32 {low}, {low}, {}", width.trailing_zeros());
    }
    let apart = tile.threads() / fast;
    let (depth, lane) = if source.depth_first() { (low, high) } else { (high, low) };
    let smem = k.mov_u32("smem");
    op!(k, "mad.lo.u32 {first}, {depth}, {}, {smem}", pitch[0] * 4);
    op!(k, "mad.lo.u32 {first}, {lane}, {}, {first}", pitch[1] * 4);
    if base > 0 {
        op!(k, "add.u32 {first}, {first}, {base}");
    }
    let global = k.r();
    op!(k, "add.u32 {global}, {start}, {lane}");
    let moved = |k: &mut Emitter, from: Reg, i: u32| {
        if i == 0 {
            return from;
        }
        let r = k.r();
        op!(k, "add.u32 {r}, {from}, {}", i * apart);
        r
    };
    if source.depth_first() {
        let lanes = (0..count)
            .map(|i| {
                let lane = moved(k, global, i);
                source.lane(k, lane)
            })
            .collect();
        Share { lanes, depths: vec![depth], first, step: apart * pitch[1] * 4, lane: global }
    } else {
        let depths = (0..count).map(|i| moved(k, depth, i)).collect();
        let lanes = vec![source.lane(k, global)];
        Share { lanes, depths, first, step: apart * pitch[0] * 4, lane: global }
    }
}

/// The sum of one element, by one thread.
pub(super) fn dot(
    k: &mut Emitter,
    (a, b): (&dyn Source, &dyn Source),
    (row, column): (Reg, Reg),
    depths: Depths,
) -> Reg {
    let (a_lane, b_lane) = (a.lane(k, row), b.lane(k, column));
    let sum = math::unary(k, "mov.f32", imm(0.0));
    let at = k.mov_u32(&depths.from.to_string());
    let (top, end) = (k.label("TAP"), k.label("SUMMED"));
    k.place(&top);
    k.branch_ge(at, depths.to, &end);
    let left = load(k, a, &a_lane, at, None);
    let right = load(k, b, &b_lane, at, None);
    op!(k, "fma.rn.f32 {sum}, {left}, {right}, {sum}");
    op!(k, "add.u32 {at}, {at}, 1");
    op!(k, "bra {top}");
    k.place(&end);
    sum
}
