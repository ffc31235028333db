//! Features, the units of an evaluation: pixels with all their channels, tokens, or single values.

use std::ops::Range;

use dlbc_ops::tensor::Tensor;

use crate::input::{Layout, Source, Token};

/// Features of a sample: groups of elements of one of its inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// Name of the input.
    pub input: String,
    /// Flat indices of the elements of each feature.
    pub elements: Vec<Vec<usize>>,
    /// Rows and columns of pixels; `None` for features that are not pixels.
    pub grid: Option<(usize, usize)>,
    /// Plural noun for the features in messages: "tokens", "columns", "pixels" or "values".
    pub word: &'static str,
}

impl Features {
    /// Returns the features of a sample. Those of a text are its tokens without padding and special tokens.
    pub fn of(input: &str, value: &Tensor, source: &Source, sample: usize) -> Features {
        let (input, count) = (input.to_string(), value.elems());
        let singles = |range: Range<usize>| range.map(|e| vec![e]).collect();
        match (source, value.dims()) {
            (Source::Texts(texts), _) if texts.input == input => {
                let tokens = texts.tokens.get(sample).map(Vec::as_slice).unwrap_or_default();
                let word = |(_, t): &(usize, &Token)| !t.special && !t.padding;
                let elements = tokens.iter().enumerate().filter(word).map(|(e, _)| vec![e]).collect();
                Features { input, elements, grid: None, word: "tokens" }
            }
            (Source::Table(_), _) => {
                Features { input, elements: singles(0..count), grid: None, word: "columns" }
            }
            (_, [1, a, b, c]) if value.dtype().is_float() => {
                let layout = match source {
                    Source::Pictures(_, layout) => *layout,
                    _ if matches!(a, 1 | 3 | 4) || !matches!(c, 1 | 3 | 4) => Layout::Nchw,
                    _ => Layout::Nhwc,
                };
                let (channels, height, width) = match layout {
                    Layout::Nchw => (*a, *b, *c),
                    Layout::Nhwc => (*c, *a, *b),
                };
                let pixels = height * width;
                let element = |pixel: usize, channel: usize| match layout {
                    Layout::Nchw => channel * pixels + pixel,
                    Layout::Nhwc => pixel * channels + channel,
                };
                let elements = (0..pixels).map(|p| (0..channels).map(|c| element(p, c)).collect()).collect();
                Features { input, elements, grid: Some((height, width)), word: "pixels" }
            }
            _ => Features { input, elements: singles(0..count), grid: None, word: "values" },
        }
    }

    /// Returns the number of features.
    pub fn count(&self) -> usize {
        self.elements.len()
    }

    /// Returns the sum of a tensor's elements over each feature.
    pub fn sums(&self, values: &[f64]) -> Vec<f64> {
        let at = |e: &usize| values.get(*e).copied().unwrap_or(0.0);
        self.elements.iter().map(|elements| elements.iter().map(at).sum()).collect()
    }
}

/// Returns the pixels of each patch of a grid, row by row. Patches at the borders are smaller where the grid is not a
/// multiple of the side, as if it were padded equally on all sides.
pub fn patches((height, width): (usize, usize), side: usize) -> Vec<Vec<usize>> {
    let before = |length: usize| (side - length % side) % side / 2;
    let spans = |length: usize| -> Vec<Range<usize>> {
        let starts = (0..(length + before(length)).div_ceil(side)).map(|i| i * side);
        let inside = |at: usize| at.saturating_sub(before(length)).min(length);
        starts.map(|start| inside(start)..inside(start + side)).filter(|r| !r.is_empty()).collect()
    };
    let columns = spans(width);
    let patch = |rows: &Range<usize>, columns: &Range<usize>| {
        rows.clone().flat_map(|y| columns.clone().map(move |x| y * width + x)).collect()
    };
    spans(height).iter().flat_map(|rows| columns.iter().map(|c| patch(rows, c)).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_have_all_channels() {
        let values = [1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0];
        let tensor = |dims: &[usize]| Tensor::from_f32(dims, &values.map(|v| v as f32));
        let sums = |dims: &[usize], layout| {
            Features::of("x", &tensor(dims), &Source::Pictures("x".into(), layout), 0).sums(&values)
        };
        assert_eq!(sums(&[1, 2, 2, 2], Layout::Nchw), [11.0, 22.0, 33.0, 44.0]);
        assert_eq!(sums(&[1, 2, 2, 2], Layout::Nhwc), [3.0, 7.0, 30.0, 70.0]);
        let flat = Features::of("x", &tensor(&[1, 8]), &Source::Arrays, 0);
        assert_eq!((flat.count(), flat.grid), (8, None));
    }

    #[test]
    fn patches_cover_a_grid_once() {
        assert_eq!(patches((2, 4), 2), [vec![0, 1, 4, 5], vec![2, 3, 6, 7]]);
        // 5 columns of patches of 2: one column of padding, at the end.
        assert_eq!(patches((1, 5), 2), [vec![0, 1], vec![2, 3], vec![4]]);
        // 5 columns of patches of 4: three of padding, one of them before.
        assert_eq!(patches((1, 5), 4), [vec![0, 1, 2], vec![3, 4]]);
        for (grid, side) in [((7, 9), 4), ((8, 8), 3), ((3, 3), 5)] {
            let mut all: Vec<usize> = patches(grid, side).concat();
            all.sort_unstable();
            assert_eq!(all, (0..grid.0 * grid.1).collect::<Vec<_>>());
        }
    }
}
