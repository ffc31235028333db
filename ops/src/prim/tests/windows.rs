//! Windows and convolutions for the tests of their kernels.

use proptest::prelude::*;

use super::arrays::{elements, floats, indices};
use crate::prim::{ConvGeometry, Window};
use crate::tensor::Array;

/// Generates a window, and dimensions `[n, c, …]` of an operand that it fits.
pub fn windows() -> impl Strategy<Value = (Window, Vec<usize>)> {
    let axis = (1usize..4, 1usize..4, 0usize..3, 0usize..3, 1usize..3, 0usize..4);
    (prop::collection::vec(axis, 1..4), any::<bool>(), 1usize..3, 1usize..3).prop_map(|(axes, ceil, n, c)| {
        let window = Window {
            kernel: axes.iter().map(|a| a.0).collect(),
            strides: axes.iter().map(|a| a.1).collect(),
            before: axes.iter().map(|a| a.2).collect(),
            after: axes.iter().map(|a| a.3).collect(),
            dilations: axes.iter().map(|a| a.4).collect(),
            ceil,
        };
        let fits = |(i, a): (usize, &(usize, usize, usize, usize, usize, usize))| {
            window.extent(i).saturating_sub(a.2 + a.3).max(1) + a.5
        };
        let spatial: Vec<usize> = axes.iter().enumerate().map(fits).collect();
        (window, [vec![n, c], spatial].concat())
    })
}

/// Generates a convolution with the dimensions of its operands `x` and `w`.
pub fn convolutions() -> impl Strategy<Value = (ConvGeometry, Vec<usize>, Vec<usize>)> {
    (windows(), 1usize..3, 1usize..3).prop_map(|((mut window, mut x), groups, outputs)| {
        window.ceil = false;
        let channels = x[1];
        x[1] *= groups;
        let w = [vec![groups * outputs, channels], window.kernel.clone()].concat();
        (ConvGeometry { window, groups }, x, w)
    })
}

/// Returns the elements of one window, by tap; `None` for a tap outside the operand.
pub fn taps_of(window: &Window, x: &Array, channel: &[usize], output: &[usize]) -> Vec<Option<f64>> {
    let tap = |k: &Vec<usize>| {
        let mut index = channel.to_vec();
        for axis in 0..window.rank() {
            let at = output[axis] * window.strides[axis] + k[axis] * window.dilations[axis];
            index.push(at.checked_sub(window.before[axis])?);
        }
        elements(x).get(index.as_slice()).copied()
    };
    indices(&window.kernel).iter().map(tap).collect()
}

/// Evaluates a function of each window in a loop over its taps.
pub fn direct_loop(window: &Window, x: &Array, dims: &[usize], f: fn(&[f64]) -> f64) -> Array {
    let element =
        |i: &Vec<usize>| f(&taps_of(window, x, &i[..2], &i[2..]).into_iter().flatten().collect::<Vec<_>>());
    floats(dims, &indices(dims).iter().map(element).collect::<Vec<_>>())
}

/// Returns a window along one axis, with the pads before and after.
pub fn line(kernel: usize, stride: usize, pads: (usize, usize), ceil: bool) -> Window {
    Window {
        kernel: vec![kernel],
        strides: vec![stride],
        before: vec![pads.0],
        after: vec![pads.1],
        dilations: vec![1],
        ceil,
    }
}
