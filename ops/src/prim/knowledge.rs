//! Operands that are known to be zero or empty once dimensions are bound.

/// Knowledge of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It has no elements.
    Empty,
    /// Every element is 0.
    Zero,
}

/// Knowledge of a node's operands, in order.
#[derive(Clone, Copy, Debug)]
pub struct Knowledge<'a>(pub &'a [Option<Known>]);

impl Knowledge<'_> {
    /// Number of operands.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether every element of operand `k` is 0, and it has some.
    pub fn is_zero(&self, k: usize) -> bool {
        self.0.get(k) == Some(&Some(Known::Zero))
    }

    /// Whether operand `k` has no elements.
    pub fn is_empty(&self, k: usize) -> bool {
        self.0.get(k) == Some(&Some(Known::Empty))
    }

    /// Whether operand `k` is zero or empty.
    pub fn is_zero_or_empty(&self, k: usize) -> bool {
        self.is_zero(k) || self.is_empty(k)
    }
}
