//! Suppliers of the matrices that a product multiplies, and loads of their elements.

use dlbc_ops::prim::Transform;

use crate::emit::{Emitter, Reg, imm};
use crate::kernel::math;
use crate::kernel::storage::Storage;
use crate::op;

/// Supplier of a matrix's elements. A lane is a row of the left matrix or a column of the right one.
pub(in crate::kernel) trait Source {
    /// Returns whether neighbours along the depth are adjacent in memory, rather than neighbouring lanes.
    fn depth_first(&self) -> bool;

    /// Returns whether one copy can take the adjacent elements of 16 bytes, which start at a multiple of 16 bytes. Narrow
    /// elements fill all of them, without a remainder.
    fn vectorised(&self) -> bool;

    /// Returns the type of the elements in memory.
    fn storage(&self) -> Storage;

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
pub(in crate::kernel) fn load(
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
    let value = load_untransformed(k, source, lane, depth, inside);
    transform(k, source.transform(), value)
}

/// Loads the element at `depth` as it is stored, 0 if it does not exist.
pub(super) fn load_untransformed(
    k: &mut Emitter,
    source: &dyn Source,
    lane: &[Reg],
    depth: Reg,
    inside: Option<Reg>,
) -> Reg {
    let (address, exists) = source.address(k, lane, depth, inside);
    source.storage().load(k, "global", address, exists)
}

/// Loads a float if `exists`, else 0; always loads it without a predicate.
pub(in crate::kernel) fn load_where(k: &mut Emitter, address: Reg, exists: Option<Reg>) -> Reg {
    Storage::F32.load(k, "global", address, exists)
}

/// Returns the predicate that lane and depth exist; `None` if they are known to.
pub(in crate::kernel) fn both_exist(k: &mut Emitter, lane: Reg, inside: Option<Reg>) -> Option<Reg> {
    inside.map(|inside| {
        let exists = k.p();
        op!(k, "and.pred {exists}, {inside}, {lane}");
        exists
    })
}

/// Applies an operand transform to a loaded element. Every transform but `One` keeps 0, the value of missing elements.
pub(in crate::kernel) fn transform(k: &mut Emitter, transform: Transform, value: Reg) -> Reg {
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
pub(in crate::kernel) fn transform_name(transform: Transform) -> &'static str {
    match transform {
        Transform::Id => "id",
        Transform::Abs => "abs",
        Transform::Pos => "pos",
        Transform::Neg => "neg",
        Transform::Square => "square",
        Transform::One => "one",
    }
}

/// Range of depths that a block sums.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct Depths {
    /// First depth.
    pub(in crate::kernel) from: Reg,
    /// End of the range, exclusive.
    pub(in crate::kernel) to: Reg,
}

impl Depths {
    /// Computes the range of slice `index`; slices have `slice_depth` depths of `depth`, the last one the remainder.
    pub(in crate::kernel) fn slice(k: &mut Emitter, index: Reg, slice_depth: Reg, depth: Reg) -> Depths {
        let (from, to) = (k.r(), k.r());
        op!(k, "mul.lo.u32 {from}, {index}, {slice_depth}");
        op!(k, "add.u32 {to}, {from}, {slice_depth}");
        op!(k, "min.u32 {to}, {to}, {depth}");
        Depths { from, to }
    }
}

/// Computes the sum of one element in one thread.
pub(in crate::kernel) fn dot(
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
