//! Attention and the distribution of its relevance.

use dlbc_ops::graph::Value;
use dlbc_ops::prim::{Attention, AttentionGeometry, AttentionPart, AttentionShare};

use super::contract::*;
use crate::attention::{self, Share};
use crate::wiring::WiredShare;

impl CpuPrimitive for Attention {
    fn wire(&self, w: &mut Wiring<'_>, at: &At) -> TractResult<Option<OutletId>> {
        let op = attention::Attention(w.attention(self.0, &at.operands[..3], at.operands.get(3)));
        w.wire(&at.name, op, &at.inputs(w)).map(Some)
    }
}

impl CpuPrimitive for AttentionShare {
    fn wire(&self, w: &mut Wiring<'_>, at: &At) -> TractResult<Option<OutletId>> {
        let shape = w.attention(self.geometry, &at.operands[..3], at.operands.get(4));
        w.share(&at.name, Share { shape, value: self.value }, &at.operands, self.part).map(Some)
    }
}

impl Wiring<'_> {
    /// Returns the shape of an attention over `[q, k, v]`.
    fn attention(
        &self,
        geometry: AttentionGeometry,
        data: &[Value],
        mask: Option<&Value>,
    ) -> attention::Shape {
        let (q, k, v) = (self.dims(data[0]), self.dims(data[1]), self.dims(data[2]));
        let lead = q.len() - 2;
        attention::Shape {
            m: q[lead],
            n: k[lead],
            d: q[lead + 1],
            e: v[lead + 1],
            lead: q[..lead].to_vec(),
            geometry,
            mask: mask.map(|mask| self.dims(*mask)),
        }
    }

    /// Adds one output of an attention's relevance. Outputs of the same relevance share an operator, which the first of them adds.
    fn share(
        &mut self,
        name: &str,
        op: Share,
        operands: &[Value],
        part: AttentionPart,
    ) -> TractResult<OutletId> {
        let same = |share: &&WiredShare| share.op == op && share.operands == operands;
        let outlets = match self.shares.iter().find(same) {
            Some(share) => share.outlets.clone(),
            None => {
                let inputs: Vec<OutletId> = operands.iter().map(|o| self.values[o]).collect();
                let name = self.unique(name);
                let outlets = self.model.wire_node(name, op.clone(), &inputs)?;
                let operands = operands.to_vec();
                self.shares.push(WiredShare { op, operands, outlets: outlets.clone() });
                outlets
            }
        };
        Ok(outlets[match part {
            AttentionPart::Query => 0,
            AttentionPart::Key => 1,
            AttentionPart::Value => 2,
            AttentionPart::Dropped => 3,
        }])
    }
}
