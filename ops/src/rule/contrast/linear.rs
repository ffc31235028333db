//! Two tracks through a linear map.

use super::{Tracks, coefficients};
use crate::op::role::{LinearMap, Site};
use crate::prim::Builder;
use crate::rule::Flow;
use crate::rule::sides::Sides;

pub(super) fn lower(b: &mut Builder, map: &dyn LinearMap, site: &Site, r: Tracks) -> [Flow; 2] {
    let k = site.data();
    let sides = Sides::of(b, map, site, site.inputs[k]);
    coefficients(b, r, site.y(), sides.positive, sides.negative).map(|c| {
        let mut operands = vec![None; site.inputs.len()];
        operands[k] = Some(sides.back(b, map, site, c.positive, c.negative));
        Flow { operands, absorbed: vec![b.total(c.dropped)] }
    })
}
