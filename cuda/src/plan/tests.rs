//! Memory, launches and kernels of plans.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::prim::{
    self, AttentionGeometry, AttentionPart, Binary, Builder, Factor, Prim, Reduction, Scan, Transform, Unary,
};
use dlbc_ops::program::{Output, SEED, TrackKind};
use dlbc_ops::tensor::{DType, Dim, Shape, Tensor, TensorType};
use dlbc_ptx::Kernel;
use dlbc_ptx::library::library;

use super::{Lowered, StagePlan, lower};
use crate::expand::expand;
use crate::memory::assign_offsets;
use crate::storages::Storages;
use dlbc_backend::Precision;

fn input(b: &mut Builder, name: &str, dims: &[usize]) -> Value {
    let shape: Shape = dims.iter().map(|d| Dim::known(*d as i64)).collect();
    b.input(name, TensorType::new(DType::F32, shape))
}

/// Builds an attention over `tokens` and all outputs of its rule.
fn attention(tokens: usize) -> Graph<Prim> {
    let geometry = AttentionGeometry { scale: 0.125, guard: true };
    let mut b = Builder::new();
    let dims = [2, 4, tokens, 64];
    let [q, k, v] = ["q", "k", "v"].map(|name| input(&mut b, name, &dims));
    let mask = input(&mut b, "mask", &[2, 1, 1, tokens]);
    let r = input(&mut b, SEED, &dims);
    let y = b.add(prim::Attention(geometry), &[q, k, v, mask]);
    b.graph_mut().add_output("y", y);
    for part in [AttentionPart::Query, AttentionPart::Key, AttentionPart::Value, AttentionPart::Dropped] {
        let share = Prim::AttentionShare(prim::AttentionShare { geometry, value: 0.5, part });
        let relevance = b.add(share, &[q, k, v, r, mask]);
        b.graph_mut().add_output(Output::relevance(TrackKind::Single, format!("{part:?}")), relevance);
    }
    b.ok().unwrap();
    b.finish()
}

/// Lowers a program; also returns the size of its block of memory.
fn planned(graph: &Graph<Prim>) -> (Lowered, u64) {
    let graph = expand(graph).unwrap();
    let outputs = graph.outputs().iter().map(|(output, _)| output.clone());
    let (forward, reverse): (Vec<Output>, Vec<Output>) =
        outputs.partition(|output| matches!(output, Output::Model(_)));
    let lowered = lower(&graph, &forward, &reverse, Precision::Tf32x3, &Storages::default(), 1).unwrap();
    let intervals: Vec<_> = lowered.buffers.iter().map(|b| b.interval()).collect();
    let (_, total) = assign_offsets(&intervals);
    (lowered, total)
}

#[test]
fn memory_of_an_attention_grows_with_its_tokens_and_not_with_their_square() {
    let small = planned(&attention(64));
    let large = planned(&attention(512));
    println!("{} bytes for 64 tokens, {} for 512", small.1, large.1);
    assert!(large.1 <= 9 * small.1, "{} bytes for 64 tokens, {} for 512", small.1, large.1);
    let kernels: Vec<&str> = large.0.kernels.iter().map(|k| k.name.as_str()).collect();
    assert!(!kernels.iter().any(|k| k.starts_with("gemm") || k.starts_with("softmax")), "{kernels:?}");
    let scores = 4 * 2 * 4 * 512 * 512;
    assert!(large.0.buffers.iter().all(|b| b.bytes < scores), "a buffer has the size of the scores");
    // The kernels are those of the library, under other names.
    let body = |k: &Kernel| k.text.replace(&k.name, "");
    let library: HashSet<String> = library().iter().map(|e| body(&e.kernel)).collect();
    let tiled: Vec<&Kernel> = large.0.kernels.iter().filter(|k| k.name.starts_with("attention")).collect();
    assert_eq!(tiled.len(), 6);
    assert!(tiled.iter().all(|k| library.contains(&body(k))), "a kernel is not in the library");
}

/// Builds an attention from its pieces, and its derivatives.
fn pieces(tokens: usize) -> Graph<Prim> {
    let mut b = Builder::new();
    let dims = [2, tokens, 32];
    let [q, k, v] = ["q", "k", "v"].map(|name| input(&mut b, name, &dims));
    let r = input(&mut b, SEED, &dims);
    let scores = b.matmul(q, Factor::transposed(k));
    let scores = b.scale(scores, 0.25);
    let p = b.add(prim::Softmax { axis: 2 }, &[scores]);
    let y = b.matmul(p, v);
    b.graph_mut().add_output("y", y);
    let back = b.matmul(r, Factor::transposed(v));
    let flow = b.mul(back, p);
    let sum = b.reduce_keepdims(Reduction::Sum, flow, &[2]);
    let all = b.mul(p, sum);
    let derivative = b.minus(flow, all);
    for (name, relevance) in [
        ("q", b.matmul(derivative, k)),
        ("k", b.matmul(Factor::transposed(derivative), q)),
        ("v", b.matmul(Factor::transposed(p), r)),
        ("transposed", b.matmul(Factor::transposed(q), derivative)),
    ] {
        b.graph_mut().add_output(Output::relevance(TrackKind::Single, name), relevance);
    }
    b.ok().unwrap();
    b.finish()
}

#[test]
fn pieces_of_an_attention_and_their_derivatives_are_computed_tile_by_tile() {
    let ((small, low), (large, high)) = (planned(&pieces(64)), planned(&pieces(512)));
    assert!(high <= 9 * low, "{low} bytes for 64 tokens, {high} for 512");
    // Two of the five products stand side by side.
    assert_eq!(small.stages.map(|p| p.steps.len()), [0, 1, 4]);
    assert!(large.kernels.iter().all(|k| k.name.starts_with("attention")));
}

#[test]
fn scores_that_another_node_reads_are_stored() {
    let mut b = Builder::new();
    let [q, k] = ["q", "k"].map(|name| input(&mut b, name, &[64, 32]));
    let scores = b.matmul(q, Factor::transposed(k));
    let p = b.add(prim::Softmax { axis: 1 }, &[scores]);
    let y = b.matmul(p, k);
    b.graph_mut().add_output("y", y);
    b.graph_mut().add_output("p", p);
    b.ok().unwrap();
    let names: Vec<String> = planned(&b.finish()).0.kernels.into_iter().map(|k| k.name).collect();
    assert!(
        names.iter().any(|n| n == "softmax") && !names.iter().any(|n| n.starts_with("attention")),
        "{names:?}"
    );
}

/// Builds a recurrence over `steps` whose gates have separate weights, and a reversed one.
fn recurrence(steps: usize) -> Graph<Prim> {
    let mut b = Builder::new();
    let (h0, x) = (input(&mut b, "h", &[2, 8]), input(&mut b, "x", &[steps, 2, 8]));
    let weights: Vec<Value> =
        (0..3).map(|i| b.constant("w", Tensor::from_f32(&[8, 8], &[0.1 * i as f32; 64]))).collect();
    let scan = |reverse: bool| {
        let mut step = Builder::new();
        let (h, x) = (input(&mut step, "h", &[2, 8]), input(&mut step, "x", &[2, 8]));
        let mut next = x;
        for _ in 0..3 {
            let w = input(&mut step, "w", &[8, 8]);
            let gate = step.matmul(h, Factor::transposed(w));
            let sum = step.add(Prim::Binary(Binary::Add), &[next, gate]);
            next = step.add(Prim::Unary(Unary::Tanh), &[sum]);
        }
        step.graph_mut().add_output(Output::value("next"), next);
        Prim::Scan(Scan::from_step(step.finish(), 1, reverse).0)
    };
    let operands = |x: Value| [&[h0, x][..], &weights].concat();
    let y = b.add(scan(false), &operands(x));
    b.graph_mut().add_output("y", y);
    let seed = input(&mut b, SEED, &[steps, 2, 8]);
    let r = b.mul(y, seed);
    let back = b.add(scan(true), &operands(r));
    b.graph_mut().add_output(Output::relevance(TrackKind::Single, "x"), back);
    b.ok().unwrap();
    b.finish()
}

#[test]
fn plans_of_recurrences_do_not_grow_with_the_sequence() {
    let [short, long] = [5, 500].map(|steps| planned(&recurrence(steps)).0);
    for (a, b) in short.stages.iter().zip(&long.stages) {
        assert_eq!(a.steps.len(), b.steps.len());
        assert_eq!(a.loops.len(), b.loops.len());
    }
    assert_eq!((short.buffers.len(), short.kernels.len()), (long.buffers.len(), long.kernels.len()));
    assert_eq!(long.stages[1].loops[0].1, 500);
    // All gates share one product.
    let gemm = |stage: &StagePlan| {
        stage.steps.iter().filter(|s| long.kernels[s.kernel].name.starts_with("gemm")).count()
    };
    assert_eq!(long.stages.iter().map(gemm).collect::<Vec<_>>(), [0, 1, 1]);
}

#[test]
fn nodes_that_depend_on_sequences_only_are_computed_for_all_steps_at_once() {
    let mut b = Builder::new();
    let (h0, x) = (input(&mut b, "h", &[2, 8]), input(&mut b, "x", &[7, 2, 6]));
    let weights = [8, 6].map(|rows| b.constant("w", Tensor::from_f32(&[rows, 8], &vec![0.1; rows * 8])));
    let mut step = Builder::new();
    let (h, e) = (input(&mut step, "h", &[2, 8]), input(&mut step, "x", &[2, 6]));
    let [w, u] = [8, 6].map(|rows| input(&mut step, "w", &[rows, 8]));
    let input_term = step.matmul(e, Factor::transformed(u, Transform::Abs));
    let input_term = step.add(Prim::Unary(Unary::Tanh), &[input_term]);
    let state_term = step.matmul(h, w);
    let next = step.add(Prim::Binary(Binary::Add), &[input_term, state_term]);
    step.graph_mut().add_output(Output::value("next"), next);
    let y = b.add(Prim::Scan(Scan::from_step(step.finish(), 1, true).0), &[h0, x, weights[0], weights[1]]);
    b.graph_mut().add_output("y", y);
    b.ok().unwrap();
    let lowered = planned(&b.finish()).0;
    let stage = &lowered.stages[1];
    let inside = &stage.loops[0].0;
    let gemm = |s: &super::Step| lowered.kernels[s.kernel].name.starts_with("gemm");
    let both = [&stage.steps[..inside.start], &stage.steps[inside.clone()]];
    assert_eq!(both.map(|steps| steps.iter().filter(|s| gemm(s)).count()), [1, 1]);
    // Copies at the start and the end, and the product with its epilogue.
    assert_eq!(inside.len(), 3);
}
