//! The product of two matrices that [`Source`]s supply: block tiles in shared memory, thread tiles in registers.
//!
//! Sums run over the depth in order, whatever the tile, so all tile sizes of scalar threads give the same bits. Tiles for
//! tensor cores are filled by asynchronous copies into a ring of stages, ahead of the stage that is multiplied (`ring`).

use dlbc_ops::prim::Transform;

use super::math;
use crate::emit::{Emitter, Reg, imm};
use crate::op;

mod ring;
mod scalar;
mod staged;
mod tensor;

pub(super) use tensor::halves;

/// Tile of a block, and the units that compute it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Rows of the result per block.
    pub rows: u32,
    /// Columns of the result per block.
    pub columns: u32,
    /// Depth of a stage.
    pub depth: u32,
    /// Arithmetic units that multiply the tile.
    pub units: Units,
}

/// Arithmetic units that multiply a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Units {
    /// Scalar threads. Each computes a square with this many rows and columns, a multiple of 4.
    Scalar(u32),
    /// Tensor cores. Each warp computes a rectangle of these rows and columns.
    Tensor([u32; 2], Math),
}

/// Arithmetic of tensor cores on float32 operands. Products are exact, sums are float32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Math {
    /// 3xTF32: each operand is split into two tf32 values, its upper bits and the upper bits of the remainder, and a product
    /// takes three multiplications. An infinite operand gives NaN.
    Split,
    /// Operands are rounded to tf32, 11 bits of precision.
    Tf32,
    /// Operands are rounded to bfloat16, 8 bits of precision.
    Bf16,
}

impl Math {
    /// Returns the bound on an element's error from rounded operands, relative to the sum of its magnitudes `|a b|`: half a
    /// unit in the last place for each operand; for split operands, the omitted fourth product and the bits below both parts.
    pub const fn error(self) -> f64 {
        match self {
            Math::Split => 1.0 / (1 << 19) as f64,
            Math::Tf32 => 1.0 / (1 << 10) as f64,
            Math::Bf16 => 1.0 / (1 << 7) as f64,
        }
    }
}

impl Tile {
    /// Tile for few rows.
    pub const FLAT: Tile = Tile { rows: 16, columns: 64, depth: 16, units: Units::Scalar(4) };
    /// Tile for most products.
    pub const SMALL: Tile = Tile { rows: 64, columns: 64, depth: 16, units: Units::Scalar(4) };
    /// Tile for large products.
    pub const LARGE: Tile = Tile { rows: 128, columns: 128, depth: 8, units: Units::Scalar(8) };

    /// Returns the tile for tensor cores.
    pub const fn tensor(math: Math) -> Tile {
        Tile { rows: 64, columns: 64, depth: 16, units: Units::Tensor([32, 32], math) }
    }

    /// Returns the tile for large products on tensor cores.
    pub const fn large_tensor(math: Math) -> Tile {
        Tile { rows: 128, columns: 128, depth: 16, units: Units::Tensor([64, 32], math) }
    }

    /// Returns the number of threads per block.
    pub fn threads(self) -> u32 {
        match self.units {
            Units::Scalar(side) => self.rows / side * (self.columns / side),
            Units::Tensor([rows, columns], _) => 32 * (self.rows / rows) * (self.columns / columns),
        }
    }

    /// Returns the arithmetic of the tensor cores; `None` for scalar threads.
    pub fn math(self) -> Option<Math> {
        match self.units {
            Units::Scalar(_) => None,
            Units::Tensor(_, math) => Some(math),
        }
    }

    /// Returns the tile's part of a kernel's name.
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

/// A second product of the same operands under other transforms, computed while they are in shared memory. Tensor cores only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SecondProduct {
    /// Transforms of the operands, left and right.
    pub transforms: [Transform; 2],
    /// Pass the sums to the epilogue as a second operand, rather than add them to those of the first product.
    pub separate: bool,
}

impl SecondProduct {
    /// Returns the product's part of a kernel's name.
    pub(super) fn name(self) -> String {
        let [a, b] = self.transforms.map(transform_name);
        format!("_{}_{a}_{b}", if self.separate { "beside" } else { "and" })
    }
}

/// Supplier of a matrix's elements. A lane is a row of the left matrix or a column of the right one.
pub(super) trait Source {
    /// Returns whether neighbours along the depth are adjacent in memory, rather than neighbouring lanes.
    fn depth_first(&self) -> bool;

    /// Returns whether one copy can take four adjacent elements, each group of which starts at a multiple of 16 bytes.
    fn vectorised(&self) -> bool;

    /// Returns the transform that is applied to the elements.
    fn transform(&self) -> Transform;

    /// Returns the number of lanes.
    fn lanes(&self) -> Reg;

    /// Declares the registers that loads of a lane need. The second one tells whether the lane exists.
    fn lane(&self, k: &mut Emitter, lane: Reg) -> Vec<Reg>;

    /// Returns the address of the element at `depth` and a predicate that tells whether it exists. `inside` tells whether the
    /// depth exists; without it, lane and depth are known to exist.
    fn address(&self, k: &mut Emitter, lane: &[Reg], depth: Reg, inside: Option<Reg>) -> (Reg, Option<Reg>);
}

/// Loads the transformed element at `depth`, 0 if it does not exist.
pub(super) fn load(
    k: &mut Emitter,
    source: &dyn Source,
    lane: &[Reg],
    depth: Reg,
    inside: Option<Reg>,
) -> Reg {
    if source.transform() == Transform::One {
        let exists = both_exist(k, lane[1], inside);
        return one_where(k, exists);
    }
    let (address, exists) = source.address(k, lane, depth, inside);
    let value = load_where(k, address, exists);
    transform(k, source.transform(), value)
}

/// Range of depths that a block sums.
#[derive(Clone, Copy)]
pub(super) struct Depths {
    /// First depth.
    pub(super) from: Reg,
    /// End of the range, exclusive.
    pub(super) to: Reg,
}

impl Depths {
    /// Computes the range of slice `index`; slices have `slice_depth` depths of `depth`, the last one the remainder.
    pub(super) fn slice(k: &mut Emitter, index: Reg, slice_depth: Reg, depth: Reg) -> Depths {
        let (from, to) = (k.r(), k.r());
        op!(k, "mul.lo.u32 {from}, {index}, {slice_depth}");
        op!(k, "add.u32 {to}, {from}, {slice_depth}");
        op!(k, "min.u32 {to}, {to}, {depth}");
        Depths { from, to }
    }
}

/// Loads a float if `exists`, else 0; always loads it without a predicate.
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

/// Returns the predicate that lane and depth exist; `None` if they are known to.
pub(super) fn both_exist(k: &mut Emitter, lane: Reg, inside: Option<Reg>) -> Option<Reg> {
    inside.map(|inside| {
        let exists = k.p();
        op!(k, "and.pred {exists}, {inside}, {lane}");
        exists
    })
}

/// Applies an operand transform to a loaded element. Every transform but `One` keeps 0, the value of missing elements.
pub(super) fn transform(k: &mut Emitter, transform: Transform, value: Reg) -> Reg {
    match transform {
        Transform::Id => value,
        Transform::Abs => math::unary(k, "abs.f32", value),
        Transform::Pos => math::binary(k, "max.NaN.f32", value, imm(0.0)),
        Transform::Neg => math::binary(k, "min.NaN.f32", value, imm(0.0)),
        Transform::Square => math::binary(k, "mul.rn.f32", value, value),
        // Sources of `One` load nothing; see `load`.
        Transform::One => value,
    }
}

/// Returns 1 if `exists`, else 0; always 1 without a predicate.
fn one_where(k: &mut Emitter, exists: Option<Reg>) -> Reg {
    match exists {
        Some(p) => math::pick(k, imm(1.0), imm(0.0), p),
        None => math::unary(k, "mov.f32", imm(1.0)),
    }
}

/// Returns the name of an operand transform in kernel names.
pub(super) fn transform_name(transform: Transform) -> &'static str {
    match transform {
        Transform::Id => "id",
        Transform::Abs => "abs",
        Transform::Pos => "pos",
        Transform::Neg => "neg",
        Transform::Square => "square",
        Transform::One => "one",
    }
}

/// Result of a product in a thread: sums, and the global indices of their rows and columns.
pub(super) struct Sums {
    /// Global row indices.
    pub(super) rows: Vec<Reg>,
    /// Global column indices.
    pub(super) columns: Vec<Reg>,
    /// Sums by row, then by column.
    pub(super) values: Vec<Vec<Reg>>,
    /// Sums of a separate second product.
    pub(super) second: Option<Vec<Vec<Reg>>>,
}

impl Sums {
    /// Returns the sums of an element: one, or two with a separate second product.
    pub(super) fn at(&self, row: usize, column: usize) -> Vec<Reg> {
        std::iter::once(&self.values).chain(&self.second).map(|values| values[row][column]).collect()
    }
}

/// Position of a thread in the tile, and the shared addresses that it reads.
struct Position {
    /// First row.
    rows: Reg,
    /// First column.
    columns: Reg,
    /// Byte addresses of its first elements of both operands at depth 0.
    reads: [Reg; 2],
}

/// Emits the whole product of the block that begins at row and column `start`.
pub(super) fn multiply(
    k: &mut Emitter,
    (tile, second): (Tile, Option<SecondProduct>),
    sources: (&dyn Source, &dyn Source),
    start: (Reg, Reg),
    depths: Depths,
) -> Sums {
    match tile.units {
        Units::Scalar(side) => staged::multiply(k, tile, side, sources, start, depths),
        Units::Tensor(warp, math) => ring::multiply(k, tile, (warp, math, second), sources, start, depths),
    }
}

/// A thread's share in copying one operand's tile to shared memory. Neighbouring threads copy adjacent elements.
struct Share {
    /// Lane registers (see [`Source::lane`]) of each lane that the thread copies.
    lanes: Vec<Vec<Reg>>,
    /// Depths within a stage. The thread copies every depth of every lane; one of both lists has a single entry.
    depths: Vec<Reg>,
    /// Byte address of the first element in shared memory.
    first: Reg,
    /// Distance to each next element, in bytes.
    step: u32,
    /// Global index of the first lane.
    lane: Reg,
}

/// Strides of a tile in shared memory along depth and lanes, in words.
type Pitch = [u32; 2];

/// Assigns the thread its share of an operand whose tile has `extent` lanes from `start` on and lies at `base` in shared memory;
/// each copy takes `width` elements.
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
    let lane_step = tile.threads() / fast;
    let (depth, lane) = if source.depth_first() { (low, high) } else { (high, low) };
    let smem = k.mov_u32("smem");
    op!(k, "mad.lo.u32 {first}, {depth}, {}, {smem}", pitch[0] * 4);
    op!(k, "mad.lo.u32 {first}, {lane}, {}, {first}", pitch[1] * 4);
    if base > 0 {
        op!(k, "add.u32 {first}, {first}, {base}");
    }
    let global = k.r();
    op!(k, "add.u32 {global}, {start}, {lane}");
    let shifted = |k: &mut Emitter, from: Reg, i: u32| {
        if i == 0 {
            return from;
        }
        let r = k.r();
        op!(k, "add.u32 {r}, {from}, {}", i * lane_step);
        r
    };
    if source.depth_first() {
        let lanes = (0..count)
            .map(|i| {
                let lane = shifted(k, global, i);
                source.lane(k, lane)
            })
            .collect();
        Share { lanes, depths: vec![depth], first, step: lane_step * pitch[1] * 4, lane: global }
    } else {
        let depths = (0..count).map(|i| shifted(k, depth, i)).collect();
        let lanes = vec![source.lane(k, global)];
        Share { lanes, depths, first, step: lane_step * pitch[0] * 4, lane: global }
    }
}

/// Computes the sum of one element in one thread.
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
