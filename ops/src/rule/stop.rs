//! Stop rule: all relevance is absorbed. Fits every role.

use std::fmt;

use serde::Deserialize;

use super::{Flow, Formula, Policy, Receives, Sharing};
use crate::op::role::Role;

/// End of relevance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {}

impl Policy for Stop {
    fn formula<'a>(&'a self, _: &Role<'a>) -> Option<Formula<'a>> {
        Some(Formula::each_track(|b, _, r| Flow { operands: vec![], absorbed: vec![b.total(r)] }))
    }

    fn receives(&self) -> Receives {
        Receives::Nothing
    }

    fn sharing(&self, _: &[bool]) -> Sharing {
        Sharing::Ends
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stop")
    }
}
