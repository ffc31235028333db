//! Stepwise rule: the rules of a recurrence's step, applied to each step backwards in time. The compiler lowers it.

use std::fmt;

use serde::Deserialize;

use super::{Formula, Policy, Receives, Sharing};
use crate::op::role::Role;

/// Rules of a recurrence's step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stepwise {}

impl Policy for Stepwise {
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
        matches!(role, Role::Recurrence).then_some(Formula::PerStep)
    }

    fn receives(&self) -> Receives {
        Receives::All
    }

    fn sharing(&self, _: &[bool]) -> Sharing {
        Sharing::Stepwise
    }
}

impl fmt::Display for Stepwise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stepwise")
    }
}
