//! Indices of the elements other than 0.

/// The indices of the elements other than 0 of `x`, row-major: `[rank, elements]`, as many columns as there are such
/// elements and then zeros. Their number is another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NonZero;
