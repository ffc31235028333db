//! Checkpointing: with too little memory for all saved values, the reverse recomputes them and gives the same bits.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::Random;
use dlbc_backend::{AsViews, Backend, BackendError, MemoryReport, RunControl, SessionOptions, Tensors};
use dlbc_cuda::CudaBackend;
use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::prim::{self, Binary, Builder, Prim, Transform, Unary};
use dlbc_ops::program::{Output, SEED, TrackKind};
use dlbc_ops::tensor::Tensor;
use dlbc_ptxsim::Simulator;

/// The relevance of `x`.
fn relevance() -> Output {
    Output::relevance(TrackKind::Single, "x")
}

const LAYERS: usize = 24;
const DIMS: [usize; 2] = [8, 64];

/// Builds a forward of layers that read one or two of the last few values, and a reverse that reads all values.
fn layers(r: &mut Random) -> Graph<Prim> {
    let mut b = Builder::new();
    let like = Tensor::from_f32(&DIMS, &[0.0; 512]);
    let (x, seed) = (b.input("x", like.ty()), b.input(SEED, like.ty()));
    let mut values = vec![x];
    let pick = |r: &mut Random, values: &[Value]| {
        let back = (r.next().abs() * 3.0) as usize;
        values[values.len() - 1 - back.min(values.len() - 1)]
    };
    let mut weights = vec![];
    for i in 0..LAYERS {
        let w = b.constant(&format!("w{i}"), r.floats(&[64, 64]));
        weights.push(w);
        let operand = pick(r, &values);
        let y =
            b.add(prim::MatMul { a: Transform::Id, b: Transform::Id, ta: false, tb: false }, &[operand, w]);
        let y = b.add(Prim::Unary(Unary::Tanh), &[y]);
        let other = pick(r, &values);
        values.push(if i % 3 == 2 { b.add(Prim::Binary(Binary::Add), &[y, other]) } else { y });
    }
    let y = values[LAYERS];
    let mut flow = seed;
    for (w, v) in weights.into_iter().zip(values).rev() {
        // A denominator, which does not depend on the seed.
        let z = b.add(prim::MatMul { a: Transform::Abs, b: Transform::Abs, ta: false, tb: false }, &[v, w]);
        let ratio = b.add(Prim::Binary(Binary::GuardedDiv), &[flow, z]);
        let back =
            b.add(prim::MatMul { a: Transform::Id, b: Transform::Abs, ta: false, tb: true }, &[ratio, w]);
        let size = b.add(Prim::Unary(Unary::Abs), &[v]);
        flow = b.add(Prim::Binary(Binary::Mul), &[size, back]);
    }
    b.ok().unwrap();
    b.graph_mut().add_output("y", y);
    b.graph_mut().add_output(relevance(), flow);
    b.finish()
}

/// Runs the forward once and the reverse twice; returns their outputs and the memory of the plan.
fn run(
    graph: &Graph<Prim>,
    bytes: Option<u64>,
    schedule: u64,
) -> Result<([Tensor; 3], MemoryReport), BackendError> {
    let backend = CudaBackend::new(Box::new(Simulator::new(bytes, schedule)));
    let names = [Output::from("y"), relevance()];
    let plan = backend.prepare(graph, &names[..1], &names[1..], &SessionOptions::default())?;
    let mut r = Random::new(6);
    let (x, seed) = (r.floats(&DIMS), r.floats(&DIMS));
    let feed = Tensors::from([("x".to_string(), x)]);
    let (mut outputs, saved) = plan.forward(&feed.views(), &RunControl::default())?;
    let mut once = plan.reverse(&feed.views(), saved.clone(), &seed, &RunControl::default())?;
    let mut twice = plan.reverse(&feed.views(), saved, &seed, &RunControl::default())?;
    let all =
        [outputs.remove(&names[0]), once.remove(&names[1]), twice.remove(&names[1])].map(Option::unwrap);
    Ok((all, plan.memory()))
}

#[test]
fn recomputed_values_have_the_same_bits() {
    let mut smallest = f64::INFINITY;
    for seed in 1..=6 {
        let graph = layers(&mut Random::new(seed));
        let (expected, whole) = run(&graph, None, 1).unwrap();
        assert_eq!((whole.segments, &expected[1]), (1, &expected[2]));
        let mut before = u64::MAX;
        for share in [0.8, 0.6, 0.5] {
            let block = (whole.plan_bytes as f64 * share) as u64;
            // The backend leaves a share of the memory to the driver.
            let bytes = (whole.constant_bytes + block) * 20 / 19 + 4096;
            let (outputs, memory) =
                run(&graph, Some(bytes), 2).unwrap_or_else(|e| panic!("{seed}, {share}: {e}"));
            assert_eq!(
                outputs, expected,
                "seed {seed} in {share} of the memory, {} segments",
                memory.segments
            );
            assert!(memory.segments > 1 && memory.plan_bytes <= bytes - memory.constant_bytes, "{memory:?}");
            assert!(memory.plan_bytes <= before && memory.saved_bytes < whole.saved_bytes, "{memory:?}");
            before = memory.plan_bytes;
            smallest = smallest.min(memory.plan_bytes as f64 / whole.plan_bytes as f64);
        }
    }
    println!("18 plans recomputed a forward, in down to {smallest:.2} of the memory");
}

#[test]
fn too_little_for_any_plan_is_an_error_of_memory() {
    let graph = layers(&mut Random::new(1));
    let (_, whole) = run(&graph, None, 1).unwrap();
    let bytes = whole.constant_bytes + whole.plan_bytes / 20;
    let error = run(&graph, Some(bytes), 1).err().unwrap();
    assert!(matches!(error, BackendError::DeviceMemory(_)), "{error}");
    assert!(error.to_string().contains("out of device memory"), "{error}");
}
