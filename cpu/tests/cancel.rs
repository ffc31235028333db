//! Cancellation and progress of a run on the CPU and on the reference.

#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Mutex;

use dlbc_backend::{
    Backend, BackendError, CancelToken, Outputs, Plan, Progress, ReferenceBackend, RunControl, Saved,
    SessionOptions, Tensors,
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
    plan.forward(&Tensors::from([("x".to_string(), digits())]), run)
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
        let inputs = Tensors::new();
        let cancelled = RunControl { cancel: Some(&token), progress: None };
        assert!(plan.reverse(&inputs, saved.clone(), &digits(), &cancelled).is_ok());
        token.clone().cancel();
        let error = plan.reverse(&inputs, saved, &digits(), &cancelled).err().unwrap();
        assert!(matches!(error, BackendError::Cancelled), "{error}");
    }
}

#[test]
fn reports_count_the_nodes_of_each_stage() {
    for plan in plans() {
        let reports = Mutex::new(vec![]);
        let receiver = |progress: Progress| reports.lock().unwrap().push(progress);
        let run = RunControl { cancel: None, progress: Some(&receiver) };
        let (_, saved) = forward(&*plan, &run).unwrap();
        plan.reverse(&Tensors::new(), saved, &digits(), &run).unwrap();
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
