//! Scales and zero points of values that are stored as whole numbers.

/// Scales and zero points: an element is `(number - zero point) · scale`.
///
/// The elements are `[…, len, inner]`. Each `block` indices of the axis `len` share a scale; with `by_element`, each index of the other
/// axes has scales of its own, `[…, blocks, inner]`, else all have the same, `[blocks]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Steps {
    /// Scales, row-major.
    pub scales: Vec<f32>,
    /// Zero points: one for all, or one for each scale.
    pub zeros: Vec<f32>,
    /// Number of indices of the axis that has scales.
    pub len: usize,
    /// Number of elements of the axes after it.
    pub inner: usize,
    /// Number of indices that share a scale.
    pub block: usize,
    /// True if each index of the other axes has scales of its own.
    pub by_element: bool,
}

impl Steps {
    /// Creates one scale and zero point for all elements.
    pub fn single(scale: f32, zero: f32) -> Steps {
        Steps { scales: vec![scale], zeros: vec![zero], len: 1, inner: 1, block: 1, by_element: false }
    }

    /// Returns whether scales and zero points suffice for `elems` elements.
    pub(crate) fn fits(&self, elems: usize) -> bool {
        let (scales, zeros) = (self.scales.len(), self.zeros.len());
        let is_empty = self.len == 0 || self.inner == 0 || self.block == 0 || scales == 0;
        if is_empty || (zeros != 1 && zeros != scales) {
            return false;
        }
        let blocks = self.len.div_ceil(self.block);
        let rows = self.len.checked_mul(self.inner).filter(|n| elems.is_multiple_of(*n)).map(|n| elems / n);
        let expected = match rows {
            None => return false,
            Some(_) if !self.by_element => Some(blocks),
            Some(rows) => blocks.checked_mul(self.inner).and_then(|n| n.checked_mul(rows)),
        };
        expected == Some(scales)
    }

    /// Turns the numbers of the elements from `at` on into their values.
    #[inline(always)]
    pub fn apply(&self, at: usize, values: &mut [f32]) {
        if let ([scale], zero) = (self.scales.as_slice(), self.zero(0)) {
            values.iter_mut().for_each(|v| *v = (*v - zero) * scale);
        } else if self.inner == 1 && (self.by_element || self.block > 1) || self.inner > 1 && !self.by_element
        {
            self.apply_by_block(at, values);
        } else {
            self.apply_by_line(at, values);
        }
    }

    #[inline(always)]
    fn zero(&self, scale: usize) -> f32 {
        if self.zeros.len() == 1 { self.zeros[0] } else { self.zeros[scale] }
    }

    /// Applies scales that adjacent elements share.
    #[inline(always)]
    fn apply_by_block(&self, at: usize, mut values: &mut [f32]) {
        let (len, inner, block) = (self.len, self.inner, self.block);
        let (row, mut index) = (at / (len * inner), at / inner % len);
        let (mut column, mut in_row) = (at % inner, index / block);
        let mut scale = in_row + if self.by_element { row * len.div_ceil(block) } else { 0 };
        while !values.is_empty() {
            let end = ((in_row + 1) * block).min(len);
            let run = ((end - index) * inner - column).min(values.len());
            let (now, later) = values.split_at_mut(run);
            let (factor, zero) = (self.scales[scale], self.zero(scale));
            now.iter_mut().for_each(|v| *v = (*v - zero) * factor);
            (values, index, column, in_row, scale) = (later, end, 0, in_row + 1, scale + 1);
            if index == len {
                (index, in_row) = (0, 0);
                scale = if self.by_element { scale } else { 0 };
            }
        }
    }

    /// Applies scales of which adjacent elements have adjacent ones.
    #[inline(always)]
    fn apply_by_line(&self, mut at: usize, mut values: &mut [f32]) {
        let (len, inner, blocks) = (self.len, self.inner, self.len.div_ceil(self.block));
        while !values.is_empty() {
            let (first, run) = if self.by_element {
                let (row, index, column) = (at / (len * inner), at / inner % len, at % inner);
                ((row * blocks + index / self.block) * inner + column, inner - column)
            } else {
                (at % len, len - at % len)
            };
            let run = run.min(values.len());
            let (now, later) = values.split_at_mut(run);
            let scales = &self.scales[first..first + run];
            match self.zeros.as_slice() {
                // A difference to 0 changes no bit.
                [0.0] => now.iter_mut().zip(scales).for_each(|(v, s)| *v *= s),
                [zero] => now.iter_mut().zip(scales).for_each(|(v, s)| *v = (*v - zero) * s),
                zeros => {
                    let pairs = scales.iter().zip(&zeros[first..first + run]);
                    now.iter_mut().zip(pairs).for_each(|(v, (s, z))| *v = (*v - z) * s);
                }
            }
            (values, at) = (later, at + run);
        }
    }
}
