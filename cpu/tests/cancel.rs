//! Cancellation and progress of a run on the CPU and on the reference.

#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use dlbc_backend::{
    AsViews, Backend, BackendError, CancelToken, Outputs, Plan, Progress, ReferenceBackend, RunControl,
    Saved, SessionOptions, Views,
};
use dlbc_cpu::CpuBackend;
use dlbc_ops::graph::Graph;
use dlbc_ops::prim::{self, Builder, Prim};
use dlbc_ops::program::{Output, SEED, TrackKind};
use dlbc_ops::tensor::{DType, Dim, Tensor, TensorType};

/// The relevance of `x`.
fn relevance() -> Output {
    Output::relevance(TrackKind::Single, "x")
}

/// Six softmaxes over alternating axes before the seed, and as many after it.
fn program() -> Graph<Prim> {
    let mut b = Builder::new();
    let ty = || TensorType::new(DType::F32, vec![Dim::known(3), Dim::known(4)]);
    let mut y = b.input("x", ty());
    let mut r = b.input(SEED, ty());
    for axis in [0, 1, 0, 1, 0, 1] {
        y = b.add(Prim::Softmax(prim::Softmax { axis }), &[y]);
        r = b.add(Prim::Softmax(prim::Softmax { axis }), &[r]);
    }
    b.ok().unwrap();
    b.graph_mut().add_output("y", y);
    b.graph_mut().add_output(relevance(), r);
    b.finish()
}

fn plans() -> Vec<Box<dyn Plan>> {
    let prepare = |backend: &dyn Backend| {
        let options = SessionOptions::new().threads(1);
        backend.prepare(&program(), &["y".into()], &[relevance()], &options).unwrap()
    };
    vec![prepare(&CpuBackend), prepare(&ReferenceBackend)]
}

fn digits() -> Tensor {
    Tensor::from_f32(&[3, 4], &(0..12).map(|i| i as f32 / 6.0).collect::<Vec<_>>())
}

fn forward(plan: &dyn Plan, run: &RunControl<'_>) -> Result<(Outputs, Saved), BackendError> {
    plan.forward(&[("x", digits())].views(), run)
}

#[test]
fn a_cancelled_run_ends_before_the_next_node() {
    for plan in plans() {
        let (token, reports) = (CancelToken::default(), Mutex::new(0));
        let receiver = |progress: Progress| {
            *reports.lock().unwrap() += 1;
            if matches!(progress, Progress::Forward { done: 3, .. } | Progress::Reverse { done: 3, .. }) {
                token.cancel();
            }
        };
        let run = RunControl { cancel: Some(&token), progress: Some(&receiver) };
        let error = forward(&*plan, &run).err().unwrap();
        assert!(matches!(error, BackendError::Cancelled), "{error}");
        assert_eq!(*reports.lock().unwrap(), 4);

        let (_, saved) = forward(&*plan, &RunControl::default()).unwrap();
        let token = CancelToken::default();
        let inputs = Views::new();
        let cancelled = RunControl { cancel: Some(&token), progress: None };
        assert!(plan.reverse(&inputs, saved.clone(), &digits(), &cancelled).is_ok());
        token.clone().cancel();
        let error = plan.reverse(&inputs, saved, &digits(), &cancelled).err().unwrap();
        assert!(matches!(error, BackendError::Cancelled), "{error}");
    }
}

/// Running sums of the input, a step for each of its elements.
fn sums(elements: i64) -> Graph<Prim> {
    let ty =
        |dims: &[i64]| TensorType::new(DType::F32, dims.iter().map(|d| Dim::known(*d)).collect::<Vec<_>>());
    let mut step = Builder::new();
    let (state, element) = (step.input("state", ty(&[1])), step.input("element", ty(&[1])));
    let next = step.add(Prim::Binary(prim::Binary::Add), &[state, element]);
    step.ok().unwrap();
    step.graph_mut().add_output("next", next);
    let (scan, constants) = prim::Scan::from_step(step.finish(), 1, false);
    assert!(constants.is_empty());
    let mut b = Builder::new();
    let (first, x) = (b.input("first", ty(&[1])), b.input("x", ty(&[elements, 1])));
    let y = b.add(Prim::Scan(scan), &[first, x]);
    b.ok().unwrap();
    b.graph_mut().add_output("y", y);
    b.finish()
}

#[test]
fn a_cancelled_recurrence_ends_between_its_steps() {
    let elements = 1_000_000;
    let options = SessionOptions::new().threads(1);
    let plan = CpuBackend.prepare(&sums(elements), &["y".into()], &[], &options).unwrap();
    let inputs = [
        ("first", Tensor::from_f32(&[1], &[0.0])),
        ("x", Tensor::from(vec![1.0f32; elements as usize]).with_dims(&[elements as usize, 1]).unwrap()),
    ];
    let (started, wait) = mpsc::channel();
    let started = Mutex::new(started);
    let receiver = |progress: Progress| {
        let Progress::Forward { done, total } = progress else { return };
        // The recurrence is the last node: nothing after it would notice the token.
        if done + 1 == total {
            started.lock().unwrap().send(()).unwrap();
        }
    };
    let token = CancelToken::default();
    let run = RunControl { cancel: Some(&token), progress: Some(&receiver) };
    thread::scope(|scope| {
        let canceller = token.clone();
        scope.spawn(move || {
            wait.recv().unwrap();
            thread::sleep(Duration::from_millis(5));
            canceller.cancel();
        });
        let error = plan.forward(&inputs.views(), &run).err().unwrap();
        assert!(matches!(error, BackendError::Cancelled), "{error}");
    });
}

#[test]
fn reports_count_the_nodes_of_each_stage() {
    for plan in plans() {
        let reports = Mutex::new(vec![]);
        let receiver = |progress: Progress| reports.lock().unwrap().push(progress);
        let run = RunControl { cancel: None, progress: Some(&receiver) };
        let (_, saved) = forward(&*plan, &run).unwrap();
        plan.reverse(&Views::new(), saved, &digits(), &run).unwrap();
        let reports = reports.into_inner().unwrap();
        let halves = [
            reports.iter().filter(|p| matches!(p, Progress::Forward { .. })).count(),
            reports.iter().filter(|p| matches!(p, Progress::Reverse { .. })).count(),
        ];
        for (i, report) in reports.iter().enumerate() {
            let expected = match report {
                Progress::Forward { .. } => Progress::Forward { done: i, total: halves[0] },
                _ => Progress::Reverse { done: i - halves[0], total: halves[1] },
            };
            assert_eq!(*report, expected);
        }
        assert!(halves.iter().all(|n| *n >= 6), "{halves:?}");
    }
}
