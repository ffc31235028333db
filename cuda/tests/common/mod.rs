//! Comparison of small programs on the interpreted device and on the reference.

#![allow(dead_code)]

use std::sync::{Arc, Mutex};

use dlbc_backend::{AsViews, Backend, BackendError, ReferenceBackend, RunControl, SessionOptions, Tensors};
use dlbc_cuda::CudaBackend;
use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::prim::{Builder, Prim};
use dlbc_ops::program::Output;
use dlbc_ops::tensor::Tensor;
use dlbc_ptx::{Device, DeviceError, Kernel, KernelId, Launch, SequenceId};
use dlbc_ptxsim::{Simulator, Totals};

/// A deterministic source of random numbers.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// Draws a tensor of floats in (-1, 1).
    pub fn floats(&mut self, dims: &[usize]) -> Tensor {
        let values: Vec<f32> = (0..dims.iter().product()).map(|_| self.next()).collect();
        Tensor::from_f32(dims, &values)
    }

    /// Draws from few different values, so that there are ties.
    pub fn steps(&mut self, dims: &[usize]) -> Tensor {
        let values: Vec<f32> = (0..dims.iter().product()).map(|_| (self.next() * 3.0).round()).collect();
        Tensor::from_f32(dims, &values)
    }
}

/// Builds a graph of inputs and the output that `build` adds.
pub fn graph(inputs: &[Tensor], build: impl Fn(&mut Builder, &[Value]) -> Value) -> Graph<Prim> {
    let mut b = Builder::new();
    let values: Vec<Value> =
        inputs.iter().enumerate().map(|(i, t)| b.input(&format!("x{i}"), t.ty())).collect();
    let output = build(&mut b, &values);
    b.ok().unwrap();
    b.graph_mut().add_output("y", output);
    let graph = b.finish();
    graph.check().unwrap();
    graph
}

/// Runs a program and returns its output.
pub fn run(backend: &dyn Backend, graph: &Graph<Prim>, inputs: &[Tensor]) -> Result<Tensor, BackendError> {
    let feed: Tensors = inputs.iter().enumerate().map(|(i, t)| (format!("x{i}"), t.clone())).collect();
    let plan = backend.prepare(graph, &["y".into()], &[], &SessionOptions::default())?;
    let (mut outputs, _) = plan.forward(&feed.views(), &RunControl::default())?;
    Ok(outputs.remove(&Output::from("y")).unwrap())
}

pub fn simulator() -> CudaBackend {
    CudaBackend::new(Box::<Simulator>::default())
}

/// Runs a program on the interpreted device.
pub fn attempt(
    inputs: &[Tensor],
    build: impl Fn(&mut Builder, &[Value]) -> Value,
) -> Result<Tensor, BackendError> {
    run(&simulator(), &graph(inputs, build), inputs)
}

/// Compares the device to the reference, within `bound` times the largest magnitude.
pub fn check(name: &str, inputs: &[Tensor], bound: f64, build: impl Fn(&mut Builder, &[Value]) -> Value) {
    let graph = graph(inputs, build);
    let results = run(&simulator(), &graph, inputs).unwrap_or_else(|e| panic!("{name}: {e}"));
    let expected = run(&ReferenceBackend, &graph, inputs).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!((results.dtype(), results.dims()), (expected.dtype(), expected.dims()), "{name}");
    let (results, expected) = (results.to_f64(), expected.to_f64());
    let largest = expected.iter().filter(|v| v.is_finite()).fold(0.0f64, |m, v| m.max(v.abs()));
    for (i, (f, e)) in results.iter().zip(&expected).enumerate() {
        let same = f == e || (f.is_nan() && e.is_nan()) || (f - e).abs() <= bound * largest;
        assert!(same, "{name}: element {i} is {f}, expected {e}");
    }
}

/// Compares the device to the reference, within a few units in the last place of each element.
pub fn check_elementwise(name: &str, op: Prim, inputs: &[Tensor]) {
    let graph = graph(inputs, |g, v| g.add(op.clone(), v));
    let results = run(&simulator(), &graph, inputs).unwrap_or_else(|e| panic!("{name}: {e}"));
    let expected = run(&ReferenceBackend, &graph, inputs).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!((results.dtype(), results.dims()), (expected.dtype(), expected.dims()), "{name}");
    if !results.dtype().is_float() {
        assert_eq!(results.to_i64(), expected.to_i64(), "{name}");
        return;
    }
    for (i, (f, e)) in results.to_f64().iter().zip(expected.to_f64()).enumerate() {
        let e32 = e as f32 as f64;
        let close = (f - e).abs() <= 1e-6 * e.abs() + 1e-37;
        assert!(*f == e32 || (f.is_nan() && e.is_nan()) || close, "{name}: element {i} is {f}, expected {e}");
    }
}

/// An interpreted device whose statistics a test can read while a backend owns it.
#[derive(Clone, Default)]
pub struct Watched(Arc<Mutex<Simulator>>);

impl Watched {
    pub fn new(simulator: Simulator) -> Watched {
        Watched(Arc::new(Mutex::new(simulator)))
    }

    /// Returns the statistics of all launches so far.
    pub fn totals(&self) -> Totals {
        self.0.lock().unwrap().totals.clone()
    }
}

impl Device for Watched {
    fn describe(&self) -> String {
        self.0.lock().unwrap().describe()
    }

    fn free_bytes(&self) -> Option<u64> {
        self.0.lock().unwrap().free_bytes()
    }

    fn allocate(&mut self, bytes: u64) -> Result<u64, DeviceError> {
        self.0.lock().unwrap().allocate(bytes)
    }

    fn release(&mut self, address: u64) {
        self.0.lock().unwrap().release(address);
    }

    fn upload(&mut self, address: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.0.lock().unwrap().upload(address, bytes)
    }

    fn download(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.0.lock().unwrap().download(address, bytes)
    }

    fn load(&mut self, kernel: &Kernel) -> Result<KernelId, DeviceError> {
        self.0.lock().unwrap().load(kernel)
    }

    fn prepare(&mut self, launches: Vec<Launch>) -> Result<SequenceId, DeviceError> {
        self.0.lock().unwrap().prepare(launches)
    }

    fn run(&mut self, sequence: SequenceId) -> Result<(), DeviceError> {
        self.0.lock().unwrap().run(sequence)
    }

    fn discard(&mut self, sequence: SequenceId) {
        self.0.lock().unwrap().discard(sequence);
    }
}
