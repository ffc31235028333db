//! Permutation of axes. Reads `Transpose`.

use super::Operator;
use super::read::Reader;
use super::role::{Role, Route, Site};
use crate::OpError;
use crate::graph::Value;
use crate::prim::Builder;

/// Permutation of the axes: axis `i` of the result is axis `perm[i]` of the operand.
#[derive(Clone, Debug, PartialEq)]
pub struct Transpose {
    /// Permutation of `0..rank`.
    pub perm: Vec<usize>,
}

impl Operator for Transpose {
    fn attributes(&self) -> String {
        format!(" perm={:?}", self.perm)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![b.transpose(inputs[0], &self.perm)]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Rearrange(self)
    }
}

impl Route for Transpose {
    fn route(&self, b: &mut Builder, _: &Site, r: Value) -> Vec<Option<Value>> {
        let mut inverse = vec![0; self.perm.len()];
        for (i, p) in self.perm.iter().enumerate() {
            inverse[*p] = i;
        }
        vec![Some(b.transpose(r, &inverse))]
    }
}

/// Returns the reader of `Transpose`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("Transpose", 1, |r| {
        let x = r.input(0)?;
        let rank = r.ty(x).rank();
        let perm = match r.ints("perm")? {
            Some(axes) => {
                let inside = |p: &i64| usize::try_from(*p).ok().filter(|p| *p < rank);
                let perm: Option<Vec<usize>> = axes.iter().map(inside).collect();
                let expected = || format!("axes from 0 to below {rank}");
                perm.ok_or_else(|| OpError::invalid("perm", expected(), format!("{axes:?}")))?
            }
            None => (0..rank).rev().collect(),
        };
        let mut sorted = perm.clone();
        sorted.sort_unstable();
        if sorted != (0..rank).collect::<Vec<_>>() {
            return Err(OpError::mismatch(
                "perm",
                format!("a permutation of {rank} axes"),
                format!("{perm:?}"),
            ));
        }
        Ok(vec![if perm.iter().enumerate().all(|(i, p)| i == *p) {
            x
        } else {
            r.add(Transpose { perm }, &[x])?
        }])
    })]
}
