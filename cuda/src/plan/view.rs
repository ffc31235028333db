//! A view: elements of a buffer by strides. Transposes, slices, broadcasts and most reshapes are views and cost nothing.

use dlbc_ptx::kernel::pointwise::Kind;

/// Elements of a buffer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    pub(crate) buffer: usize,
    /// Of the first element, in elements.
    pub(crate) offset: i64,
    pub(crate) kind: Kind,
    pub(crate) dims: Vec<usize>,
    /// In elements; negative when an axis runs backwards.
    pub(crate) strides: Vec<i64>,
}

/// Row-major strides.
pub(crate) fn strides(dims: &[usize]) -> Vec<i64> {
    let mut strides = vec![1; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis] as i64;
    }
    strides
}

impl View {
    /// A whole buffer, row-major.
    pub(crate) fn dense(buffer: usize, kind: Kind, dims: &[usize]) -> View {
        View { buffer, offset: 0, kind, dims: dims.to_vec(), strides: strides(dims) }
    }

    pub(crate) fn elems(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether the elements lie side by side in row-major order.
    pub(crate) fn is_dense(&self) -> bool {
        let fits = |((d, s), expected): ((&usize, &i64), &i64)| *d == 1 || s == expected;
        self.elems() == 0 || self.dims.iter().zip(&self.strides).zip(&strides(&self.dims)).all(fits)
    }

    /// A dense view under other dimensions.
    pub(crate) fn with_dims(&self, dims: &[usize]) -> View {
        View { dims: dims.to_vec(), strides: strides(dims), ..self.clone() }
    }

    /// Under other dimensions, when strides can say so.
    pub(crate) fn reshaped(&self, dims: &[usize]) -> Option<View> {
        if self.is_dense() {
            return Some(self.with_dims(dims));
        }
        // Each run of axes of the result must cover a run of axes here that lie evenly.
        let own: Vec<(usize, i64)> =
            self.dims.iter().copied().zip(self.strides.iter().copied()).filter(|(d, _)| *d != 1).collect();
        let mut found = vec![0; dims.len()];
        let (mut i, mut j) = (0, 0);
        while i < own.len() {
            let (first_own, mut here, mut there) = (i, own[i].0, 1);
            i += 1;
            let first = j;
            while there != here {
                if there < here {
                    there *= dims.get(j)?;
                    j += 1;
                } else {
                    here *= own.get(i)?.0;
                    i += 1;
                }
            }
            for pair in own[first_own..i].windows(2) {
                if pair[0].1 != pair[1].1 * pair[1].0 as i64 {
                    return None;
                }
            }
            let mut stride = own[i - 1].1;
            for axis in (first..j).rev() {
                found[axis] = stride;
                stride *= dims[axis] as i64;
            }
        }
        Some(View { dims: dims.to_vec(), strides: found, ..self.clone() })
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

    /// One element along an axis, which goes.
    pub(crate) fn at(&self, axis: usize, index: usize) -> View {
        let mut view = self.sliced(axis, index as i64, 1, 1);
        view.dims.remove(axis);
        view.strides.remove(axis);
        view
    }

    /// Repeated to `dims`.
    pub(crate) fn broadcast(&self, dims: &[usize]) -> View {
        let lead = dims.len() - self.dims.len();
        let stride = |axis: usize| match axis.checked_sub(lead) {
            Some(own) if self.dims[own] == dims[axis] => self.strides[own],
            Some(_) | None => 0,
        };
        View { dims: dims.to_vec(), strides: (0..dims.len()).map(stride).collect(), ..self.clone() }
    }
}

/// Merges neighbouring axes that lie evenly in all lists of strides, and drops axes of 1. Returns the dimensions and the
/// lists.
pub(crate) fn collapse(dims: &[usize], lists: &[&[i64]]) -> (Vec<usize>, Vec<Vec<i64>>) {
    let mut merged: Vec<usize> = vec![];
    let mut found: Vec<Vec<i64>> = vec![vec![]; lists.len()];
    for (axis, dim) in dims.iter().enumerate().filter(|(_, d)| **d != 1) {
        let even = !merged.is_empty()
            && lists.iter().zip(&found).all(|(list, f)| f.last() == Some(&(list[axis] * *dim as i64)));
        match (even, merged.last_mut()) {
            (true, Some(last)) => {
                *last *= dim;
                for (list, f) in lists.iter().zip(&mut found) {
                    if let Some(last) = f.last_mut() {
                        *last = list[axis];
                    }
                }
            }
            _ => {
                merged.push(*dim);
                for (list, f) in lists.iter().zip(&mut found) {
                    f.push(list[axis]);
                }
            }
        }
    }
    (merged, found)
}

/// Strides as kernels take them, modulo 2³².
pub(crate) fn words(strides: &[i64]) -> Vec<i32> {
    strides.iter().map(|s| *s as i32).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn view(dims: &[usize]) -> View {
        View::dense(0, Kind::F, dims)
    }

    #[test]
    fn views_reshape_where_their_axes_lie_evenly() {
        let t = view(&[2, 3, 4]).transposed(&[1, 0, 2]);
        assert_eq!(t.reshaped(&[3, 2, 2, 2]).unwrap().strides, [4, 12, 2, 1]);
        assert_eq!(t.reshaped(&[6, 4]), None);
        assert_eq!(t.reshaped(&[3, 1, 8]), None);
        assert_eq!(view(&[2, 3]).broadcast(&[4, 2, 3]).reshaped(&[4, 6]).unwrap().strides, [0, 1]);
        assert_eq!(view(&[4, 6]).sliced(1, 5, 3, -2).reshaped(&[4, 3, 1]).unwrap().strides[..2], [6, -2]);
    }

    #[test]
    fn axes_that_lie_evenly_become_one() {
        let dense = view(&[2, 3, 4]);
        assert_eq!(collapse(&dense.dims, &[&dense.strides]), (vec![24], vec![vec![1]]));
        let t = dense.transposed(&[2, 0, 1]);
        assert_eq!(collapse(&t.dims, &[&t.strides, &[0, 0, 0]]), (vec![4, 6], vec![vec![1, 4], vec![0, 0]]));
        assert_eq!(collapse(&[1, 5, 1], &[&[9, 1, 9]]), (vec![5], vec![vec![1]]));
    }
}
