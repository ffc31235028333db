//! Recurrences behind the fake driver: a run has hundreds of graphs, and a bounded number of them waits on the device.

#![cfg(target_os = "linux")]

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::machine::Machine;
use dlbc_cuda::open;
use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::prim::{Binary, Builder, Factor, Prim, Scan, Unary};
use dlbc_ops::program::Output;
use dlbc_ops::tensor::{DType, Dim, Shape, Tensor, TensorType};
use dlbc_runtime::backend::ReferenceBackend;
use dlbc_runtime::{
    AsViews, Backend, BackendError, CancelToken, Progress, RunControl, SessionOptions, Tensors,
};

const STEPS: usize = 600;
/// Graphs that may be launched before the host waits.
const QUEUE: usize = 256;

fn input(b: &mut Builder, name: &str, dims: &[usize]) -> Value {
    let shape: Shape = dims.iter().map(|d| Dim::known(*d as i64)).collect();
    b.input(name, TensorType::new(DType::F32, shape))
}

/// Builds `h = tanh(x + h Wᵀ)` over all steps.
fn recurrence() -> Graph<Prim> {
    let mut b = Builder::new();
    let (h0, x) = (input(&mut b, "h", &[2, 4]), input(&mut b, "x", &[STEPS, 2, 4]));
    let w = b.constant("w", Tensor::from_f32(&[4, 4], &[0.2; 16]));
    let mut step = Builder::new();
    let (h, x_step) = (input(&mut step, "h", &[2, 4]), input(&mut step, "x", &[2, 4]));
    let w_step = input(&mut step, "w", &[4, 4]);
    let gate = step.matmul(h, Factor::transposed(w_step));
    let sum = step.add(Prim::Binary(Binary::Add), &[x_step, gate]);
    let next = step.add(Prim::Unary(Unary::Tanh), &[sum]);
    step.graph_mut().add_output(Output::value("next"), next);
    let y = b.add(Prim::Scan(Scan::from_step(step.finish(), 1, false).0), &[h0, x, w]);
    b.ok().unwrap();
    b.graph_mut().add_output("y", y);
    b.finish()
}

fn inputs() -> Tensors {
    let x: Vec<f32> = (0..STEPS * 8).map(|i| (i as f32 * 0.37).sin()).collect();
    Tensors::from([
        ("h".to_string(), Tensor::from_f32(&[2, 4], &[0.5; 8])),
        ("x".to_string(), Tensor::from_f32(&[STEPS, 2, 4], &x)),
    ])
}

fn run(backend: &dyn Backend, control: &RunControl<'_>) -> Result<Vec<f64>, BackendError> {
    let plan = backend.prepare(&recurrence(), &["y".into()], &[], &SessionOptions::default())?;
    let inputs = inputs();
    let (mut outputs, _) = plan.forward(&inputs.views(), control)?;
    Ok(outputs.remove(&Output::from("y")).unwrap().to_f64())
}

/// Runs the recurrence and returns its result, with the number of graphs that were launched.
fn counted(backend: &dyn Backend, cancel_at: usize) -> (Result<Vec<f64>, BackendError>, usize) {
    let (token, launched) = (CancelToken::default(), AtomicUsize::new(0));
    let report = |progress: Progress| {
        if let Progress::Forward { done, .. } = progress {
            launched.store(done, Ordering::Relaxed);
            if done == cancel_at {
                token.cancel();
            }
        }
    };
    let result = run(backend, &RunControl { cancel: Some(&token), progress: Some(&report) });
    (result, launched.into_inner())
}

#[test]
fn a_long_recurrence_equals_the_reference() {
    Machine::new("").run("queue::a_long_recurrence_equals_the_reference", || {
        let backend = open(0).unwrap_or_else(|e| panic!("{e}"));
        let expected = run(&ReferenceBackend, &RunControl::default()).unwrap();
        // A run that was cancelled leaves its graphs on the stream.
        let (error, launched) = counted(&backend, 100);
        assert!(matches!(error, Err(BackendError::Cancelled)) && launched == 100, "{launched}: {error:?}");
        let (actual, launched) = counted(&backend, usize::MAX);
        assert!(launched >= STEPS - 1, "{launched} graphs");
        for (i, (a, e)) in actual.unwrap().iter().zip(&expected).enumerate() {
            assert!((a - e).abs() < 1e-5, "element {i} is {a}, expected {e}");
        }
    });
}

#[test]
fn a_step_that_does_not_end_is_noticed_before_all_steps_are_launched() {
    let machine = Machine::new("launch=hang@20").with("DLBC_CUDA_TIMEOUT", "0.3");
    machine.run("queue::a_step_that_does_not_end_is_noticed_before_all_steps_are_launched", || {
        let backend = open(0).unwrap_or_else(|e| panic!("{e}"));
        let (error, launched) = counted(&backend, usize::MAX);
        assert!(matches!(error, Err(BackendError::DeviceTimeout(_))), "{error:?}");
        assert!(launched <= QUEUE + 2, "{launched} graphs");
        // The device stays lost, and nothing waits for it.
        assert!(matches!(counted(&backend, usize::MAX).0, Err(BackendError::DeviceTimeout(_))));
    });
}
