//! Copy of the data with rows replaced by updates: the scatters of the standard without a reduction.

use super::Operator;
use super::role::{Role, Route, Site};
use crate::graph::Value;
use crate::prim::{self, Binary, Builder, Prim};
use crate::tensor::{Dim, Shape};

/// Replacement of rows: `data [n, …]` with the rows at `indices [m]` replaced by those of `updates [m, …]`. The last of
/// several updates of one row counts. Operands: data, indices, updates.
#[derive(Clone, Debug, PartialEq)]
pub struct Overwrite;

impl Operator for Overwrite {
    fn attributes(&self) -> String {
        String::new()
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![b.add(Prim::Overwrite, inputs)]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Rearrange(self)
    }
}

impl Route for Overwrite {
    /// Updates that a later one replaces, and data that is replaced, receive no relevance.
    fn route(&self, b: &mut Builder, site: &Site, r: Value) -> Vec<Option<Value>> {
        let (data, at) = (site.inputs[0], site.inputs[1]);
        let (n, m) = (b.ty(data).dim(0).clone(), b.ty(at).dim(0).clone());
        let i = b.add(prim::Iota { len: m.clone() }, &[]);
        let none = b.scalar_like(-1.0, i);
        let no_writer = b.expand(none, &Shape(vec![n.clone()]));
        let writer = b.add(Prim::Overwrite, &[no_writer, at, i]);
        let column = |b: &mut Builder, v: Value, len: &Dim| {
            let rank = b.ty(data).rank();
            let shape = Shape([vec![len.clone()], vec![Dim::known(1); rank - 1]].concat());
            b.reshape(v, &shape)
        };
        let zero = b.scalar_like(0.0, r);
        let untouched = b.binary(Binary::Equal, writer, none);
        let untouched = column(b, untouched, &n);
        let data_relevance = b.add(Prim::Select, &[untouched, r, zero]);
        let last = b.add(prim::Gather { axis: 0 }, &[writer, at]);
        let last = b.binary(Binary::Equal, last, i);
        let last = column(b, last, &m);
        let updates_relevance = b.add(prim::Gather { axis: 0 }, &[r, at]);
        let updates_relevance = b.add(Prim::Select, &[last, updates_relevance, zero]);
        vec![Some(data_relevance), None, Some(updates_relevance)]
    }
}
