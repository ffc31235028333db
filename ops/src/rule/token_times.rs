//! Token rule for derivatives: the relevance of token ids is `Σ g ⊙ e` over the embedding axes, of the ids' shape.

use std::fmt;

use serde::Deserialize;

use super::{Formula, Policy, Receives, Sharing, token};
use crate::op::role::Role;

/// Sum over the embedding axes of derivative times embedding.
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
