//! Two tracks through a sum of operands, element by element.

use super::{Tracks, coefficients};
use crate::graph::Value;
use crate::op::role::Site;
use crate::prim::Builder;
use crate::rule::sides::{parts, zeros};
use crate::rule::{Constants, Flow, sum};

pub(super) fn lower(
    b: &mut Builder,
    site: &Site,
    subtracts: bool,
    constants: Constants,
    r: Tracks,
) -> [Flow; 2] {
    let takers = sum::takers(b, site, constants);
    if let [only] = takers.as_slice() {
        return r.both().map(|r| {
            let mut operands = vec![None; site.inputs.len()];
            let shape = b.ty(site.inputs[*only]).shape;
            operands[*only] = Some(b.sum_to(r, &shape));
            Flow { operands, absorbed: vec![] }
        });
    }
    let contributions: Vec<(Value, Option<Value>)> = takers
        .iter()
        .map(|k| {
            let x = site.inputs[*k];
            let x = if subtracts && *k == 1 { b.scale(x, -1.0) } else { x };
            let (up, down) = parts(b, x);
            (up, down.map(|v| b.scale(v, -1.0)))
        })
        .collect();
    let add = |b: &mut Builder, terms: Vec<Value>| terms.into_iter().reduce(|s, v| b.plus(s, v));
    let ups = contributions.iter().map(|c| c.0).collect();
    let downs = contributions.iter().filter_map(|c| c.1).collect();
    let none = zeros(b, site.y());
    let (p, n) = (add(b, ups).unwrap_or(none), add(b, downs).unwrap_or(none));
    coefficients(b, r, site.y(), p, n).map(|c| {
        let mut operands = vec![None; site.inputs.len()];
        for (k, (up, down)) in takers.iter().zip(&contributions) {
            let mut share = b.mul(c.positive, *up);
            if let Some(down) = down {
                let below = b.mul(c.negative, *down);
                share = b.plus(share, below);
            }
            let shape = b.ty(site.inputs[*k]).shape;
            operands[*k] = Some(b.sum_to(share, &shape));
        }
        Flow { operands, absorbed: vec![b.total(c.dropped)] }
    })
}
