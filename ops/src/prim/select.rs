//! Choice by element.

/// `where(condition, a, b)`, broadcasting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Select;
