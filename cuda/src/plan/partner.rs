//! Second products of the forward's kernels: those of the reverse with the same operands ([`super::pairs`]).

use dlbc_ops::graph::Value;
use dlbc_ops::prim::Transform;
use dlbc_ptx::kernel::gemm::{SecondSums, Storage};
use dlbc_ptx::kernel::pointwise::Kind;

use super::prim::NodeContext;
use super::product::{Product, Work};
use super::{LoweredValue, Planner};

/// Lets the kernel of a product of the forward compute the node's partner in the reverse, if that moves fewer bytes than a pass of its
/// own. `inner` are the transforms that the kernel applies to the stored operands to get those of the node.
pub(super) fn with_partner(
    p: &mut Planner,
    node: &mut NodeContext<'_, '_>,
    product: Product,
    inner: [Transform; 2],
) -> Product {
    let Some(partner) = node.scope.partners.get(&node.id).copied() else { return product };
    let dims = node.scope.graph.node(partner.node).types[0].shape.as_known().unwrap_or_default();
    let storage = p.storage(node.scope, partner.node);
    let [left, right] = [0, 1].map(|i| composed(partner.transforms[i], inner[i]));
    // Slices of the depth are stored as float32.
    let sums = SecondSums::Stored(if product.slices() > 1 { Storage::F32 } else { storage });
    let fused = left.zip(right).and_then(|(left, right)| {
        let same_size = product.dims.iter().product::<usize>() == dims.iter().product();
        let fused = product.with_second([left, right], sums)?;
        (same_size && saves_bytes(&fused, storage)).then_some(fused)
    });
    let Some(mut fused) = fused else { return product };
    let sums = p.buffer_in(Kind::F, storage, &fused.dims);
    let value = Value { node: partner.node, slot: 0 };
    node.scope.values.insert(value, LoweredValue::View(sums.with_dims(&dims)));
    fused.second = Some(sums);
    fused
}

/// Returns the transform that applies `inner` and then `outer`, if there is one.
fn composed(outer: Transform, inner: Transform) -> Option<Transform> {
    match (outer, inner) {
        (outer, Transform::Id) => Some(outer),
        (Transform::Id, inner) => Some(inner),
        (Transform::Abs | Transform::Pos, Transform::Pos) => Some(Transform::Pos),
        (Transform::Abs, Transform::Abs) => Some(Transform::Abs),
        _ => None,
    }
}

/// Returns whether the operands, which a second pass would read again, have more bytes than it takes to store the sums and read
/// them back.
fn saves_bytes(product: &Product, storage: Storage) -> bool {
    let operands = match &product.work {
        Work::Gemm { operands, .. } => &operands[..],
        // The table is small.
        Work::Conv { operands, .. } => &operands[..2],
        Work::Skinny { .. } => return false,
    };
    let read: u64 = operands.iter().map(|v| v.elems() as u64 * u64::from(v.element_bytes())).sum();
    let sums = product.dims.iter().product::<usize>() as u64 * u64::from(storage.bytes());
    read > 2 * sums
}
