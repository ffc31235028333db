//! Names of the input that chooses the explained unit of an exported model.

/// The optional input of an exported model that chooses the explained unit.
pub const TARGET: &str = "dlbc_target";

/// The graph's input that stands for [`TARGET`] or its default.
pub(crate) const CHOSEN: &str = "dlbc_target/chosen";
