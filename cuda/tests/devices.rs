//! Failing devices: the kind and the message of errors, and recovery of the backend.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{Random, graph, run};
use dlbc_backend::{
    AsViews, Backend, BackendError, CancelToken, ErrorKind, RunControl, SessionOptions, Tensors,
};
use dlbc_cuda::{CudaBackend, DeviceError, open};
use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::prim::{self, Binary, Builder, Prim, Transform, Unary};
use dlbc_ops::program::{Output, SEED, TrackKind};
use dlbc_ops::tensor::{DType, Tensor};
use dlbc_ptxsim::Simulator;

/// The relevance of `x`.
fn relevance() -> Output {
    Output::relevance(TrackKind::Single, "x")
}

fn product(b: &mut Builder, v: &[Value]) -> Value {
    let y = b.add(prim::MatMul { a: Transform::Id, b: Transform::Id, ta: false, tb: false }, &v[..2]);
    b.add(Prim::Unary(Unary::Tanh), &[y])
}

fn inputs() -> Vec<Tensor> {
    let mut r = Random::new(1);
    vec![r.floats(&[20, 30]), r.floats(&[30, 40])]
}

fn on(simulator: Simulator) -> Result<Tensor, BackendError> {
    let inputs = inputs();
    run(&CudaBackend::new(Box::new(simulator)), &graph(&inputs, product), &inputs)
}

#[test]
fn a_missing_driver_or_device_is_an_error() {
    match open(99) {
        Err(DeviceError::Absent(reason)) => println!("no device: {reason}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("a hundred devices"),
    }
    // Repeated attempts fail in the same way, without a panic.
    assert_eq!(open(99).err(), open(99).err());
}

#[test]
fn a_lost_device_is_an_error_of_the_device() {
    for launches in 0..2 {
        let error = on(Simulator::new(None, 1).losing(launches)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Device, "{error}");
        assert!(error.to_string().contains("the device was lost"), "{error}");
    }
    on(Simulator::new(None, 1).losing(100)).unwrap();
}

#[test]
fn too_little_memory_is_an_error_of_the_device() {
    // The values and the gaps between them need about 10 KB.
    for bytes in [0, 256, 4000] {
        let error = on(Simulator::new(Some(bytes), 1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Device, "{error}");
        let text = error.to_string();
        assert!(text.contains("out of device memory") && text.contains("bytes needed"), "{text}");
    }
    on(Simulator::new(Some(100_000), 1)).unwrap();
}

#[test]
fn a_model_larger_than_memory_is_refused_before_it_runs() {
    let mut r = Random::new(2);
    let (x, w) = (r.floats(&[1, 300]), r.floats(&[300, 300]));
    let build = |b: &mut Builder, v: &[Value]| {
        let w = b.constant("w", w.clone());
        product(b, &[v[0], w])
    };
    let inputs = [x];
    let graph = graph(&inputs, build);
    let backend = CudaBackend::new(Box::new(Simulator::new(Some(300_000), 1)));
    let error = backend.prepare(&graph, &["y".into()], &[], &SessionOptions::default()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Device, "{error}");
    assert!(error.to_string().contains("360000 bytes needed"), "{error}");
    // The failed plan has released its memory, so a smaller model still runs.
    let small = [r.floats(&[8, 8]), r.floats(&[8, 8])];
    run(&backend, &common::graph(&small, product), &small).unwrap();
}

#[test]
fn unsupported_nodes_are_listed_at_once() {
    let half = Tensor::from_bytes(DType::F16, vec![2], std::sync::Arc::new(vec![0u8; 4])).unwrap();
    let graph = graph(&[half], |b, v| {
        let a = b.add(Prim::Unary(Unary::Abs), v);
        b.add(Prim::Unary(Unary::Exp), &[a])
    });
    let unsupported = CudaBackend::new(Box::<Simulator>::default()).check(&graph);
    assert_eq!(unsupported.len(), 2);
    assert!(
        unsupported.iter().all(|u| u.reason == "expected arithmetic in f32, found f16"),
        "{unsupported:?}"
    );
}

#[test]
fn launches_that_exceed_the_limits_of_devices_are_rejected() {
    // One block more than a device supports.
    let rows = 65536 * 128;
    let graph = graph(&[Tensor::from_f32(&[1, 1], &[1.0]), Tensor::from_f32(&[1, 1], &[1.0])], |b, v| {
        let to = |rows: usize| [rows, 1].iter().map(|d| dlbc_ops::tensor::Dim::known(*d as i64)).collect();
        let tall = b.add(prim::Expand { to: to(rows) }, &v[..1]);
        b.add(prim::MatMul { a: Transform::Id, b: Transform::Id, ta: false, tb: false }, &[tall, v[1]])
    });
    let backend = CudaBackend::new(Box::<Simulator>::default());
    let error = backend.prepare(&graph, &["y".into()], &[], &SessionOptions::default()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("65536"), "{error}");
}

#[test]
fn launches_whose_threads_32_bits_cannot_count_are_rejected() {
    // A warp for each row: 2³³ threads.
    let graph = graph(&[Tensor::from_f32(&[1, 2], &[1.0, 2.0])], |b, v| {
        let to = [1 << 28, 2].map(dlbc_ops::tensor::Dim::known).into_iter().collect();
        let tall = b.add(prim::Expand { to }, v);
        b.add(prim::Softmax { axis: 1 }, &[tall])
    });
    let backend = CudaBackend::new(Box::<Simulator>::default());
    let error = backend.prepare(&graph, &["y".into()], &[], &SessionOptions::default()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("found 8589934592"), "{error}");
}

/// `y = tanh(x w)`, `r = y · seed`, `relevance = |x| · sum(r)`.
fn two_stages() -> Graph<Prim> {
    let mut r = Random::new(3);
    let mut b = Builder::new();
    let x = b.input("x", r.floats(&[4, 6]).ty());
    let seed = b.input(SEED, r.floats(&[4, 6]).ty());
    let w = b.constant("w", r.floats(&[6, 6]));
    let y = product(&mut b, &[x, w]);
    let r = b.add(Prim::Binary(Binary::Mul), &[y, seed]);
    let size = b.add(Prim::Unary(Unary::Abs), &[x]);
    let out = b.add(Prim::Binary(Binary::Mul), &[size, r]);
    b.ok().unwrap();
    b.graph_mut().add_output("y", y);
    b.graph_mut().add_output(relevance(), out);
    b.finish()
}

#[test]
fn saved_values_of_an_earlier_forward_are_recomputed() {
    let mut r = Random::new(4);
    let graph = two_stages();
    let backend = CudaBackend::new(Box::<Simulator>::default());
    let plan = backend.prepare(&graph, &["y".into()], &[relevance()], &SessionOptions::default()).unwrap();
    let feed = |r: &mut Random| Tensors::from([("x".to_string(), r.floats(&[4, 6]))]);
    let (first, second, seed) = (feed(&mut r), feed(&mut r), r.floats(&[4, 6]));
    let (_, saved) = plan.forward(&first.views(), &RunControl::default()).unwrap();
    let expected = plan.reverse(&first.views(), saved.clone(), &seed, &RunControl::default()).unwrap();
    assert_eq!(
        plan.reverse(&first.views(), saved.clone(), &seed, &RunControl::default()).unwrap(),
        expected,
        "a second reverse"
    );
    let (_, other) = plan.forward(&second.views(), &RunControl::default()).unwrap();
    assert_eq!(
        plan.reverse(&first.views(), saved, &seed, &RunControl::default()).unwrap(),
        expected,
        "after another forward"
    );
    assert_ne!(plan.reverse(&second.views(), other, &seed, &RunControl::default()).unwrap(), expected);
    assert!(plan.memory().saved_bytes > 0 && plan.memory().constant_bytes == 144);
}

#[test]
fn a_cancelled_run_ends_before_the_next_sequence() {
    let mut r = Random::new(5);
    let backend = CudaBackend::new(Box::<Simulator>::default());
    let plan =
        backend.prepare(&two_stages(), &["y".into()], &[relevance()], &SessionOptions::default()).unwrap();
    let (feed, seed) = (Tensors::from([("x".to_string(), r.floats(&[4, 6]))]), r.floats(&[4, 6]));
    let (expected, saved) = plan.forward(&feed.views(), &RunControl::default()).unwrap();
    let relevance = plan.reverse(&feed.views(), saved.clone(), &seed, &RunControl::default()).unwrap();
    let token = CancelToken::default();
    token.cancel();
    let run = RunControl { cancel: Some(&token), progress: None };
    let error = plan.forward(&feed.views(), &run).err().unwrap();
    assert!(matches!(error, BackendError::Cancelled), "{error}");
    let error = plan.reverse(&feed.views(), saved.clone(), &seed, &run).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(
        plan.reverse(&feed.views(), saved, &seed, &RunControl::default()).unwrap(),
        relevance,
        "after both"
    );
    assert_eq!(plan.forward(&feed.views(), &RunControl::default()).unwrap().0, expected);
}

#[test]
fn weights_are_resident_once_and_memory_goes_back_with_a_plan() {
    let graph = two_stages();
    let backend = CudaBackend::new(Box::new(Simulator::new(Some(60_000), 1)));
    let prepare = |graph: &Graph<Prim>| {
        backend.prepare(graph, &["y".into()], &[relevance()], &SessionOptions::default()).unwrap()
    };
    let (first, second) = (prepare(&graph), prepare(&graph));
    assert_eq!((first.memory().constant_bytes, second.memory().constant_bytes), (144, 144));
    drop((first, second));
    for _ in 0..50 {
        // Each program has new weights, and those of the last one are released.
        assert_eq!(prepare(&two_stages()).memory().constant_bytes, 144);
    }
}

#[test]
fn nan_in_an_input_reaches_the_output() {
    let mut values = inputs();
    let mut x = values[0].to_f32();
    x[31] = f32::NAN;
    values[0] = Tensor::from_f32(&[20, 30], &x);
    let y = run(&CudaBackend::new(Box::<Simulator>::default()), &graph(&values, product), &values)
        .unwrap()
        .to_f32();
    for (i, v) in y.iter().enumerate() {
        assert_eq!(v.is_nan(), i / 40 == 1, "element {i} is {v}");
    }
}
