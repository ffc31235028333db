//! The product of two matrices whose elements come from sources: block tiles in shared memory, register tiles in threads.
//!
//! Sums run over the depth in order, whatever the tile, so every tile size of scalar threads gives the same bits.
//!
//! On tensor cores a float32 operand is two tf32 ones, its upper bits and the upper bits of what is left, and a product is three
//! (3xTF32): what is lost is some 2⁻²² of each product. An infinite operand gives NaN.

use dlbc_ops::prim::Part;

use super::math;
use crate::emit::{Emitter, Reg, imm};
use crate::op;

mod scalar;
mod tensor;

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
    /// Tensor cores, in warps of 32 rows and columns.
    Tensor,
}

impl Tile {
    /// For few rows.
    pub const FLAT: Tile = Tile { rows: 16, columns: 64, depth: 16, units: Units::Scalar(4) };
    /// For most.
    pub const SMALL: Tile = Tile { rows: 64, columns: 64, depth: 16, units: Units::Scalar(4) };
    /// For large products.
    pub const LARGE: Tile = Tile { rows: 128, columns: 128, depth: 8, units: Units::Scalar(8) };
    /// For tensor cores.
    pub const TENSOR: Tile = Tile { rows: 64, columns: 64, depth: 16, units: Units::Tensor };

    /// Threads of a block.
    pub fn threads(self) -> u32 {
        match self.units {
            Units::Scalar(each) => self.rows / each * (self.columns / each),
            Units::Tensor => self.rows * self.columns / 32,
        }
    }

    /// Words from a depth to the next in shared memory: without conflicts of the banks that fragments read.
    fn pitch(self, extent: u32) -> u32 {
        match self.units {
            Units::Scalar(_) => extent + 4,
            Units::Tensor => extent + 8,
        }
    }

    /// As names have it.
    pub fn name(self) -> String {
        let units = if self.units == Units::Tensor { "_tensor" } else { "" };
        format!("{}x{}x{}{units}", self.rows, self.columns, self.depth)
    }
}

/// Where the elements of a matrix come from. A lane is a row of the left matrix or a column of the right one.
pub(super) trait Source {
    /// Whether neighbours in depth, rather than neighbouring lanes, lie side by side in memory.
    fn depth_first(&self) -> bool;

    /// Registers that loads of a lane need.
    fn lane(&self, k: &mut Emitter, lane: Reg) -> Vec<Reg>;

    /// The element at `depth`, which counts where `inside`; 0 where it does not exist. Without `inside` lane and depth are
    /// known to exist.
    fn load(&self, k: &mut Emitter, lane: &[Reg], depth: Reg, inside: Option<Reg>) -> Reg;
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
pub(super) fn part(k: &mut Emitter, part: Part, value: Reg) -> Reg {
    match part {
        Part::Id => value,
        Part::Abs => math::unary(k, "abs.f32", value),
        Part::Pos => math::binary(k, "max.NaN.f32", value, imm(0.0)),
        Part::Neg => math::binary(k, "min.NaN.f32", value, imm(0.0)),
        Part::Square => math::binary(k, "mul.rn.f32", value, value),
        // Whoever loads takes `one`, which needs no element.
        Part::One => value,
    }
}

/// 1 where `exists`, else 0; 1 everywhere without it.
pub(super) fn one(k: &mut Emitter, exists: Option<Reg>) -> Reg {
    match exists {
        Some(p) => math::pick(k, imm(1.0), imm(0.0), p),
        None => math::unary(k, "mov.f32", imm(1.0)),
    }
}

/// As names have it.
pub(super) fn part_name(part: Part) -> &'static str {
    match part {
        Part::Id => "id",
        Part::Abs => "abs",
        Part::Pos => "pos",
        Part::Neg => "neg",
        Part::Square => "square",
        Part::One => "one",
    }
}

/// A thread's share of loading one operand.
struct Share {
    /// Registers of each lane that the thread loads.
    lanes: Vec<Vec<Reg>>,
    /// Depths within a step, beside the lanes (one of both has a single entry).
    depths: Vec<Reg>,
    /// Byte address in shared memory of the first element, and the step to each next one.
    first: Reg,
    step: u32,
}

fn share(k: &mut Emitter, tile: Tile, source: &dyn Source, extent: u32, start: Reg, base: u32) -> Share {
    let tid = k.mov_u32("%tid.x");
    let (fast, count) =
        (if source.depth_first() { tile.depth } else { extent }, extent * tile.depth / tile.threads());
    let (low, high, first) = (k.r(), k.r(), k.r());
    op!(k, "and.b32 {low}, {tid}, {}", fast - 1);
    op!(k, "shr.u32 {high}, {tid}, {}", fast.trailing_zeros());
    let apart = tile.threads() / fast;
    let pitch = tile.pitch(extent);
    let (depth, lane) = if source.depth_first() { (low, high) } else { (high, low) };
    let smem = k.mov_u32("smem");
    op!(k, "mad.lo.u32 {first}, {depth}, {}, {smem}", pitch * 4);
    op!(k, "mad.lo.u32 {first}, {lane}, 4, {first}");
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
        Share { lanes, depths: vec![depth], first, step: apart * 4 }
    } else {
        let depths = (0..count).map(|i| moved(k, depth, i)).collect();
        Share { lanes: vec![source.lane(k, global)], depths, first, step: apart * pitch * 4 }
    }
}

impl Share {
    fn load(&self, k: &mut Emitter, source: &dyn Source, at: Reg, limit: Reg) -> Vec<Reg> {
        let mut values = vec![];
        for depth in &self.depths {
            let (here, inside) = (k.r(), k.p());
            op!(k, "add.u32 {here}, {at}, {depth}");
            op!(k, "setp.lt.u32 {inside}, {here}, {limit}");
            for lane in &self.lanes {
                values.push(source.load(k, lane, here, Some(inside)));
            }
        }
        values
    }

    fn store(&self, k: &mut Emitter, values: &[Reg]) {
        for (i, v) in values.iter().enumerate() {
            op!(k, "st.shared.f32 [{}+{}], {v}", self.first, i as u32 * self.step);
        }
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
}

/// Emits the whole product for the block whose first row and column are given.
pub(super) fn multiply(
    k: &mut Emitter,
    tile: Tile,
    (a, b): (&dyn Source, &dyn Source),
    (row, column): (Reg, Reg),
    depth: Reg,
) -> Sums {
    let a_base = k.shared(tile.depth * tile.pitch(tile.rows) * 4);
    let b_base = k.shared(tile.depth * tile.pitch(tile.columns) * 4);
    let a_share = share(k, tile, a, tile.rows, row, a_base);
    let b_share = share(k, tile, b, tile.columns, column, b_base);

    let (units, values) = match tile.units {
        Units::Scalar(each) => scalar::begin(k, tile, each),
        Units::Tensor => tensor::begin(k, tile),
    };

    // Each turn stores what was loaded, fetches the next step and multiplies meanwhile.
    let at = k.mov_u32("0");
    let mut a_next = a_share.load(k, a, at, depth);
    let mut b_next = b_share.load(k, b, at, depth);
    let held: Vec<Reg> = a_next.iter().chain(&b_next).map(|_| k.f()).collect();
    for (h, v) in held.iter().zip(a_next.iter().chain(&b_next)) {
        op!(k, "mov.f32 {h}, {v}");
    }
    let (a_held, b_held) = held.split_at(a_next.len());
    let top = k.label("STEP");
    k.place(&top);
    a_share.store(k, a_held);
    b_share.store(k, b_held);
    op!(k, "bar.sync 0");
    op!(k, "add.u32 {at}, {at}, {}", tile.depth);
    a_next = a_share.load(k, a, at, depth);
    b_next = b_share.load(k, b, at, depth);
    match tile.units {
        Units::Scalar(each) => scalar::step(k, tile, each, &units, [a_base, b_base], &values),
        Units::Tensor => tensor::step(k, tile, &units, [a_base, b_base], &values),
    }
    for (h, v) in held.iter().zip(a_next.iter().chain(&b_next)) {
        op!(k, "mov.f32 {h}, {v}");
    }
    op!(k, "bar.sync 0");
    let more = k.p();
    op!(k, "setp.lt.u32 {more}, {at}, {depth}");
    op!(k, "@{more} bra {top}");

    let (rows, columns) = match tile.units {
        Units::Scalar(each) => (
            scalar::places(k, row, units.rows, tile.rows, each),
            scalar::places(k, column, units.columns, tile.columns, each),
        ),
        Units::Tensor => tensor::places(k, &units, row, column),
    };
    Sums { rows, columns, values }
}

/// Where a thread stands in the tile, and where it reads.
struct Place {
    rows: Reg,
    columns: Reg,
    /// Byte addresses in shared memory of its first elements at depth 0, without the bases.
    reads: [Reg; 2],
}

/// The sum of one element, by one thread.
pub(super) fn dot(
    k: &mut Emitter,
    (a, b): (&dyn Source, &dyn Source),
    (row, column): (Reg, Reg),
    depth: Reg,
) -> Reg {
    let (a_lane, b_lane) = (a.lane(k, row), b.lane(k, column));
    let sum = math::unary(k, "mov.f32", imm(0.0));
    let at = k.mov_u32("0");
    let (top, end) = (k.label("TAP"), k.label("SUMMED"));
    k.place(&top);
    k.branch_ge(at, depth, &end);
    let left = a.load(k, &a_lane, at, None);
    let right = b.load(k, &b_lane, at, None);
    op!(k, "fma.rn.f32 {sum}, {left}, {right}, {sum}");
    op!(k, "add.u32 {at}, {at}, 1");
    op!(k, "bra {top}");
    k.place(&end);
    sum
}
