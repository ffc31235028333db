//! Relevance of token ids where derivatives pass: `Σ g ⊙ e` over the embedding axes, of the shape of the ids.

use std::fmt;

use serde::Deserialize;

use super::{Formula, Policy, Receives, Sharing, token};
use crate::op::role::Role;

/// The sum over the embedding axes of derivatives times the embeddings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenTimes {}

impl Policy for TokenTimes {
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
        matches!(role, Role::Embedding).then(|| {
            Formula::one_track(|b, site, r| {
                let times = b.mul(r, site.y());
                token::sum(b, site, times)
            })
        })
    }

    fn receives(&self) -> Receives {
        Receives::All
    }

    fn sharing(&self, _: &[bool]) -> Sharing {
        Sharing::Derivative
    }
}

impl fmt::Display for TokenTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("token-sum(times)")
    }
}
