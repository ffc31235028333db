//! A restricted program has the results of the whole one.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use dlbc_backend::{Backend, Outputs, ReferenceBackend, RunControl, SessionOptions, Views};
use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::prim::{self, Binary, Builder, Factor, Prim, Transform, Unary};
use dlbc_ops::program::{Output, SEED, TrackKind};
use dlbc_ops::tensor::{DType, Dim, Shape, Tensor, TensorType};

use super::{POSITIONS, Whole, restrict};

const POSITION_COUNT: usize = 5;
const FEATURES: usize = 4;
const UNITS: usize = 6;

fn shape(dims: &[usize]) -> Shape {
    dims.iter().map(|d| Dim::known(*d as i64)).collect()
}

fn numbers(dims: &[usize], from: usize) -> Tensor {
    let value = |i: usize| (((i + from) * 37 % 23) as f32 - 11.0) / 7.0;
    Tensor::from_f32(dims, &(0..dims.iter().product()).map(value).collect::<Vec<_>>())
}

/// Variants of a head.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Plain,
    /// The product is of `[batch · position, feature]`.
    Flat,
    /// The seed has a leading axis of two tracks.
    Tracks,
    /// A softmax follows the product, and relevance starts before it.
    Softmax,
}

/// Builds a model `tanh(x) · w + b` with a rule that passes relevance in proportion to `|tanh(x)| |w|`, and what follows the
/// head: a node that reads the relevance of the head beside the model's input.
fn model(batch: usize, form: Form) -> Graph<Prim> {
    let mut b = Builder::new();
    let dims = [batch, POSITION_COUNT, FEATURES];
    let logits = [batch, POSITION_COUNT, UNITS];
    let x = b.input("x", TensorType::known(DType::F32, &dims));
    let w = b.constant("w", numbers(&[FEATURES, UNITS], 3));
    let bias = b.constant("b", numbers(&[UNITS], 5));
    let h = b.add(Unary::Tanh, &[x]);
    let rows = match form {
        Form::Flat => b.reshape(h, &shape(&[batch * POSITION_COUNT, FEATURES])),
        _ => h,
    };
    let product = b.matmul(rows, w);
    let product = b.reshape(product, &shape(&logits));
    let z = b.binary(Binary::Add, product, bias);
    let y = if form == Form::Softmax { b.add(prim::Softmax { axis: 2 }, &[z]) } else { z };
    let reverse = |b: &mut Builder, seed: Value, track: TrackKind| {
        let size =
            b.matmul(Factor::transformed(rows, Transform::Abs), Factor::transformed(w, Transform::Abs));
        let size = b.reshape(size, &shape(&logits));
        let ratio = b.binary(Binary::GuardedDiv, seed, size);
        let back = b.matmul(ratio, Factor::transformed(w, Transform::Abs).transpose());
        let magnitude = b.add(Unary::Abs, &[h]);
        let r = b.binary(Binary::Mul, magnitude, back);
        let passed = b.total(r);
        let outer = b.binary(Binary::Mul, r, x);
        let ledger = Output::parse(
            &format!("{}0/out", if track == TrackKind::Opposing { "audit_neg/" } else { "audit/" }),
            mode(form),
        );
        let outputs = b.graph_mut();
        outputs.add_output(Output::relevance(track, "h"), r);
        outputs.add_output(Output::relevance(track, "x"), outer);
        outputs.add_output(Output::relevance(track, "y"), seed);
        outputs.add_output(ledger.unwrap(), passed);
    };
    if form == Form::Tracks {
        let seed = b.input(SEED, TensorType::known(DType::F32, &[2, batch, POSITION_COUNT, UNITS]));
        for (i, track) in [TrackKind::Supporting, TrackKind::Opposing].into_iter().enumerate() {
            let half = b.slice(seed, 0, &Dim::known(i as i64), &Dim::known(1));
            let half = b.reshape(half, &shape(&logits));
            reverse(&mut b, half, track);
        }
    } else {
        let seed = b.input(SEED, TensorType::known(DType::F32, &logits));
        reverse(&mut b, seed, TrackKind::Single);
    }
    b.graph_mut().add_output("y", y);
    b.graph_mut().add_output(Output::SeedValue, z);
    b.ok().unwrap();
    b.finish()
}

fn mode(form: Form) -> dlbc_ops::program::Mode {
    if form == Form::Tracks { dlbc_ops::program::Mode::Contrastive } else { dlbc_ops::program::Mode::Default }
}

fn run(graph: &Graph<Prim>, inputs: &BTreeMap<String, Tensor>, seed: &Tensor) -> Outputs {
    let (forward, reverse): (Vec<Output>, Vec<Output>) = graph
        .outputs()
        .iter()
        .map(|(output, _)| output.clone())
        .partition(|output| matches!(output, Output::Model(_) | Output::SeedValue));
    let plan = ReferenceBackend.prepare(graph, &forward, &reverse, &SessionOptions::default()).unwrap();
    let views: Views<'_> = inputs.iter().map(|(name, t)| (name.clone(), t.view())).collect();
    let control = RunControl { cancel: None, progress: None };
    let (mut results, saved) = plan.forward(&views, &control).unwrap();
    results.extend(plan.reverse(&views, saved, seed, &control).unwrap());
    results
}

#[test]
fn a_restricted_head_gives_the_same_relevance() {
    for form in [Form::Plain, Form::Flat, Form::Tracks, Form::Softmax] {
        for (batch, positions) in [(1, vec![4]), (1, vec![0]), (3, vec![2, 0, 4])] {
            let graph = model(batch, form);
            let lead: &[usize] = if form == Form::Tracks { &[2] } else { &[] };
            let narrow = numbers(&[lead, &[batch, 1, UNITS]].concat(), 1);
            let mut whole = vec![0.0; narrow.elems() * POSITION_COUNT];
            for (row, values) in narrow.to_f32().chunks(UNITS).enumerate() {
                whole[(row * POSITION_COUNT + positions[row % batch]) * UNITS..][..UNITS]
                    .copy_from_slice(values);
            }
            let whole = Tensor::from_f32(&[lead, &[batch, POSITION_COUNT, UNITS]].concat(), &whole);
            let flat: Vec<i64> =
                positions.iter().enumerate().map(|(row, at)| (row * POSITION_COUNT + at) as i64).collect();
            let mut inputs =
                BTreeMap::from([("x".to_string(), numbers(&[batch, POSITION_COUNT, FEATURES], 0))]);
            let expected = run(&graph, &inputs, &whole);
            inputs.insert(POSITIONS.into(), Tensor::from_i64(&[batch], &flat));
            for treatment in [Whole::Computed, Whole::Left] {
                let restricted = restrict(&graph, "y", treatment).unwrap();
                let results = run(&restricted, &inputs, &narrow);
                let products = |graph: &Graph<Prim>| {
                    let node =
                        |id| (matches!(graph.op(id), Prim::MatMul(_)), graph.node(id).types[0].shape.clone());
                    graph
                        .nodes()
                        .map(node)
                        .filter(|(is_product, _)| *is_product)
                        .map(|(_, s)| s)
                        .collect::<Vec<_>>()
                };
                let long =
                    |s: &Shape| s.as_known().unwrap().iter().product::<usize>() > batch * UNITS.max(FEATURES);
                let long = products(&restricted).iter().filter(|s| long(s)).count();
                assert_eq!(long, usize::from(treatment == Whole::Computed), "{restricted}");
                for (output, tensor) in &expected {
                    let result = &results[output];
                    let at_positions = |t: &Tensor| -> Vec<f32> {
                        let all = t.to_f32();
                        flat.iter().flat_map(|at| all[*at as usize * UNITS..][..UNITS].to_vec()).collect()
                    };
                    match output {
                        Output::Model(_) if treatment == Whole::Computed => assert_eq!(result, tensor),
                        Output::Model(_) | Output::SeedValue => {
                            assert_eq!(result.dims(), [batch, 1, UNITS]);
                            assert_eq!(result.to_f32(), at_positions(tensor));
                        }
                        _ => {
                            assert_eq!(result.dims(), tensor.dims());
                            assert_eq!(result.to_f32(), tensor.to_f32(), "{output}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_head_that_mixes_positions_or_reads_the_input_stays() {
    let mut b = Builder::new();
    let x = b.input("x", TensorType::known(DType::F32, &[1, 5, 4]));
    let w = b.constant("w", numbers(&[4, 4], 3));
    let product = b.matmul(x, w);
    let mixed = b.add(prim::Softmax { axis: 1 }, &[product]);
    let outer = b.binary(Binary::Add, product, x);
    let seed = b.input(SEED, TensorType::known(DType::F32, &[1, 5, 4]));
    let r = b.binary(Binary::Mul, seed, x);
    b.graph_mut().add_output("mixed", mixed);
    b.graph_mut().add_output("outer", outer);
    b.graph_mut().add_output(Output::relevance(TrackKind::Single, "x"), r);
    b.ok().unwrap();
    let graph = b.finish();
    for name in ["mixed", "outer", "absent"] {
        assert!(restrict(&graph, name, Whole::Left).is_none(), "{name}");
    }
}
