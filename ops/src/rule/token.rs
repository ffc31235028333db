//! Token rule: the relevance of token ids is the sum over the embedding axes, of the ids' shape. Conserves exactly.

use std::fmt;

use serde::Deserialize;

use super::{Flow, Formula, Policy, Receives, Sharing};
use crate::graph::Value;
use crate::op::role::{Role, Site};
use crate::prim::{Builder, Reduction};

/// Sum over the embedding axes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {}

impl Policy for Token {
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
        matches!(role, Role::Embedding).then(|| Formula::each_track(sum))
    }

    fn receives(&self) -> Receives {
        Receives::All
    }

    fn sharing(&self, _: &[bool]) -> Sharing {
        Sharing::Ends
    }
}

/// Builds the relevance of the ids from that of the embeddings.
pub(super) fn sum(b: &mut Builder, site: &Site, r: Value) -> Flow {
    // Gather along axis 0: the result is `[ids…, embedding…]`.
    let ids = b.ty(site.inputs[1]).rank();
    let axes: Vec<usize> = (ids..b.ty(r).rank()).collect();
    let score = b.reduce(Reduction::Sum, r, &axes);
    Flow { operands: vec![None, Some(score)], absorbed: vec![] }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("token-sum")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Gather;
    use crate::rule::tests::{Layer, assert_close, at, fill, ints, random};

    #[test]
    fn ids_get_the_sum_over_their_embedding() {
        let table = random(&[5, 2], 4);
        let ids = ints(&[2, 3], &[0, 4, 1, 1, 2, 0]);
        let r = random(&[2, 3, 2], 5);
        let actual = Layer::new(Gather { axis: 0 }, &[&table, &ids], &[false, true], Token {}).explain(&r);
        assert!(actual.operands[0].is_none());
        let expected = fill(&[2, 3], |n| at(&r, &[n[0], n[1], 0]) + at(&r, &[n[0], n[1], 1]));
        assert_close(actual.operand(1), &expected, "tokens");
    }
}
