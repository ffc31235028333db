//! Each canonical pass: the graph before and after it, and graphs that it must leave alone.

mod from_tensorflow;
mod model;

use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::op::{
    Add, Arithmetic, BatchNorm, Compare, Concat, Conv, ConvTranspose, Div, Linear, MatMul, Mul, Op, Reduce,
    ReduceKind, Reshape, Select, Softmax, Sub, Transpose,
};
use dlbc_ops::prim::{Binary, ConvGeometry, Unary, Window};
use dlbc_ops::tensor::{Dim, Shape};
use insta::{allow_duplicates, assert_snapshot};
use model::Model;

fn conv() -> Conv {
    let window = Window::unit(&[1]);
    Conv { geometry: ConvGeometry { window, groups: 1 } }
}

const LINEAR: Linear = Linear { transposed: true };

/// A layer of 2 units without bias, and its weight `[[1, 1, 1], [1, 1, 1]]`.
fn layer(m: &mut Model) -> (Value, Value) {
    let x = m.input("x", &[4, 3]);
    let w = m.ones("w", &[2, 3]);
    (x, m.add("h", LINEAR, &[x, w]))
}

/// The values of the constants that a node reads after its first operand.
fn constants(graph: &Graph<Op>, name: &str) -> Vec<Vec<f32>> {
    let node = graph.find(name).expect("a value of this name").node;
    let operands = graph.node_inputs(node);
    operands[1..].iter().map(|v| graph.constant(*v).expect("a constant").to_f32()).collect()
}

#[test]
fn fuse_linear_bias_makes_one_layer() {
    for swapped in [false, true] {
        let mut m = Model::default();
        let (_, h) = layer(&mut m);
        let b = m.constant("b", &[1, 2], &[5.0, 6.0]);
        let y = m.add("y", Add, &if swapped { [b, h] } else { [h, b] });
        let graph = m.after("fuse_linear_bias", y);
        allow_duplicates! {
        assert_snapshot!(graph, @r"
        graph (x: f32[4,3]) -> (y) {
          y = Linear(x, #w: f32[2,3], #b.1: f32[2]) w=[out,in] : f32[4,2]   // from h, y
        }
        ");
        }
        assert_eq!(constants(&graph, "y")[1], [5.0, 6.0]);
    }
}

#[test]
fn fuse_linear_bias_of_a_convolution_counts_along_the_channels() {
    let mut m = Model::default();
    let x = m.input("x", &[1, 3, 5]);
    let w = m.ones("w", &[2, 3, 1]);
    let h = m.add("h", conv(), &[x, w]);
    let b = m.constant("b", &[2, 1], &[5.0, 6.0]);
    let y = m.add("y", Add, &[h, b]);
    assert_snapshot!(m.after("fuse_linear_bias", y), @r"
    graph (x: f32[1,3,5]) -> (y) {
      y = Conv(x, #w: f32[2,3,1], #b.1: f32[2]) kernel=[1] strides=[1] : f32[1,2,5]   // from h, y
    }
    ");
}

#[test]
fn fuse_linear_bias_leaves_alone() {
    // A layer that somebody else reads.
    let mut m = Model::default();
    let (_, h) = layer(&mut m);
    let b = m.ones("b", &[2]);
    let s = m.add("s", Add, &[h, b]);
    let y = m.add("out", Mul, &[s, h]);
    m.untouched("fuse_linear_bias", y);
    // A layer that is a model output.
    let mut m = Model::default();
    let (_, h) = layer(&mut m);
    let b = m.ones("b", &[2]);
    let s = m.add("s", Add, &[h, b]);
    m.0.add_output("h", h);
    let before = m.0.to_string();
    assert!(!m.run("fuse_linear_bias", s), "{before}");
    // A constant by row, not by unit.
    let mut m = Model::default();
    let (_, h) = layer(&mut m);
    let b = m.ones("b", &[4, 1]);
    let y = m.add("out", Add, &[h, b]);
    m.untouched("fuse_linear_bias", y);
    // A layer that has a bias.
    let mut m = Model::default();
    let x = m.input("x", &[4, 3]);
    let (w, bias, b) = (m.ones("w", &[2, 3]), m.ones("bias", &[2]), m.ones("b", &[2]));
    let h = m.add("h", LINEAR, &[x, w, bias]);
    let y = m.add("out", Add, &[h, b]);
    m.untouched("fuse_linear_bias", y);
    // An addend that is not constant.
    let mut m = Model::default();
    let (_, h) = layer(&mut m);
    let b = m.input("b", &[2]);
    let y = m.add("out", Add, &[h, b]);
    m.untouched("fuse_linear_bias", y);
}

/// Scale 2, shift 1, mean 3, variance 4 of every channel: `y = x - 2` with epsilon 0.
fn batch_norm(m: &mut Model, name: &str, x: Value, channels: usize) -> Value {
    let mut inputs = vec![x];
    for (what, value) in [("scale", 2.0), ("shift", 1.0), ("mean", 3.0), ("var", 4.0)] {
        inputs.push(m.constant(what, &[channels], &vec![value; channels]));
    }
    m.add(name, BatchNorm { epsilon: 0.0 }, &inputs)
}

#[test]
fn fold_batch_norm_into_the_layer_before_it() {
    let mut m = Model::default();
    let x = m.input("x", &[1, 3, 5]);
    let w = m.constant("w", &[2, 3, 1], &[7.0; 6]);
    let b = m.constant("b", &[2], &[5.0, 6.0]);
    let h = m.add("h", conv(), &[x, w, b]);
    let y = batch_norm(&mut m, "y", h, 2);
    let graph = m.after("fold_batch_norm", y);
    assert_snapshot!(graph, @r"
    graph (x: f32[1,3,5]) -> (y) {
      y = Conv(x, #y.weight: f32[2,3,1], #y.bias: f32[2]) kernel=[1] strides=[1] : f32[1,2,5]   // from h, y
    }
    ");
    assert_eq!(constants(&graph, "y"), [vec![7.0; 6], vec![3.0, 4.0]]);
}

#[test]
fn fold_batch_norm_into_the_transposed_convolution_before_it() {
    let mut m = Model::default();
    let x = m.input("x", &[1, 4, 5]);
    // Two groups of two channels, each of which makes one of the two results.
    let w = m.constant("w", &[4, 1, 1], &[1.0, 2.0, 3.0, 4.0]);
    let geometry = ConvGeometry { groups: 2, ..conv().geometry };
    let h = m.add("h", ConvTranspose { geometry, to: vec![Dim::known(5)] }, &[x, w]);
    let mut inputs = vec![h];
    for (what, values) in
        [("scale", [2.0, 3.0]), ("shift", [1.0, 0.0]), ("mean", [3.0, 1.0]), ("var", [4.0, 1.0])]
    {
        inputs.push(m.constant(what, &[2], &values));
    }
    let y = m.add("y", BatchNorm { epsilon: 0.0 }, &inputs);
    let graph = m.after("fold_batch_norm", y);
    assert_eq!(constants(&graph, "y"), [vec![1.0, 2.0, 9.0, 12.0], vec![-2.0, -3.0]]);
}

#[test]
fn fold_batch_norm_leaves_alone() {
    // Before a layer, it normalises what the layer reads.
    let mut m = Model::default();
    let x = m.input("x", &[1, 3, 5]);
    let n = batch_norm(&mut m, "n", x, 3);
    let w = m.ones("w", &[2, 3, 1]);
    let y = m.add("out", conv(), &[n, w]);
    m.untouched("fold_batch_norm", y);
    // An activation stands between.
    let mut m = Model::default();
    let (_, h) = layer(&mut m);
    let relu = m.unary("relu", Unary::Relu, h);
    let y = batch_norm(&mut m, "out", relu, 2);
    m.untouched("fold_batch_norm", y);
    // The units of a layer on three axes are on the last one, not on axis 1.
    let mut m = Model::default();
    let x = m.input("x", &[4, 2, 3]);
    let w = m.ones("w", &[2, 3]);
    let h = m.add("h", LINEAR, &[x, w]);
    let y = batch_norm(&mut m, "out", h, 2);
    m.untouched("fold_batch_norm", y);
    // Somebody else reads the layer.
    let mut m = Model::default();
    let (_, h) = layer(&mut m);
    let n = batch_norm(&mut m, "n", h, 2);
    let y = m.add("out", Add, &[n, h]);
    m.untouched("fold_batch_norm", y);
}

#[test]
fn fold_affine_scales_weight_and_bias_and_adds_the_shift() {
    let mut m = Model::default();
    let (x, w, b) = (m.input("x", &[4, 3]), m.ones("w", &[2, 3]), m.constant("b", &[2], &[5.0, 6.0]));
    let h = m.add("h", LINEAR, &[x, w, b]);
    let scale = m.constant("scale", &[2], &[2.0, -3.0]);
    let scaled = m.add("scaled", Mul, &[scale, h]);
    let shift = m.constant("shift", &[1], &[0.5]);
    let y = m.add("y", Add, &[scaled, shift]);
    let graph = m.after("fold_affine", y);
    assert_snapshot!(graph, @r"
    graph (x: f32[4,3]) -> (y) {
      y = Linear(x, #y.weight: f32[2,3], #y.bias: f32[2]) w=[out,in] : f32[4,2]   // from h, scaled, y
    }
    ");
    assert_eq!(constants(&graph, "y"), [vec![2.0, 2.0, 2.0, -3.0, -3.0, -3.0], vec![10.5, -17.5]]);
}

#[test]
fn fold_affine_leaves_alone() {
    // A scale before the layer.
    let mut m = Model::default();
    let (x, w, s) = (m.input("x", &[4, 3]), m.ones("w", &[2, 3]), m.ones("s", &[3]));
    let h = m.add("h", Mul, &[x, s]);
    let y = m.add("out", LINEAR, &[h, w]);
    m.untouched("fold_affine", y);
    // A scale by row.
    let mut m = Model::default();
    let (_, h) = layer(&mut m);
    let s = m.ones("s", &[4, 1]);
    let y = m.add("out", Mul, &[h, s]);
    m.untouched("fold_affine", y);
    // A scale that makes the result larger.
    let mut m = Model::default();
    let (_, h) = layer(&mut m);
    let s = m.ones("s", &[7, 1, 2]);
    let y = m.add("out", Mul, &[h, s]);
    m.untouched("fold_affine", y);
    // A scale that is not constant.
    let mut m = Model::default();
    let (_, h) = layer(&mut m);
    let s = m.input("s", &[2]);
    let y = m.add("out", Mul, &[h, s]);
    m.untouched("fold_affine", y);
}

#[test]
fn recover_silu_from_a_product_with_its_own_sigmoid() {
    for swapped in [false, true] {
        let mut m = Model::default();
        let x = m.input("x", &[4, 3]);
        let s = m.unary("s", Unary::Sigmoid, x);
        let y = m.add("y", Mul, &if swapped { [s, x] } else { [x, s] });
        allow_duplicates! {
        assert_snapshot!(m.after("recover_silu", y), @r"
        graph (x: f32[4,3]) -> (y) {
          y = Silu(x) alpha=1.0 : f32[4,3]   // from s, y
        }
        ");
        }
    }
}

#[test]
fn recover_silu_with_a_factor_is_the_quick_gelu() {
    let mut m = Model::default();
    let x = m.input("x", &[4, 3]);
    let alpha = m.constant("alpha", &[], &[1.75]);
    let a = m.add("a", Mul, &[x, alpha]);
    let s = m.unary("s", Unary::Sigmoid, a);
    let y = m.add("y", Mul, &[x, s]);
    assert_snapshot!(m.after("recover_silu", y), @r"
    graph (x: f32[4,3]) -> (y) {
      y = Silu(x) alpha=1.75 : f32[4,3]   // from a, s, y
    }
    ");
}

#[test]
fn recover_silu_leaves_alone() {
    // Another value's sigmoid is a gate.
    let mut m = Model::default();
    let (x, z) = (m.input("x", &[4, 3]), m.input("z", &[4, 3]));
    let s = m.unary("s", Unary::Sigmoid, z);
    let y = m.add("out", Mul, &[x, s]);
    m.untouched("recover_silu", y);
    // Another function.
    let mut m = Model::default();
    let x = m.input("x", &[4, 3]);
    let s = m.unary("s", Unary::Tanh, x);
    let y = m.add("out", Mul, &[x, s]);
    m.untouched("recover_silu", y);
    // A sigmoid that somebody else reads.
    let mut m = Model::default();
    let x = m.input("x", &[4, 3]);
    let s = m.unary("s", Unary::Sigmoid, x);
    let p = m.add("p", Mul, &[x, s]);
    let y = m.add("out", Add, &[p, s]);
    m.untouched("recover_silu", y);
    // A factor per column.
    let mut m = Model::default();
    let (x, alpha) = (m.input("x", &[4, 3]), m.ones("alpha", &[3]));
    let a = m.add("a", Mul, &[x, alpha]);
    let s = m.unary("s", Unary::Sigmoid, a);
    let y = m.add("out", Mul, &[x, s]);
    m.untouched("recover_silu", y);
}

/// `x · ½ · (1 + erf(x / root))`, with ½ on x, on the sum, or at the end.
fn gelu(m: &mut Model, root: f32, addend: f32, half: usize) -> Value {
    let x = m.input("x", &[4, 3]);
    let (root, addend) = (m.constant("root", &[], &[root]), m.constant("one", &[], &[addend]));
    let factor = m.constant("half", &[], &[0.5]);
    let u = m.add("u", Div, &[x, root]);
    let e = m.unary("e", Unary::Erf, u);
    let s = m.add("sum", Add, &[e, addend]);
    match half {
        0 => {
            let left = m.add("left", Mul, &[x, factor]);
            m.add("out", Mul, &[left, s])
        }
        1 => {
            let right = m.add("right", Mul, &[s, factor]);
            m.add("out", Mul, &[x, right])
        }
        _ => {
            let product = m.add("product", Mul, &[x, s]);
            m.add("out", Mul, &[product, factor])
        }
    }
}

#[test]
fn recover_gelu_in_any_order_of_its_factors() {
    for half in 0..3 {
        let mut m = Model::default();
        let y = gelu(&mut m, std::f32::consts::SQRT_2, 1.0, half);
        let mut graph = m.after("recover_gelu", y);
        graph.remove_unused();
        let activations: Vec<_> = graph.nodes().map(|id| graph.op(id).title()).collect();
        assert_eq!(activations, ["Input", "Gelu"], "{graph}");
    }
    let mut m = Model::default();
    let y = gelu(&mut m, std::f32::consts::SQRT_2, 1.0, 1);
    assert_snapshot!(m.after("recover_gelu", y), @r"
    graph (x: f32[4,3]) -> (y = out) {
      u = Div(x, #root: f32[]) : f32[4,3]
      out = Gelu(x) tanh=false : f32[4,3]   // from e, sum, right, out
    }
    ");
}

#[test]
fn recover_gelu_leaves_alone() {
    for (root, addend) in [(1.5, 1.0), (std::f32::consts::SQRT_2, 1.25)] {
        let mut m = Model::default();
        let y = gelu(&mut m, root, addend, 1);
        m.untouched("recover_gelu", y);
    }
    // The error function somebody else reads.
    let mut m = Model::default();
    let p = gelu(&mut m, std::f32::consts::SQRT_2, 1.0, 1);
    let e = m.0.find("e").expect("the error function");
    let y = m.add("more", Add, &[p, e]);
    m.untouched("recover_gelu", y);
}

#[test]
fn remove_unused_keeps_inputs_and_what_outputs_need() {
    let mut m = Model::default();
    let x = m.input("x", &[4, 3]);
    m.input("idle", &[2]);
    let y = m.unary("y", Unary::Relu, x);
    let c = m.ones("c", &[3]);
    let dead = m.add("dead", Mul, &[y, c]);
    m.unary("deader", Unary::Tanh, dead);
    assert_snapshot!(m.after("remove_unused", y), @r"
    graph (x: f32[4,3], idle: f32[2]) -> (y) {
      y = Relu(x) : f32[4,3]
    }
    ");
}

#[test]
fn remove_unused_leaves_alone() {
    let mut m = Model::default();
    let x = m.input("x", &[4, 3]);
    let y = m.unary("out", Unary::Relu, x);
    m.untouched("remove_unused", y);
}

/// `x / √(mean(x²) + ε)` with its pieces in `m`.
fn rms(m: &mut Model, x: Value, shift: f32) -> (Value, Value) {
    let (two, epsilon) = (m.constant("two", &[], &[2.0]), m.constant("epsilon", &[], &[shift]));
    let square = m.add("square", Arithmetic { f: Binary::Pow }, &[x, two]);
    let mean = m.add("mean", Reduce { kind: ReduceKind::Mean, axes: vec![1], keep: true }, &[square]);
    let sum = m.add("sum", Add, &[mean, epsilon]);
    let std = m.unary("std", Unary::Sqrt, sum);
    (std, m.add("quotient", Div, &[x, std]))
}

#[test]
fn recover_norm_by_the_root_mean_square() {
    let mut m = Model::default();
    let (x, weight) = (m.input("x", &[4, 3]), m.ones("weight", &[3]));
    let (_, quotient) = rms(&mut m, x, 1e-6);
    let y = m.add("y", Mul, &[weight, quotient]);
    assert_snapshot!(m.after("recover_norm", y), @r"
    graph (x: f32[4,3]) -> (y) {
      square = Pow(x, #two: f32[]) : f32[4,3]
      mean = ReduceMean(square) axes=[1] keep=true : f32[4,1]
      sum = Add(mean, #epsilon: f32[]) : f32[4,1]
      std = Sqrt(sum) : f32[4,1]
      quotient = Div(x, std) : f32[4,3]
      y = LayerNorm(x, #weight: f32[3]) axes=[1] epsilon=1e-6 rms : f32[4,3]   // from std, quotient, sum, mean, square, y
    }
    ");
}

#[test]
fn recover_norm_of_a_layer() {
    let mut m = Model::default();
    let (x, weight, bias) = (m.input("x", &[4, 3]), m.ones("weight", &[3]), m.ones("bias", &[3]));
    let mean = m.add("centre", Reduce { kind: ReduceKind::Mean, axes: vec![1], keep: true }, &[x]);
    let centred = m.add("centred", Sub, &[x, mean]);
    let (_, quotient) = rms(&mut m, centred, 1e-5);
    let scaled = m.add("scaled", Mul, &[quotient, weight]);
    let y = m.add("y", Add, &[scaled, bias]);
    assert_snapshot!(m.after("recover_norm", y), @r"
    graph (x: f32[4,3]) -> (y) {
      centre = ReduceMean(x) axes=[1] keep=true : f32[4,1]
      centred = Sub(x, centre) : f32[4,3]
      square = Pow(centred, #two: f32[]) : f32[4,3]
      mean = ReduceMean(square) axes=[1] keep=true : f32[4,1]
      sum = Add(mean, #epsilon: f32[]) : f32[4,1]
      std = Sqrt(sum) : f32[4,1]
      quotient = Div(centred, std) : f32[4,3]
      scaled = Mul(quotient, #weight: f32[3]) : f32[4,3]
      y = LayerNorm(x, #weight: f32[3], #bias: f32[3]) axes=[1] epsilon=1e-5 : f32[4,3]   // from std, quotient, sum, mean, square, centred, scaled, y
    }
    ");
}

#[test]
fn recover_norm_leaves_alone() {
    // Nothing is divided.
    let mut m = Model::default();
    let x = m.input("x", &[4, 3]);
    let (std, _) = rms(&mut m, x, 1e-6);
    let y = m.add("out", Mul, &[x, std]);
    let quotient = m.0.find("quotient").expect("the quotient");
    m.0.remove(quotient.node);
    m.untouched("recover_norm", y);
    // Another value is divided.
    let mut m = Model::default();
    let (x, z) = (m.input("x", &[4, 3]), m.input("z", &[4, 3]));
    let (std, quotient) = rms(&mut m, x, 1e-6);
    m.0.remove(quotient.node);
    let y = m.add("out", Div, &[z, std]);
    m.untouched("recover_norm", y);
    // An addend that is too large for an epsilon.
    let mut m = Model::default();
    let x = m.input("x", &[4, 3]);
    let (_, y) = rms(&mut m, x, 1.0);
    m.untouched("recover_norm", y);
}

#[test]
fn recover_gelu_by_the_tanh_formula() {
    let mut m = Model::default();
    let x = m.input("x", &[4, 3]);
    let scalar = |m: &mut Model, name: &str, v: f64| m.constant(name, &[], &[v as f32]);
    let (three, k) = (scalar(&mut m, "three", 3.0), scalar(&mut m, "k", 0.044_715));
    let (root, unit) =
        (scalar(&mut m, "root", (2.0 / std::f64::consts::PI).sqrt()), scalar(&mut m, "one", 1.0));
    let half = scalar(&mut m, "half", 0.5);
    let cube = m.add("cube", Arithmetic { f: Binary::Pow }, &[x, three]);
    let small = m.add("small", Mul, &[cube, k]);
    let sum = m.add("sum", Add, &[x, small]);
    let scaled = m.add("scaled", Mul, &[sum, root]);
    let tanh = m.unary("tanh", Unary::Tanh, scaled);
    let plus = m.add("plus", Add, &[tanh, unit]);
    let left = m.add("left", Mul, &[x, half]);
    let y = m.add("y", Mul, &[left, plus]);
    assert_snapshot!(m.after("recover_gelu", y), @r"
    graph (x: f32[4,3]) -> (y) {
      cube = Pow(x, #three: f32[]) : f32[4,3]
      small = Mul(cube, #k: f32[]) : f32[4,3]
      sum = Add(x, small) : f32[4,3]
      scaled = Mul(sum, #root: f32[]) : f32[4,3]
      left = Mul(x, #half: f32[]) : f32[4,3]
      y = Gelu(x) tanh=true : f32[4,3]   // from tanh, plus, y
    }
    ");
}

/// Queries, keys and values, and the keys transposed.
fn operands(m: &mut Model) -> [Value; 4] {
    let (q, k, v) = (m.input("q", &[2, 3, 4]), m.input("k", &[2, 5, 4]), m.input("v", &[2, 5, 6]));
    let turned = m.add("turned", Transpose { perm: vec![0, 2, 1] }, &[k]);
    [q, k, v, turned]
}

const SOFTMAX: Softmax = Softmax { axis: 2, log: false };

#[test]
fn recover_attention_with_scale_and_mask() {
    let mut m = Model::default();
    let [q, _, v, turned] = operands(&mut m);
    let (scale, mask) = (m.constant("scale", &[], &[2.0]), m.constant("mask", &[1, 1, 5], &[0.0; 5]));
    let scores = m.add("scores", MatMul, &[q, turned]);
    let scaled = m.add("scaled", Div, &[scores, scale]);
    let masked = m.add("masked", Add, &[scaled, mask]);
    let weights = m.add("weights", SOFTMAX, &[masked]);
    let y = m.add("y", MatMul, &[weights, v]);
    assert_snapshot!(m.after("recover_attention", y), @r"
    graph (q: f32[2,3,4], k: f32[2,5,4], v: f32[2,5,6]) -> (y) {
      turned = Transpose(k) perm=[0, 2, 1] : f32[2,4,5]
      scores = MatMul(q, turned) : f32[2,3,5]
      scaled = Div(scores, #scale: f32[]) : f32[2,3,5]
      masked = Add(scaled, #mask: f32[1,1,5]) : f32[2,3,5]
      weights = Softmax(masked) axis=2 : f32[2,3,5]
      y = Attention(q, k, v, #mask: f32[1,1,5]) scale=0.5 : f32[2,3,6]   // from scores, scaled, masked, weights, y
    }
    ");
}

#[test]
fn recover_attention_with_a_chosen_mask_and_scaled_operands() {
    let mut m = Model::default();
    let [q, _, v, turned] = operands(&mut m);
    let root = m.constant("root", &[], &[0.5]);
    let (low, zero) = (m.constant("low", &[], &[f32::NEG_INFINITY]), m.constant("zero", &[], &[0.0]));
    let limit = m.constant("limit", &[3, 5], &[0.0; 15]);
    let keep = m.add("keep", Compare { f: Some(Binary::Less), swap: false }, &[limit, root]);
    let (left, right) = (m.add("left", Mul, &[q, root]), m.add("right", Mul, &[turned, root]));
    let scores = m.add("scores", MatMul, &[left, right]);
    let masked = m.add("masked", Select, &[keep, scores, low]);
    let plain = m.add("plain", SOFTMAX, &[masked]);
    let same = m.add("same", Compare { f: Some(Binary::Equal), swap: false }, &[plain, plain]);
    let nan = m.add("nan", Compare { f: None, swap: false }, &[same]);
    let weights = m.add("weights", Select, &[nan, zero, plain]);
    let y = m.add("y", MatMul, &[weights, v]);
    assert_snapshot!(m.after("recover_attention", y), @r"
    graph (q: f32[2,3,4], k: f32[2,5,4], v: f32[2,5,6]) -> (y) {
      turned = Transpose(k) perm=[0, 2, 1] : f32[2,4,5]
      keep = Less(#limit: f32[3,5], #root: f32[]) : bool[3,5]
      left = Mul(q, #root: f32[]) : f32[2,3,4]
      right = Mul(turned, #root: f32[]) : f32[2,4,5]
      scores = MatMul(left, right) : f32[2,3,5]
      masked = Select(keep, scores, #low: f32[]) : f32[2,3,5]
      plain = Softmax(masked) axis=2 : f32[2,3,5]
      same = Equal(plain, plain) : bool[2,3,5]
      nan = Not(same) : bool[2,3,5]
      weights = Select(nan, #zero: f32[], plain) : f32[2,3,5]
      plain.mask = Select(keep, #plain.zero: f32[], #low: f32[]) : f32[3,5]
      y = Attention(q, k, v, plain.mask) scale=0.25 guard : f32[2,3,6]   // from scores, masked, plain, weights, y
    }
    ");
}

#[test]
fn recover_attention_leaves_alone() {
    // A mask that carries relevance.
    let mut m = Model::default();
    let [q, _, v, turned] = operands(&mut m);
    let bias = m.input("bias", &[2, 3, 5]);
    let scores = m.add("scores", MatMul, &[q, turned]);
    let masked = m.add("masked", Add, &[scores, bias]);
    let weights = m.add("weights", SOFTMAX, &[masked]);
    let y = m.add("out", MatMul, &[weights, v]);
    m.untouched("recover_attention", y);
    // A function of the scores.
    let mut m = Model::default();
    let [q, _, v, turned] = operands(&mut m);
    let scores = m.add("scores", MatMul, &[q, turned]);
    let capped = m.unary("capped", Unary::Tanh, scores);
    let weights = m.add("weights", SOFTMAX, &[capped]);
    let y = m.add("out", MatMul, &[weights, v]);
    m.untouched("recover_attention", y);
    // A softmax over the queries.
    let mut m = Model::default();
    let [q, _, v, turned] = operands(&mut m);
    let scores = m.add("scores", MatMul, &[q, turned]);
    let weights = m.add("weights", Softmax { axis: 1, log: false }, &[scores]);
    let y = m.add("out", MatMul, &[weights, v]);
    m.untouched("recover_attention", y);
}

#[test]
fn recover_softmax_drops_the_maximum() {
    let max = |axes: Vec<usize>| Reduce { kind: ReduceKind::Max, axes, keep: true };
    let mut m = Model::default();
    let x = m.input("x", &[2, 5]);
    let top = m.add("top", max(vec![1]), &[x]);
    let less = m.add("less", Sub, &[x, top]);
    let y = m.add("y", Softmax { axis: 1, log: false }, &[less]);
    let mut graph = m.after("recover_softmax", y);
    graph.remove_unused();
    assert_snapshot!(graph, @r"
    graph (x: f32[2,5]) -> (y) {
      y = Softmax(x) axis=1 : f32[2,5]   // from less, y
    }
    ");

    // The maximum of another axis varies along this one.
    let mut m = Model::default();
    let x = m.input("x", &[2, 5]);
    let top = m.add("top", max(vec![0]), &[x]);
    let less = m.add("less", Sub, &[x, top]);
    let y = m.add("y", Softmax { axis: 1, log: false }, &[less]);
    m.untouched("recover_softmax", y);
}

/// A layer of one unit `z` and its probability `p`.
fn one_unit(m: &mut Model) -> (Value, Value) {
    let x = m.input("x", &[4, 3]);
    let (w, b) = (m.constant("w", &[3, 1], &[1.0, 2.0, -3.0]), m.constant("b", &[1], &[0.5]));
    let z = m.add("z", Linear { transposed: false }, &[x, w, b]);
    (z, m.unary("p", Unary::Sigmoid, z))
}

#[test]
fn split_two_classes_gives_each_class_a_unit() {
    for swapped in [false, true] {
        let mut m = Model::default();
        let (_, p) = one_unit(&mut m);
        let unit = m.constant("one", &[], &[1.0]);
        let q = m.add("q", Sub, &[unit, p]);
        let y = m.add("y", Concat { axis: 1 }, &if swapped { [p, q] } else { [q, p] });
        let mut graph = m.after("split_two_classes", y);
        graph.remove_unused();
        if !swapped {
            assert_snapshot!(graph, @r"
            graph (x: f32[4,3]) -> (y) {
              z.classes = Linear(x, #z.weight: f32[3,2], #z.bias: f32[2]) : f32[4,2]
              y = Sigmoid(z.classes) : f32[4,2]   // from y, q, p
            }
            ");
        }
        let sign = if swapped { -1.0 } else { 1.0 };
        let weight = [-1.0, 1.0, -2.0, 2.0, 3.0, -3.0].map(|v| v * sign);
        assert_eq!(constants(&graph, "z.classes"), [weight.to_vec(), vec![-0.5 * sign, 0.5 * sign]]);
    }
}

#[test]
fn split_two_classes_knows_softmax_over_multiples_of_a_unit() {
    // Softmax over [0, z], [z, 0], [-z/2, z/2] and [z, -z].
    for (factors, expected) in
        [([0.0, 1.0], 1.0), ([1.0, 0.0], -1.0), ([-0.5, 0.5], 1.0), ([1.0, -1.0], -2.0)]
    {
        let mut m = Model::default();
        let (z, _) = one_unit(&mut m);
        let columns = factors.map(|factor| match factor {
            0.0 => m.constant("zeros", &[4, 1], &[0.0; 4]),
            1.0 => z,
            _ => {
                let factor = m.constant("factor", &[1], &[factor]);
                m.add("scaled", Mul, &[z, factor])
            }
        });
        let both = m.add("both", Concat { axis: 1 }, &columns);
        let y = m.add("y", Softmax { axis: 1, log: false }, &[both]);
        let graph = m.after("split_two_classes", y);
        assert_eq!(constants(&graph, "z.classes")[1], [-0.5 * expected, 0.5 * expected], "{factors:?}");
    }
}

#[test]
fn split_two_classes_of_what_no_layer_makes_is_a_linear_map() {
    let mut m = Model::default();
    let (a, b) = (m.input("a", &[4]), m.input("b", &[4]));
    let z = m.add("z", Add, &[a, b]);
    let p = m.unary("p", Unary::Sigmoid, z);
    let p = m.add("column", Reshape { to: Shape(vec![Dim::known(4), Dim::known(1)]) }, &[p]);
    let unit = m.constant("one", &[1], &[1.0]);
    let q = m.add("q", Sub, &[unit, p]);
    let y = m.add("y", Concat { axis: 1 }, &[q, p]);
    let graph = m.after("split_two_classes", y);
    assert_eq!(constants(&graph, "z.classes"), [[-1.0, 1.0]]);
}

#[test]
fn split_two_classes_leaves_alone() {
    // Probabilities of two units.
    let mut m = Model::default();
    let (_, p) = one_unit(&mut m);
    let (other, unit) = (m.input("other", &[4, 1]), m.constant("one", &[], &[1.0]));
    let r = m.unary("r", Unary::Sigmoid, other);
    let q = m.add("q", Sub, &[unit, r]);
    let y = m.add("y", Concat { axis: 1 }, &[q, p]);
    m.untouched("split_two_classes", y);
    // The same twice, and what is left of 2.
    for rest in [None, Some(2.0)] {
        let mut m = Model::default();
        let (_, p) = one_unit(&mut m);
        let q = match rest {
            None => p,
            Some(rest) => {
                let rest = m.constant("rest", &[], &[rest]);
                m.add("q", Sub, &[rest, p])
            }
        };
        let y = m.add("y", Concat { axis: 1 }, &[q, p]);
        m.untouched("split_two_classes", y);
    }
    // A softmax of two logits.
    let mut m = Model::default();
    let (_, h) = layer(&mut m);
    let y = m.add("y", Softmax { axis: 1, log: false }, &[h]);
    m.untouched("split_two_classes", y);
}
