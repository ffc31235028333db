//! Facts about operands that are zero or empty once dimensions are bound.

/// Fact about a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// The value has no elements.
    Empty,
    /// The value has elements, and all of them are 0.
    Zero,
}

/// Facts about the operands of a node, in order; `None` if nothing is known.
#[derive(Clone, Copy, Debug)]
pub struct Knowledge<'a>(pub &'a [Option<Known>]);

impl Knowledge<'_> {
    /// Returns the number of operands.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns whether operand `k` has elements and all of them are 0.
    pub fn is_zero(&self, k: usize) -> bool {
        self.0.get(k) == Some(&Some(Known::Zero))
    }

    /// Returns whether operand `k` has no elements.
    pub fn is_empty(&self, k: usize) -> bool {
        self.0.get(k) == Some(&Some(Known::Empty))
    }

    /// Returns whether operand `k` is zero or empty.
    pub fn is_zero_or_empty(&self, k: usize) -> bool {
        self.is_zero(k) || self.is_empty(k)
    }
}
