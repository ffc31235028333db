//! Adjoint of a convolution in its weight, as a matrix product over the windows of the operand.

use super::contract::*;
use super::{ConvGeometry, Pad, PadMode, Slice};

impl Builder {
    /// Adds the adjoint of a convolution in its weight: from `x [n, c, …]` and `s [n, o, …]`, of the shape of the result,
    /// builds `[o, c/groups, kernel…]`.
    ///
    /// A large kernel takes much memory: the windows are `n · c · kernel · positions` elements.
    pub fn conv_weight(&mut self, geometry: &ConvGeometry, x: Value, s: Value) -> Value {
        let (tx, ts) = (self.ty(x), self.ty(s));
        let groups = Dim::known(geometry.groups as i64);
        let (channels, outputs) = (tx.dim(1).floor_div(&groups), ts.dim(1).floor_div(&groups));
        let positions = Shape(ts.shape.0[2..].to_vec()).elems();
        // [n, c, taps, …] → [groups, n, …, c/groups, taps]: rows of one position, columns of one weight.
        let windows = self.windows(geometry, x, &ts.shape.0[2..]);
        let taps = self.ty(windows).dim(2).clone();
        let split = [tx.dim(0).clone(), groups.clone(), &channels * &taps, positions.clone()];
        let windows = self.reshape(windows, &Shape(split.to_vec()));
        let windows = self.transpose(windows, &[1, 0, 3, 2]);
        let rows = tx.dim(0) * &positions;
        let windows = self.reshape(windows, &Shape(vec![groups.clone(), rows.clone(), &channels * &taps]));
        // [n, o, …] → [groups, o/groups, n · positions].
        let split = [ts.dim(0).clone(), groups.clone(), outputs.clone(), positions];
        let s = self.reshape(s, &Shape(split.to_vec()));
        let s = self.transpose(s, &[1, 2, 0, 3]);
        let s = self.reshape(s, &Shape(vec![groups, outputs, rows]));
        let w = self.matmul(s, windows);
        let kernel = geometry.window.kernel.iter().map(|k| Dim::known(*k as i64));
        let to = [vec![ts.dim(1).clone(), channels], kernel.collect()].concat();
        self.reshape(w, &Shape(to))
    }

    /// Builds the elements of each window of `x [n, c, …]` at the positions `to`: `[n, c, taps, to…]`.
    fn windows(&mut self, geometry: &ConvGeometry, x: Value, to: &[Dim]) -> Value {
        let window = &geometry.window;
        let rank = self.ty(x).rank();
        let pads = |list: &[usize]| -> Vec<Dim> {
            [vec![0, 0], list.to_vec()].concat().iter().map(|p| Dim::known(*p as i64)).collect()
        };
        let (before, after) = (pads(&window.before), pads(&window.after));
        let is_padded = before.iter().chain(&after).any(|p| !p.is(0));
        let mode = PadMode::Constant(0.0);
        let x = if is_padded { self.add(Pad { before, after, mode }, &[x]) } else { x };
        let mut with_taps = self.ty(x).shape.0[..2].to_vec();
        with_taps.push(Dim::known(1));
        with_taps.extend_from_slice(to);
        // All taps of one axis after another: the last axis changes fastest, as in the weight.
        let mut taps = vec![x];
        for axis in 2..rank {
            let (step, len) = (window.strides[axis - 2] as i64, to[axis - 2].clone());
            let starts = (0..window.kernel[axis - 2]).map(|k| (k * window.dilations[axis - 2]) as i64);
            let starts: Vec<Dim> = starts.map(Dim::known).collect();
            let mut next = vec![];
            for x in taps {
                for start in &starts {
                    let slice = Slice { axis, start: start.clone(), len: len.clone(), step };
                    next.push(self.add(slice, &[x]));
                }
            }
            taps = next;
        }
        let taps: Vec<Value> =
            taps.into_iter().map(|tap| self.reshape(tap, &Shape(with_taps.clone()))).collect();
        if let [tap] = taps.as_slice() { *tap } else { self.concat(&taps, 2) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::{Conv, Transform, reference};
    use super::*;
    use crate::prim::tests::arrays::{eval, inner, random, types};
    use crate::prim::tests::windows::convolutions;
    use crate::program::Output;

    proptest! {
        #[test]
        fn conv_weight_is_the_adjoint_of_conv_in_its_weight((geometry, x, w) in convolutions(), seed in any::<u64>()) {
            let (x, w) = (random(&x, seed), random(&w, seed ^ 1));
            let y = eval(Conv { geometry: geometry.clone(), w: Transform::Id }, &[&x, &w]);
            let s = random(y.dims(), seed ^ 2);
            let mut b = Builder::new();
            let [tx, ts] = [&x, &s].map(|v| types(&[v]).remove(0));
            let operands = (b.input("x", tx), b.input("s", ts));
            let back = b.conv_weight(&geometry, operands.0, operands.1);
            b.ok().expect("operands that fit");
            let output: Output = "back".into();
            b.graph_mut().add_output(output.clone(), back);
            let feed = BTreeMap::from([("x".to_string(), x), ("s".to_string(), s.clone())]);
            let back = reference::run(&b.finish(), &feed, &[output]).expect("values").into_values().next().expect("one");
            prop_assert_eq!(back.dims(), w.dims());
            prop_assert!((inner(&y, &s) - inner(&w, &back)).abs() < 1e-9);
        }
    }
}
