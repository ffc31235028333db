//! Tests of the public interface of a session, on the models in the repository.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dlbc_ops::graph::Graph;
use dlbc_ops::prim::Prim;
use dlbc_ops::program::{Output, Program};
use dlbc_runtime::backend::{Plan, Precision, ReferenceBackend, Unsupported};
use dlbc_runtime::{
    Backend, BackendError, CancelToken, CpuBackend, Device, ErrorKind, Explanation, Progress, Request,
    RuntimeError, Session, SessionOptions, Target, Tensor, TensorView, Tensors,
};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(name)
}

fn digits() -> Program {
    let model = dlbc_proto::read_model(&fixture("digits_cnn/model.onnx"), &Default::default()).unwrap();
    dlbc_compiler::compile(&model, &Default::default()).unwrap().program
}

fn cpu(threads: usize) -> Session {
    let options = SessionOptions::new().threads(threads);
    Session::new(digits(), Box::new(CpuBackend), options).unwrap()
}

/// A batch of different digits.
fn batch(n: usize) -> Tensors {
    let values: Vec<f32> = (0..n * 64).map(|i| ((i * 37 + i / 64 * 11) % 17) as f32 / 16.0).collect();
    Tensors::from([("input".into(), Tensor::from_f32(&[n, 1, 8, 8], &values))])
}

/// Row `i` of a batch.
fn row_of(inputs: &Tensors, i: usize) -> Tensors {
    let values = inputs["input"].to_f32();
    Tensors::from([("input".into(), Tensor::from_f32(&[1, 1, 8, 8], &values[i * 64..(i + 1) * 64]))])
}

fn heat(explanation: &Explanation) -> Vec<f32> {
    explanation.supporting.relevance["input"].to_f32()
}

fn failure(session: &Session, inputs: &Tensors, request: &Request) -> RuntimeError {
    session.explain(inputs, request).unwrap_err()
}

#[test]
fn borrowed_values_explain_as_tensors_do() {
    let (session, inputs) = (cpu(1), batch(2));
    let owned = session.explain(&inputs, &Request::default()).unwrap();
    let values = inputs["input"].to_f32();
    let view = TensorView::new(&[2, 1, 8, 8], &values).unwrap();
    let pairs = [("input", view.clone())];
    assert_eq!(heat(&session.explain(&pairs, &Request::default()).unwrap()), heat(&owned));
    let by_name = HashMap::from([("input", view)]);
    assert_eq!(session.predict(&by_name).unwrap(), owned.outputs);
    let reference = Session::new(digits(), Box::new(ReferenceBackend), SessionOptions::default()).unwrap();
    assert_eq!(reference.predict(&pairs).unwrap(), reference.predict(&inputs).unwrap());

    let ids = [0i64; 64];
    let wrong = [("input", TensorView::new(&[1, 1, 8, 8], &ids).unwrap())];
    let error = session.explain(&wrong, &Request::default()).unwrap_err();
    assert!(matches!(error, RuntimeError::InputType { .. }), "{error}");
}

#[test]
fn a_compiled_file_loads_and_explains_as_the_program_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("digits.dlbc.onnx");
    dlbc_proto::write_model(&path, &dlbc_artifact::write(&digits()).unwrap()).unwrap();
    let loaded = Session::load(&path, SessionOptions::new().threads(2)).unwrap();
    let inputs = batch(3);
    let (a, b) = (
        loaded.explain(&inputs, &Request::default()).unwrap(),
        cpu(2).explain(&inputs, &Request::default()).unwrap(),
    );
    assert_eq!(heat(&a), heat(&b));
    assert_eq!(a.targets, b.targets);
}

#[test]
fn uncompiled_models_and_other_files_are_refused() {
    let raw = Session::load(fixture("digits_cnn/model.onnx"), SessionOptions::default()).err().unwrap();
    assert!(matches!(raw, RuntimeError::NotCompiled(_)), "{raw}");
    assert!(raw.to_string().contains("expected a compiled model, found an ONNX model"), "{raw}");
    for name in ["digits_cnn/digit.png", "nowhere.onnx"] {
        let error = Session::load(fixture(name), SessionOptions::default()).err().unwrap();
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn threads_share_a_session_and_get_the_same_bits() {
    let session = Arc::new(cpu(2));
    let inputs = batch(4);
    let separate = heat(&session.explain(&inputs, &Request::default()).unwrap());
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let (session, inputs) = (session.clone(), inputs.clone());
            std::thread::spawn(move || {
                (0..3)
                    .map(|_| heat(&session.explain(&inputs, &Request::default()).unwrap()))
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    for worker in workers {
        for relevance in worker.join().unwrap() {
            assert_eq!(relevance, separate);
        }
    }
    assert_eq!(heat(&cpu(1).explain(&inputs, &Request::default()).unwrap()), separate);
}

#[test]
fn a_batch_equals_its_rows() {
    let (session, inputs) = (cpu(2), batch(7));
    let all = heat(&session.explain(&inputs, &Request::default()).unwrap());
    for i in 0..7 {
        let row = heat(&session.explain(&row_of(&inputs, i), &Request::default()).unwrap());
        let scale: f32 = row.iter().map(|v| v.abs()).sum();
        let error: f32 = row.iter().zip(&all[i * 64..]).map(|(a, b)| (a - b).abs()).sum();
        assert!(error <= 1e-6 * scale, "row {i}: {error} of {scale}");
    }
}

#[test]
fn a_prediction_is_the_explanation_without_the_reverse() {
    let (session, inputs) = (cpu(2), batch(3));
    let outputs = session.predict(&inputs).unwrap();
    let explained = session.explain(&inputs, &Request::default()).unwrap().outputs;
    assert_eq!(outputs["logits"].to_f32(), explained["logits"].to_f32());
    assert!(session.predict(&Tensors::new()).is_err());
}

#[test]
fn relevance_is_linear_in_the_start() {
    let (session, inputs) = (cpu(1), batch(2));
    let with = |target, multiplier| {
        heat(&session.explain(&inputs, &Request::new().target(target).multiplier(multiplier)).unwrap())
    };
    let (three, five) = (with(Target::Index(3), 100.0), with(Target::Index(5), 100.0));
    let twice = with(Target::Index(3), 200.0);
    let minus = with(Target::Difference(3, 5), 100.0);
    let near = |a: f32, b: f32| (a - b).abs() <= 2e-5 * (1.0 + a.abs());
    assert!(three.iter().zip(&twice).all(|(a, b)| near(2.0 * a, *b)));
    // A difference starts with the values of both units, over the sum of their magnitudes.
    let logits = session.predict(&inputs).unwrap()["logits"].to_f32().to_vec();
    let size = three.len() / 2;
    for (row, logits) in logits.chunks(10).enumerate() {
        let all = logits[3].abs() + logits[5].abs();
        let elements = row * size..(row + 1) * size;
        let pairs = three[elements.clone()].iter().zip(&five[elements.clone()]);
        let expected = pairs.map(|(a, b)| (logits[3] * a - logits[5] * b) / all);
        assert!(expected.zip(&minus[elements]).all(|(a, b)| near(a, *b)), "row {row}");
    }
    assert_ne!(three, five);
}

#[test]
fn the_ledger_closes_row_by_row_on_both_backends() {
    for backend in [Box::new(CpuBackend) as Box<dyn Backend>, Box::new(ReferenceBackend)] {
        let session = Session::new(digits(), backend, SessionOptions::default()).unwrap();
        let request = Request::new().ledger().keep_all();
        let explanation = session.explain(&batch(2), &request).unwrap();
        let rows = explanation.supporting.ledger.as_ref().unwrap();
        assert!(rows.len() >= 8);
        for row in rows {
            assert!(row.residual().abs() <= 1e-4 * explanation.supporting.seed_sum, "{row:?}");
        }
        let total: f64 = explanation.supporting.input_sums.values().sum::<f64>()
            + rows.iter().map(|r| r.absorbed).sum::<f64>();
        assert!(
            (total - explanation.supporting.seed_sum).abs() <= 1e-4 * explanation.supporting.seed_sum,
            "{total} of {}",
            explanation.supporting.seed_sum
        );
        assert!(explanation.supporting.relevance.len() > 5);
    }
}

#[test]
fn inputs_that_do_not_fit_are_named() {
    let session = cpu(1);
    let say = |inputs: &Tensors| failure(&session, inputs, &Request::default()).to_string();
    assert_eq!(say(&Tensors::new()), "missing input `input`: expected a tensor");

    let mut extra = batch(1);
    extra.insert("mask".into(), Tensor::scalar(1.0));
    assert_eq!(say(&extra), "unknown input `mask`: expected `input`");

    let shaped = |dims: &[usize]| {
        let values = vec![0.0; dims.iter().product()];
        Tensors::from([("input".into(), Tensor::from_f32(dims, &values))])
    };
    let empty = session.explain(&shaped(&[0, 1, 8, 8]), &Request::default()).unwrap();
    assert_eq!(empty.supporting.relevance["input"].dims(), [0, 1, 8, 8]);
    for dims in [&[1, 1, 8, 9][..], &[1, 8, 8]] {
        let message = say(&shaped(dims));
        assert!(
            message.starts_with("invalid input `input`: expected f32[batch,1,8,8], found f32["),
            "{message}"
        );
    }
    let ints = Tensors::from([("input".into(), Tensor::from_i64(&[1, 1, 8, 8], &[0; 64]))]);
    assert!(say(&ints).contains("found i64[1,1,8,8]"));

    let mut values = vec![0.0; 128];
    values[64 + 8 + 3] = f32::NAN;
    let nan = Tensors::from([("input".into(), Tensor::from_f32(&[2, 1, 8, 8], &values))]);
    assert_eq!(
        say(&nan),
        "invalid value of input `input` at index [1, 0, 1, 3]: expected a finite number, found NaN"
    );
}

#[test]
fn requests_that_do_not_fit_are_named() {
    let session = cpu(1);
    let say = |request: Request| failure(&session, &batch(1), &request);
    let target = say(Request::new().target(Target::Index(10)));
    assert_eq!(
        target.to_string(),
        "target 10 is out of range for output `logits` of shape [1, 10]: expected -10 to 9"
    );
    assert_eq!(target.kind(), ErrorKind::Usage);
    let keep = say(Request::new().keep(["nothing"]));
    assert!(
        keep.to_string().starts_with("no relevance is computed for tensor `nothing`: expected `"),
        "{keep}"
    );
}

#[test]
fn a_tensor_above_the_limit_is_refused_before_it_is_made() {
    let options = SessionOptions::new().max_tensor_bytes(10_000);
    let session = Session::new(digits(), Box::new(CpuBackend), options).unwrap();
    let error = failure(&session, &batch(50), &Request::default());
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().ends_with("the limit is 10000"), "{error}");
}

#[test]
fn a_device_opens_or_is_an_error_of_the_device() {
    for (device, name) in [(Device::Auto, "cpu"), (Device::Cpu, "cpu"), (Device::Reference, "reference")] {
        assert_eq!(device.open().unwrap().name(), name);
    }
    let absent = Device::Cuda { ordinal: 4096, precision: Precision::default() };
    let error = absent.open().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Device, "{error}");
}

/// The CPU, counting its plans.
struct Counting(Arc<AtomicUsize>);

impl Backend for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn check(&self, graph: &Graph<Prim>) -> Vec<Unsupported> {
        CpuBackend.check(graph)
    }

    fn prepare(
        &self,
        graph: &Graph<Prim>,
        forward: &[Output],
        reverse: &[Output],
        options: &SessionOptions,
    ) -> Result<Box<dyn Plan>, BackendError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        CpuBackend.prepare(graph, forward, reverse, options)
    }
}

#[test]
fn a_plan_is_made_once_for_a_shape() {
    let plans = Arc::new(AtomicUsize::new(0));
    let session =
        Session::new(digits(), Box::new(Counting(plans.clone())), SessionOptions::default()).unwrap();
    let run = |n, ledger| {
        let request = if ledger { Request::new().ledger() } else { Request::new() };
        session.explain(&batch(n), &request).unwrap();
        plans.load(Ordering::SeqCst)
    };
    assert_eq!((run(2, false), run(2, false)), (1, 1));
    assert_eq!((run(3, false), run(2, false), run(2, true)), (2, 2, 3));
    // More shapes than a session keeps: the oldest is planned again.
    for n in 4..14 {
        run(n, false);
    }
    assert_eq!(run(2, false), 14);
}

/// Cancels a run at a step; returns the number of steps that are reported from that one on.
fn cancelled_at(backend: Box<dyn Backend>, at: fn(Progress) -> bool) -> usize {
    let (token, steps) = (CancelToken::default(), Arc::new(AtomicUsize::new(0)));
    let options = {
        let (token, steps) = (token.clone(), steps.clone());
        SessionOptions::new().threads(1).progress(move |progress| {
            if token.is_cancelled() || at(progress) {
                token.cancel();
                steps.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    let session = Session::new(digits(), backend, options).unwrap();
    let error = failure(&session, &batch(1), &Request::new().cancel(&token));
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    let after = steps.load(Ordering::SeqCst);
    // The session is as good as new.
    session.explain(&batch(1), &Request::new()).unwrap();
    after
}

#[test]
fn a_cancelled_run_ends_within_a_node() {
    let forward: fn(Progress) -> bool = |p| matches!(p, Progress::Forward { done: 3, .. });
    let reverse: fn(Progress) -> bool = |p| matches!(p, Progress::Reverse { done: 3, .. });
    for at in [forward, reverse] {
        for backend in [Box::new(CpuBackend) as Box<dyn Backend>, Box::new(ReferenceBackend)] {
            let name = backend.name();
            let steps = cancelled_at(backend, at);
            assert!((1..=2).contains(&steps), "{name}: {steps} steps after the cancellation");
        }
    }
    let token = CancelToken::default();
    token.cancel();
    let error = failure(&cpu(1), &batch(1), &Request::new().cancel(&token));
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[test]
fn a_session_describes_inputs_and_outputs_of_its_model() {
    let session = cpu(1);
    let [input] = session.inputs() else { panic!("{:?}", session.inputs()) };
    assert_eq!((input.name.as_str(), input.ty.to_string()), ("input", "f32[batch,1,8,8]".into()));
    let [output] = session.outputs() else { panic!("{:?}", session.outputs()) };
    assert_eq!((output.name.as_str(), output.ty.to_string()), ("logits", "f32[batch,10]".into()));
}

#[test]
fn sessions_and_results_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Session>();
    crosses::<Explanation>();
    crosses::<RuntimeError>();
}
