//! Products of int64 matrices.

use std::mem::offset_of;

use dlbc_ops::prim::Transform;

use super::super::tile;
use super::{A, B, GemmParams};
use crate::device::Kernel;
use crate::emit::Emitter;
use crate::op;

/// Builds the product of int64 matrices, one thread per element of the result. It takes [`GemmParams`] and ignores `tiles`.
pub fn integer(transforms: [Transform; 2]) -> Kernel {
    let mut emitter = Emitter::new();
    let k = &mut emitter;
    let finished = k.label("DONE");
    let i = k.global_index(256);
    let dims = [
        k.param_u32s(offset_of!(GemmParams, batch), 4),
        vec![k.param_u32(offset_of!(GemmParams, m)), k.param_u32(offset_of!(GemmParams, n))],
    ]
    .concat();
    let count = k.mov_u32("1");
    for d in &dims {
        op!(k, "mul.lo.u32 {count}, {count}, {d}");
    }
    k.branch_ge(i, count, &finished);
    let coordinates = k.coordinates(i, &dims[1..]);
    let [a, b] = [(A, coordinates[4]), (B, coordinates[5])].map(|(fields, lane)| {
        let matrix = fields.load(k, &coordinates[..4]);
        (matrix.base, k.offset(Some(matrix.start), &[lane], &[matrix.strides[0]]), matrix.strides[1])
    });
    let depth = k.param_u32(offset_of!(GemmParams, k));
    let (sum, at) = (k.d(), k.mov_u32("0"));
    op!(k, "mov.b64 {sum}, 0");
    let (top, end) = (k.label("STEP"), k.label("SUMMED"));
    k.place(&top);
    k.branch_ge(at, depth, &end);
    let mut values = vec![];
    for ((base, start, stride), transform) in [a, b].into_iter().zip(transforms) {
        let index = k.offset(Some(start), &[at], &[stride]);
        let address = k.address(base, index, 8);
        let v = k.d();
        op!(k, "ld.global.s64 {v}, [{address}]");
        match transform {
            Transform::Id => {}
            Transform::Abs => op!(k, "abs.s64 {v}, {v}"),
            Transform::Pos => op!(k, "max.s64 {v}, {v}, 0"),
            Transform::Neg => op!(k, "min.s64 {v}, {v}, 0"),
            Transform::Square => op!(k, "mul.lo.s64 {v}, {v}, {v}"),
            Transform::One => op!(k, "mov.b64 {v}, 1"),
        }
        values.push(v);
    }
    op!(k, "mad.lo.s64 {sum}, {}, {}, {sum}", values[0], values[1]);
    op!(k, "add.u32 {at}, {at}, 1");
    op!(k, "bra {top}");
    k.place(&end);
    let c = k.param_u64(offset_of!(GemmParams, c));
    let address = k.address(c, i, 8);
    op!(k, "st.global.s64 [{address}], {sum}");
    k.place(&finished);
    let [a, b] = transforms.map(tile::transform_name);
    emitter.finish(&format!("gemm_integer_{a}_{b}"), 256, size_of::<GemmParams>())
}
