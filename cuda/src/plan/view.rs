//! Strided views of buffers. Transposes, slices, broadcasts and most reshapes are views and need no launch.

use dlbc_ptx::kernel::pointwise::Kind;
use dlbc_ptx::kernel::storage::Storage;

/// A strided view of a buffer's elements.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    /// Index of the buffer.
    pub(crate) buffer: usize,
    /// Offset of the first element, in elements.
    pub(crate) offset: i64,
    /// Element type.
    pub(crate) kind: Kind,
    /// Type of floats in memory.
    pub(crate) storage: Storage,
    pub(crate) dims: Vec<usize>,
    /// Stride of each axis in elements; negative if the axis runs backwards.
    pub(crate) strides: Vec<i64>,
}

/// Returns the row-major strides of a shape.
pub(crate) fn strides(dims: &[usize]) -> Vec<i64> {
    let mut strides = vec![1; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis] as i64;
    }
    strides
}

impl View {
    /// Views a whole buffer in row-major order.
    pub(crate) fn contiguous(buffer: usize, kind: Kind, dims: &[usize]) -> View {
        let storage = Storage::F32;
        View { buffer, offset: 0, kind, storage, dims: dims.to_vec(), strides: strides(dims) }
    }

    /// Returns the size of an element in memory, in bytes.
    pub(crate) fn element_bytes(&self) -> u32 {
        if self.kind == Kind::F { self.storage.bytes() } else { self.kind.bytes() }
    }

    pub(crate) fn elems(&self) -> usize {
        self.dims.iter().product()
    }

    /// Returns whether the elements are contiguous in row-major order.
    pub(crate) fn is_contiguous(&self) -> bool {
        let fits = |((d, s), expected): ((&usize, &i64), &i64)| *d == 1 || s == expected;
        self.elems() == 0 || self.dims.iter().zip(&self.strides).zip(&strides(&self.dims)).all(fits)
    }

    /// Reshapes a contiguous view.
    pub(crate) fn with_dims(&self, dims: &[usize]) -> View {
        View { dims: dims.to_vec(), strides: strides(dims), ..self.clone() }
    }

    /// Reshapes the view, if strides can express that.
    pub(crate) fn reshaped(&self, dims: &[usize]) -> Option<View> {
        if self.is_contiguous() {
            return Some(self.with_dims(dims));
        }
        // Each group of axes of the result must cover a group of axes of the view whose strides merge.
        let axes: Vec<(usize, i64)> =
            self.dims.iter().copied().zip(self.strides.iter().copied()).filter(|(d, _)| *d != 1).collect();
        let mut strides = vec![0; dims.len()];
        let (mut i, mut j) = (0, 0);
        while i < axes.len() {
            let (first_axis, mut elems, mut new_elems) = (i, axes[i].0, 1);
            i += 1;
            let first = j;
            while new_elems != elems {
                if new_elems < elems {
                    new_elems *= dims.get(j)?;
                    j += 1;
                } else {
                    elems *= axes.get(i)?.0;
                    i += 1;
                }
            }
            for pair in axes[first_axis..i].windows(2) {
                if pair[0].1 != pair[1].1 * pair[1].0 as i64 {
                    return None;
                }
            }
            let mut stride = axes[i - 1].1;
            for axis in (first..j).rev() {
                strides[axis] = stride;
                stride *= dims[axis] as i64;
            }
        }
        Some(View { dims: dims.to_vec(), strides, ..self.clone() })
    }

    pub(crate) fn transposed(&self, perm: &[usize]) -> View {
        View {
            dims: perm.iter().map(|p| self.dims[*p]).collect(),
            strides: perm.iter().map(|p| self.strides[*p]).collect(),
            ..self.clone()
        }
    }

    pub(crate) fn sliced(&self, axis: usize, start: i64, len: usize, step: i64) -> View {
        let mut view = self.clone();
        view.offset += start * view.strides[axis];
        view.dims[axis] = len;
        view.strides[axis] *= step;
        view
    }

    /// Selects one index of an axis and removes the axis.
    pub(crate) fn index_axis(&self, axis: usize, index: usize) -> View {
        let mut view = self.sliced(axis, index as i64, 1, 1);
        view.dims.remove(axis);
        view.strides.remove(axis);
        view
    }

    /// Broadcasts the view to `dims`.
    pub(crate) fn broadcast(&self, dims: &[usize]) -> View {
        let lead = dims.len() - self.dims.len();
        let stride = |axis: usize| match axis.checked_sub(lead) {
            Some(axis_here) if self.dims[axis_here] == dims[axis] => self.strides[axis_here],
            Some(_) | None => 0,
        };
        View { dims: dims.to_vec(), strides: (0..dims.len()).map(stride).collect(), ..self.clone() }
    }
}

/// Merges neighbouring axes whose strides allow it in every list, and drops axes of length 1. Returns the dimensions and the
/// lists of strides.
pub(crate) fn collapse(dims: &[usize], lists: &[&[i64]]) -> (Vec<usize>, Vec<Vec<i64>>) {
    let mut merged: Vec<usize> = vec![];
    let mut merged_lists: Vec<Vec<i64>> = vec![vec![]; lists.len()];
    for (axis, dim) in dims.iter().enumerate().filter(|(_, d)| **d != 1) {
        let merges = !merged.is_empty()
            && lists.iter().zip(&merged_lists).all(|(list, m)| m.last() == Some(&(list[axis] * *dim as i64)));
        match (merges, merged.last_mut()) {
            (true, Some(last)) => {
                *last *= dim;
                for (list, merged_list) in lists.iter().zip(&mut merged_lists) {
                    if let Some(last) = merged_list.last_mut() {
                        *last = list[axis];
                    }
                }
            }
            _ => {
                merged.push(*dim);
                for (list, merged_list) in lists.iter().zip(&mut merged_lists) {
                    merged_list.push(list[axis]);
                }
            }
        }
    }
    (merged, merged_lists)
}

/// Converts strides to the kernels' representation, modulo 2³².
pub(crate) fn kernel_strides(strides: &[i64]) -> Vec<i32> {
    strides.iter().map(|s| *s as i32).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn view(dims: &[usize]) -> View {
        View::contiguous(0, Kind::F, dims)
    }

    #[test]
    fn views_reshape_where_strides_merge() {
        let t = view(&[2, 3, 4]).transposed(&[1, 0, 2]);
        assert_eq!(t.reshaped(&[3, 2, 2, 2]).unwrap().strides, [4, 12, 2, 1]);
        assert_eq!(t.reshaped(&[6, 4]), None);
        assert_eq!(t.reshaped(&[3, 1, 8]), None);
        assert_eq!(view(&[2, 3]).broadcast(&[4, 2, 3]).reshaped(&[4, 6]).unwrap().strides, [0, 1]);
        assert_eq!(view(&[4, 6]).sliced(1, 5, 3, -2).reshaped(&[4, 3, 1]).unwrap().strides[..2], [6, -2]);
    }

    #[test]
    fn axes_with_compatible_strides_merge() {
        let whole = view(&[2, 3, 4]);
        assert_eq!(collapse(&whole.dims, &[&whole.strides]), (vec![24], vec![vec![1]]));
        let t = whole.transposed(&[2, 0, 1]);
        assert_eq!(collapse(&t.dims, &[&t.strides, &[0, 0, 0]]), (vec![4, 6], vec![vec![1, 4], vec![0, 0]]));
        assert_eq!(collapse(&[1, 5, 1], &[&[9, 1, 9]]), (vec![5], vec![vec![1]]));
    }
}
