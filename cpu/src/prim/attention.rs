//! Attention and the relevance that it gives back.

use dlbc_ops::graph::Value;
use dlbc_ops::prim::{Attention, AttentionGeometry, AttentionPart, AttentionShare};

use super::contract::*;
use crate::attention::{self, Share};

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
    /// The sizes of an attention of `[q, k, v]`.
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

    /// One part of an attention's relevance. The parts of the same relevance are made together, by the first that is asked for.
    fn share(
        &mut self,
        name: &str,
        op: Share,
        operands: &[Value],
        of: AttentionPart,
    ) -> TractResult<OutletId> {
        let same = |(made, on, _): &&(Share, Vec<Value>, TVec<OutletId>)| *made == op && on == operands;
        let parts = match self.shares.iter().find(same) {
            Some((_, _, parts)) => parts.clone(),
            None => {
                let inputs: Vec<OutletId> = operands.iter().map(|o| self.values[o]).collect();
                let name = self.unique(name);
                let parts = self.model.wire_node(name, op.clone(), &inputs)?;
                self.shares.push((op, operands.to_vec(), parts.clone()));
                parts
            }
        };
        Ok(parts[match of {
            AttentionPart::Query => 0,
            AttentionPart::Key => 1,
            AttentionPart::Value => 2,
            AttentionPart::Dropped => 3,
        }])
    }
}
