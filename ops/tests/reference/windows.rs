use dlbc_ops::prim::{self, ConvGeometry, Prim, Transform, Window};
use dlbc_ops::tensor::{Array, Bindings, DType, Dim, TensorType};
use proptest::prelude::*;

use super::arithmetic::part;
use super::{assert_close, data, error, eval, floats, indices, inner, ints, known, random, row};

/// A window with operand dimensions `[n, c, …]` that it fits.
fn window() -> impl Strategy<Value = (Window, Vec<usize>)> {
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

/// A convolution with the dimensions of `x` and `w`.
fn geometry() -> impl Strategy<Value = (ConvGeometry, Vec<usize>, Vec<usize>)> {
    (window(), 1usize..3, 1usize..3).prop_map(|((mut window, mut x), groups, outputs)| {
        window.ceil = false;
        let channels = x[1];
        x[1] *= groups;
        let w = [vec![groups * outputs, channels], window.kernel.clone()].concat();
        (ConvGeometry { window, groups }, x, w)
    })
}

fn array(x: &Array) -> &ndarray::ArrayD<f64> {
    let Array::F(x) = x else { panic!("floats expected") };
    x
}

/// The elements of one window, by tap; `None` for a tap outside the operand.
fn tapped(window: &Window, x: &Array, channel: &[usize], output: &[usize]) -> Vec<Option<f64>> {
    let tap = |k: &Vec<usize>| {
        let mut index = channel.to_vec();
        for axis in 0..window.rank() {
            let at = output[axis] * window.strides[axis] + k[axis] * window.dilations[axis];
            index.push(at.checked_sub(window.before[axis])?);
        }
        array(x).get(index.as_slice()).copied()
    };
    indices(&window.kernel).iter().map(tap).collect()
}

fn naive_window(window: &Window, x: &Array, dims: &[usize], f: fn(&[f64]) -> f64) -> Array {
    let element =
        |i: &Vec<usize>| f(&tapped(window, x, &i[..2], &i[2..]).into_iter().flatten().collect::<Vec<_>>());
    floats(dims, &indices(dims).iter().map(element).collect::<Vec<_>>())
}

fn naive_conv(geometry: &ConvGeometry, x: &Array, w: &Array, bias: &Array, dims: &[usize]) -> Array {
    let (channels, outputs) = (w.dims()[1], w.dims()[0] / geometry.groups);
    let element = |i: &Vec<usize>| {
        let group = i[1] / outputs;
        let mut y = data(bias)[i[1]];
        for c in 0..channels {
            let taps = tapped(&geometry.window, x, &[i[0], group * channels + c], &i[2..]);
            for (k, x) in indices(&geometry.window.kernel).iter().zip(taps) {
                y += array(w)[[&[i[1], c], k.as_slice()].concat().as_slice()] * x.unwrap_or(0.0);
            }
        }
        y
    };
    floats(dims, &indices(dims).iter().map(element).collect::<Vec<_>>())
}

fn part_of(part: Transform, w: &Array) -> Array {
    Array::F(array(w).mapv(|v| match part {
        Transform::Id => v,
        Transform::Abs => v.abs(),
        Transform::Pos => v.max(0.0),
        Transform::Neg => v.min(0.0),
        Transform::Square => v * v,
        Transform::One => 1.0,
    }))
}

proptest! {
    #[test]
    fn conv_is_the_direct_loop((geometry, x, w) in geometry(), part in part(), seed in any::<u64>()) {
        let (x, w) = (random(&x, seed), random(&w, seed ^ 1));
        let bias = random(&w.dims()[..1], seed ^ 2);
        let y = eval(Prim::Conv(prim::Conv { geometry: geometry.clone(), w: part }), &[&x, &w, &bias]);
        assert_close(&y, &naive_conv(&geometry, &x, &part_of(part, &w), &bias, y.dims()));
    }

    #[test]
    fn conv_transpose_is_the_adjoint_of_conv((geometry, x, w) in geometry(), part in part(), seed in any::<u64>()) {
        let (x, w) = (random(&x, seed), random(&w, seed ^ 1));
        let y = eval(Prim::Conv(prim::Conv { geometry: geometry.clone(), w: part }), &[&x, &w]);
        let s = random(y.dims(), seed ^ 2);
        let back = eval(Prim::ConvTranspose(prim::ConvTranspose { geometry, w: part, to: known(&x.dims()[2..]) }), &[&s, &w]);
        prop_assert!((inner(&y, &s) - inner(&x, &back)).abs() < 1e-9);
    }

    #[test]
    fn window_sum_and_max_are_direct_loops((window, x) in window(), seed in any::<u64>()) {
        let x = random(&x, seed);
        let y = eval(Prim::WindowSum(prim::WindowSum(window.clone())), &[&x]);
        assert_close(&y, &naive_window(&window, &x, y.dims(), |taps| taps.iter().sum()));
        let y = eval(Prim::WindowMax(prim::WindowMax(window.clone())), &[&x]);
        let max = |taps: &[f64]| taps.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
        assert_close(&y, &naive_window(&window, &x, y.dims(), max));
    }

    #[test]
    fn window_sum_transpose_is_the_adjoint((window, x) in window(), seed in any::<u64>()) {
        let x = random(&x, seed);
        let y = eval(Prim::WindowSum(prim::WindowSum(window.clone())), &[&x]);
        let s = random(y.dims(), seed ^ 1);
        let back = eval(Prim::WindowSumTranspose(prim::WindowSumTranspose { window, to: known(&x.dims()[2..]) }), &[&s]);
        prop_assert!((inner(&y, &s) - inner(&x, &back)).abs() < 1e-9);
    }

    #[test]
    fn max_share_conserves_the_total((window, x) in window(), seed in any::<u64>()) {
        let x = random(&x, seed);
        let y = eval(Prim::WindowMax(prim::WindowMax(window.clone())), &[&x]);
        let r = random(y.dims(), seed ^ 1);
        let shared = eval(Prim::WindowMaxShare(prim::WindowMaxShare { window, first: false }), &[&x, &y, &r]);
        // A window that lies in the pads alone has nobody to give to.
        let passed: f64 = data(&r).iter().zip(data(&y)).filter(|(_, y)| y.is_finite()).map(|(r, _)| r).sum();
        prop_assert!((data(&shared).iter().sum::<f64>() - passed).abs() < 1e-9);
    }

    #[test]
    fn symbolic_types_bind_to_the_dimensions_of_the_value((geometry, x, w) in geometry(), seed in any::<u64>()) {
        let (x, w) = (random(&x, seed), random(&w, seed ^ 1));
        let names: Vec<String> = (0..x.dims().len()).map(|i| format!("d{i}")).collect();
        let bindings: Bindings = names.iter().zip(x.dims()).map(|(n, d)| (n.as_str().into(), *d as i64)).collect();
        let mut dims: Vec<Dim> = names.iter().map(|n| Dim::symbol(n)).collect();
        dims[1] = Dim::known(x.dims()[1] as i64);
        let types = [TensorType::new(DType::F32, dims), TensorType::new(DType::F32, known(w.dims()))];
        let prim = Prim::Conv(prim::Conv { geometry, w: Transform::Id });
        let bound = prim.infer(&types).expect("a convolution of symbolic dimensions").shape.substitute(&bindings);
        let y = eval(prim, &[&x, &w]);
        prop_assert_eq!(bound.as_known(), Some(y.dims().to_vec()));
    }
}

fn line(kernel: usize, stride: usize, pads: (usize, usize), ceil: bool) -> Window {
    Window {
        kernel: vec![kernel],
        strides: vec![stride],
        before: vec![pads.0],
        after: vec![pads.1],
        dilations: vec![1],
        ceil,
    }
}

#[test]
fn windows_have_hand_computed_values() {
    let x = floats(&[1, 1, 5], &[1.0, 5.0, 2.0, -4.0, 3.0]);
    let sum = eval(Prim::WindowSum(prim::WindowSum(line(2, 2, (1, 0), false))), &[&x]);
    assert_eq!(sum, floats(&[1, 1, 3], &[1.0, 7.0, -1.0]));
    let floor = eval(Prim::WindowSum(prim::WindowSum(line(2, 2, (0, 0), false))), &[&x]);
    assert_eq!(floor, floats(&[1, 1, 2], &[6.0, -2.0]));
    let ceil = eval(Prim::WindowSum(prim::WindowSum(line(2, 2, (0, 0), true))), &[&x]);
    assert_eq!(ceil, floats(&[1, 1, 3], &[6.0, -2.0, 3.0]));
    let max = eval(Prim::WindowMax(prim::WindowMax(line(2, 2, (0, 0), true))), &[&x]);
    assert_eq!(max, floats(&[1, 1, 3], &[5.0, 2.0, 3.0]));
    let max = eval(Prim::WindowMax(prim::WindowMax(line(1, 1, (1, 0), false))), &[&x]);
    assert_eq!(data(&max)[0], f64::NEG_INFINITY);
    let whole =
        eval(Prim::WindowMax(prim::WindowMax(line(2, 2, (0, 0), true))), &[&ints(&[1, 1, 3], &[-5, -7, -9])]);
    assert_eq!(whole, ints(&[1, 1, 2], &[-5, -9]));
}

#[test]
fn ties_share_equally_and_nan_takes_nothing() {
    let x = floats(&[1, 1, 4], &[2.0, 2.0, f64::NAN, f64::NAN]);
    let (y, r) = (floats(&[1, 1, 2], &[2.0, f64::NAN]), floats(&[1, 1, 2], &[6.0, 1.0]));
    let shared = eval(
        Prim::WindowMaxShare(prim::WindowMaxShare { window: line(2, 2, (0, 0), false), first: false }),
        &[&x, &y, &r],
    );
    assert_eq!(shared, floats(&[1, 1, 4], &[3.0, 3.0, 0.0, 0.0]));
}

#[test]
fn conv_has_hand_computed_values() {
    let geometry = ConvGeometry { window: line(2, 1, (1, 0), false), groups: 1 };
    let (x, w) = (floats(&[1, 1, 3], &[1.0, 2.0, 3.0]), floats(&[1, 1, 2], &[10.0, -1.0]));
    let conv = |w| Prim::Conv(prim::Conv { geometry: geometry.clone(), w });
    assert_eq!(eval(conv(Transform::Id), &[&x, &w, &row(&[0.5])]), floats(&[1, 1, 3], &[-0.5, 8.5, 17.5]));
    assert_eq!(eval(conv(Transform::Neg), &[&x, &w, &row(&[0.5])]), floats(&[1, 1, 3], &[-0.5, -1.5, -2.5]));
    let back = Prim::ConvTranspose(prim::ConvTranspose {
        geometry: geometry.clone(),
        w: Transform::Id,
        to: vec![Dim::known(3)],
    });
    assert_eq!(eval(back, &[&x, &w]), floats(&[1, 1, 3], &[19.0, 28.0, -3.0]));
    let unknown =
        Prim::ConvTranspose(prim::ConvTranspose { geometry, w: Transform::Id, to: vec![Dim::symbol("h")] });
    assert!(error(unknown, &[&x, &w]).contains('h'));
}

#[test]
fn empty_operands_give_empty_or_bias() {
    let geometry = ConvGeometry { window: line(1, 1, (0, 0), false), groups: 1 };
    let conv = Prim::Conv(prim::Conv { geometry, w: Transform::Id });
    let none = eval(conv.clone(), &[&floats(&[0, 1, 2], &[]), &floats(&[1, 1, 1], &[1.0])]);
    assert_eq!(none, floats(&[0, 1, 2], &[]));
    let bias = eval(conv, &[&floats(&[1, 0, 2], &[]), &floats(&[1, 0, 1], &[]), &row(&[3.0])]);
    assert_eq!(bias, floats(&[1, 1, 2], &[3.0, 3.0]));
}
