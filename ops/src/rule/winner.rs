//! Winner rule: all relevance of a choice to the winner, the first of several that tie. Conserves like the route rule.

use std::fmt;

use serde::Deserialize;

use super::{Formula, Policy, Receives, Sharing, route};
use crate::op::role::Role;

/// The winner of a choice; the first of several that tie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Winner {}

impl Policy for Winner {
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
        let map = role.select()?;
        Some(Formula::each_track(move |b, site, r| {
            let winner = map.winner(b, site, r);
            let operands = winner.unwrap_or_else(|| map.route(b, site, r));
            route::absorbing(b, operands, r)
        }))
    }

    fn receives(&self) -> Receives {
        Receives::All
    }

    fn sharing(&self, _: &[bool]) -> Sharing {
        Sharing::Moves
    }
}

impl fmt::Display for Winner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("winner")
    }
}
