//! Patterns of TensorFlow and JAX: embeddings by one-hot rows, norms by moments, softmax in pieces.

use dlbc_ops::graph::Value;
use dlbc_ops::op::{
    Add, Cast, Compare, Div, Expand, Extremum, Linear, Mul, Reduce, ReduceKind, Reshape, Sub,
};
use dlbc_ops::prim::{Binary, Unary};
use dlbc_ops::tensor::{DType, Dim, Shape, Tensor};
use insta::assert_snapshot;

use crate::model::Model;

fn shape(dims: &[i64]) -> Shape {
    dims.iter().map(|d| Dim::known(*d)).collect()
}

fn one_hot(m: &mut Model, counted: &[i64]) -> Value {
    let ids = m.ids("ids", &[4, 1]);
    let wide = m.add("wide", Expand { to: shape(&[4, 3]) }, &[ids]);
    let scale = m.tensor("scale", Tensor::from_i64(&[1, 3], counted));
    let equal = m.add("equal", Compare { f: Some(Binary::Equal), swap: false }, &[wide, scale]);
    m.add("hot", Cast { to: DType::F32 }, &[equal])
}

#[test]
fn recover_embedding() {
    let mut m = Model::default();
    let hot = one_hot(&mut m, &[0, 1, 2]);
    let table = m.ones("table", &[3, 5]);
    let y = m.add("y", Linear { transposed: false }, &[hot, table]);
    let mut graph = m.after("recover_embedding", y);
    graph.remove_unused();
    assert_snapshot!(graph, @r"
    graph (ids: i64[4,1]) -> (y) {
      hot/ids = Reshape(ids) to=[4] : i64[4]
      y = Gather(#table: f32[3,5], hot/ids) axis=0 : f32[4,5]   // from hot, y
    }
    ");
}

#[test]
fn recover_embedding_leaves_alone() {
    // Rows that are not counted from 0.
    let mut m = Model::default();
    let hot = one_hot(&mut m, &[1, 2, 3]);
    let table = m.ones("table", &[3, 5]);
    let y = m.add("out", Linear { transposed: false }, &[hot, table]);
    m.untouched("recover_embedding", y);
}

/// `upper` bounds the variance from below.
fn by_moments(m: &mut Model, count: f32) -> Value {
    let x = m.input("x", &[2, 4]);
    let (count, zero) = (m.constant("count", &[], &[1.0 / count]), m.constant("zero", &[], &[0.0]));
    let sum = |m: &mut Model, name: &str, x| {
        m.add(name, Reduce { kind: ReduceKind::Sum, axes: vec![1], keep: false }, &[x])
    };
    let s = sum(m, "s", x);
    let mean = m.add("mean", Mul, &[s, count]);
    let xx = m.add("xx", Mul, &[x, x]);
    let ss = sum(m, "ss", xx);
    let power = m.add("power", Mul, &[ss, count]);
    let square = m.add("square", Mul, &[mean, mean]);
    let difference = m.add("difference", Sub, &[power, square]);
    let variance = m.add("variance", Extremum { max: true }, &[zero, difference]);
    let variance = m.add("kept", Reshape { to: shape(&[2, 1]) }, &[variance]);
    let epsilon = m.constant("epsilon", &[], &[1e-6]);
    let shifted = m.add("shifted", Add, &[variance, epsilon]);
    let std = m.unary("std", Unary::Sqrt, shifted);
    let inverse = m.unary("inverse", Unary::Reciprocal, std);
    let gamma = m.ones("gamma", &[1, 4]);
    let factor = m.add("factor", Mul, &[inverse, gamma]);
    let mean = m.add("mean_kept", Reshape { to: shape(&[2, 1]) }, &[mean]);
    let centred = m.add("centred", Sub, &[x, mean]);
    let y = m.add("product", Mul, &[centred, factor]);
    let beta = m.ones("beta", &[4]);
    m.add("y", Add, &[y, beta])
}

#[test]
fn recover_moment_norm() {
    let mut m = Model::default();
    let y = by_moments(&mut m, 4.0);
    let mut graph = m.after("recover_moment_norm", y);
    graph.remove_unused();
    assert_snapshot!(graph, @r"
    graph (x: f32[2,4]) -> (y) {
      y = LayerNorm(x, #gamma: f32[1,4], #beta: f32[4]) axes=[1] epsilon=1e-6 : f32[2,4]   // from difference, std, inverse, factor, centred, product, y
    }
    ");
}

#[test]
fn recover_moment_norm_leaves_alone() {
    // No mean: another number of elements.
    let mut m = Model::default();
    let y = by_moments(&mut m, 3.0);
    m.untouched("recover_moment_norm", y);
}

fn softmax(m: &mut Model, over: usize) -> Value {
    let x = m.input("x", &[2, 4]);
    let maximum = m.add("maximum", Reduce { kind: ReduceKind::Max, axes: vec![1], keep: true }, &[x]);
    let rest = m.add("rest", Sub, &[x, maximum]);
    let e = m.unary("e", Unary::Exp, rest);
    let sum = m.add("sum", Reduce { kind: ReduceKind::Sum, axes: vec![over], keep: true }, &[e]);
    m.add("y", Div, &[e, sum])
}

#[test]
fn recover_softmax() {
    let mut m = Model::default();
    let y = softmax(&mut m, 1);
    let mut graph = m.after("recover_softmax", y);
    graph.remove_unused();
    assert_snapshot!(graph, @r"
    graph (x: f32[2,4]) -> (y) {
      y = Softmax(x) axis=1 : f32[2,4]   // from e, sum, y
    }
    ");
}

#[test]
fn recover_softmax_of_another_axis_keeps_the_difference() {
    let mut m = Model::default();
    let y = softmax(&mut m, 0);
    let mut graph = m.after("recover_softmax", y);
    graph.remove_unused();
    // The maximum over another axis does not cancel.
    assert_snapshot!(graph, @r"
    graph (x: f32[2,4]) -> (y) {
      maximum = ReduceMax(x) axes=[1] keep=true : f32[2,1]
      rest = Sub(x, maximum) : f32[2,4]
      y = Softmax(rest) axis=0 : f32[2,4]   // from e, sum, y
    }
    ");
}
