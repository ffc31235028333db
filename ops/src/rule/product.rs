//! Fixed shares of a product: `R_k = shares_k · R`, summed back over broadcasts. Conserves exactly.
//!
//! The composite resolves the shares by what the factors are: a constant takes nothing, a gate gives all to the value it
//! gates, two plain factors take half each. Source: the product rules of [arras2017] (gates) and DLBacktrace version 2
//! (halves).

use std::fmt;

use super::Flow;
use crate::graph::Value;
use crate::op::role::Site;
use crate::prim::Builder;

/// The rule of products.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// The share of each factor; they sum to 1.
    pub shares: Vec<f32>,
}

impl Product {
    pub(super) fn lower(&self, b: &mut Builder, site: &Site, r: Value) -> Flow {
        let mut operands = vec![None; site.inputs.len()];
        for (k, share) in self.shares.iter().enumerate().filter(|(_, s)| **s != 0.0) {
            let part = if *share == 1.0 { r } else { b.scale(r, f64::from(*share)) };
            let shape = b.ty(site.inputs[k]).shape;
            operands[k] = Some(b.sum_to(part, &shape));
        }
        Flow { operands, absorbed: vec![] }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "product{:?}", self.shares)
    }
}
