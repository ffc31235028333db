//! Look-up of rows in a quantised table, which are widened afterwards, so that the table stays as it is in memory.
//!
//! Shapes: table `[rows, …]`, ids of any shape, scale and zero point `[]` or `[rows, …]` with dimensions that broadcast to the table's;
//! result `[ids…, …]`, float32. Read from `Gather` between a constant table and `DequantizeLinear`, and from `GatherBlockQuantized`.

use super::Operator;
use super::role::Role;
use crate::graph::Value;
use crate::prim::{self, Binary, Builder};
use crate::tensor::DType;

/// Look-up in a quantised table: `(table[id] - zero point) · scale`. Operands: table, ids, scale, zero point (optional).
#[derive(Clone, Debug, PartialEq)]
pub struct QuantisedRows;

impl Operator for QuantisedRows {
    fn attributes(&self) -> String {
        String::new()
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        let rows = |b: &mut Builder, table: Value| {
            let v = match b.ty(table).rank() {
                0 => table,
                _ => b.add(prim::Gather { axis: 0 }, &[table, inputs[1]]),
            };
            b.cast(v, DType::F32)
        };
        let mut y = rows(b, inputs[0]);
        if let Some(zero) = inputs.get(3) {
            let zero = rows(b, *zero);
            y = b.minus(y, zero);
        }
        let scale = rows(b, inputs[2]);
        vec![b.binary(Binary::Mul, y, scale)]
    }

    fn role(&self, live: &[bool]) -> Role<'_> {
        match live {
            [false, true, ..] => Role::Embedding,
            _ => Role::NoRelevance,
        }
    }
}
