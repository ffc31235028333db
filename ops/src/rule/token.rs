//! Relevance of token ids: the sum over the embedding axes, of the shape of the ids. Conserves exactly.

use super::Flow;
use crate::graph::Value;
use crate::op::role::Site;
use crate::prim::{Builder, Reduction};

pub(super) fn lower(b: &mut Builder, site: &Site, r: Value) -> Flow {
    // Gather along axis 0: the result is `[ids…, embedding…]`.
    let ids = b.ty(site.inputs[1]).rank();
    let axes: Vec<usize> = (ids..b.ty(r).rank()).collect();
    let score = b.reduce(Reduction::Sum, r, &axes, false);
    Flow { operands: vec![None, Some(score)], absorbed: vec![] }
}
