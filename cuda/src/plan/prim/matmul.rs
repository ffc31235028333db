//! Matrix products.

use dlbc_ops::graph::Value;
use dlbc_ops::prim::{MatMul, Transform};
use dlbc_ptx::kernel::gemm::SecondSums;
use dlbc_ptx::kernel::pointwise::Kind;

use super::super::product::{Product, Work};
use super::contract::*;

impl CudaPrimitive for MatMul {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let [(a, a_transform), (b, b_transform)] =
            [(0, self.a), (1, self.b)].map(|(i, transform)| node.product_operand(p, i, transform));
        let e = p.product([a, b], [a_transform, b_transform], [self.ta, self.tb], &node.dims);
        // The kernel applies the node's transform, or that of an operand which is not stored.
        let inner = [(self.a, a_transform), (self.b, b_transform)];
        let inner = inner.map(|(outer, both)| if outer == Transform::Id { both } else { Transform::Id });
        let e = with_partner(p, node, e, inner);
        Ok(node.fuse_or_store(p, e))
    }
}

/// Lets the kernel of a deferred product of the forward compute the node's partner in the reverse, if that moves fewer bytes than a
/// pass of its own. `inner` are the transforms that the kernel applies to the stored operands to get those of the node.
fn with_partner(
    p: &mut Planner,
    node: &mut NodeContext<'_, '_>,
    e: Expression,
    inner: [Transform; 2],
) -> Expression {
    let Some(partner) = node.scope.partners.get(&node.id).copied() else { return e };
    let dims = node.scope.graph.node(partner.node).types[0].shape.as_known().unwrap_or_default();
    let [left, right] = [0, 1].map(|i| composed(partner.transforms[i], inner[i]));
    let fused = e.product.as_ref().zip(left.zip(right)).and_then(|(product, (left, right))| {
        let same_size = product.dims.iter().product::<usize>() == dims.iter().product();
        let fused = product.with_second([left, right], SecondSums::Stored)?;
        (same_size && saves_bytes(&fused)).then_some(fused)
    });
    let Some(mut fused) = fused else { return e };
    let sums = p.buffer(Kind::F, &fused.dims);
    let value = Value { node: partner.node, slot: 0 };
    node.scope.values.insert(value, LoweredValue::View(sums.with_dims(&dims)));
    fused.second = Some(sums);
    Expression { product: Some(fused.into()), ..e }
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
fn saves_bytes(product: &Product) -> bool {
    let Work::Gemm { operands, .. } = &product.work else { return false };
    let read: u64 = operands.iter().map(|v| v.elems() as u64 * u64::from(v.element_bytes())).sum();
    let sums = product.dims.iter().product::<usize>() as u64 * u64::from(Kind::F.bytes());
    read > 2 * sums
}
