//! Tensors larger than the staging buffer, behind the fake driver.

#![cfg(target_os = "linux")]

use crate::machine::Machine;
use dlbc_cuda::open;
use dlbc_ops::prim::{Binary, Builder, Prim};
use dlbc_ops::program::Output;
use dlbc_ops::tensor::Tensor;
use dlbc_runtime::{AsViews, Backend, RunControl, SessionOptions, Tensors};

/// Elements of a tensor of 20 MiB and some words; the buffer has 16 MiB.
const ELEMENTS: usize = (5 << 20) + 7;

/// Values that differ from element to element, and by `seed` everywhere.
fn values(seed: u32) -> Vec<f32> {
    (0..ELEMENTS as u32).map(|i| ((i.wrapping_mul(2_654_435_761) ^ seed) >> 12) as f32).collect()
}

/// Weights, inputs and outputs pass through the buffer in pieces, several times without a wait in between.
#[test]
fn tensors_beyond_the_staging_buffer_arrive_whole() {
    Machine::new("").run("transfers::tensors_beyond_the_staging_buffer_arrive_whole", || {
        let tensor = |seed: u32| Tensor::from_f32(&[ELEMENTS], &values(seed));
        let mut b = Builder::new();
        let x = b.input("x", tensor(0).ty());
        let w = b.constant("w", tensor(1));
        let y = b.add(Prim::Binary(Binary::Sub), &[x, w]);
        b.graph_mut().add_output("y", y);
        let backend = open(0).unwrap_or_else(|e| panic!("{e}"));
        let options = SessionOptions::default();
        let plan = backend.prepare(&b.finish(), &["y".into()], &[], &options).unwrap();
        let weights = values(1);
        for run in 0..2 {
            let inputs = Tensors::from([("x".to_string(), tensor(10 + run))]);
            let (mut outputs, _) = plan.forward(&inputs.views(), &RunControl::default()).unwrap();
            let actual = outputs.remove(&Output::from("y")).unwrap().to_f32();
            for (i, (value, x)) in actual.iter().zip(values(10 + run)).enumerate() {
                assert_eq!(*value, x - weights[i], "run {run}, element {i}");
            }
        }
    });
}
