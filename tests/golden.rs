//! Relevance that other systems recorded.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::*;
use dlbc_runtime::{Request, Target};

/// The models on which the closed forms of version 2 and the seed system agree.
const PARITY: &[&str] = &[
    "linear",
    "mlp_relu",
    "mlp_relu_batch2",
    "mlp_nobias",
    "mlp_tanh",
    "mlp_sigmoid",
    "mlp_silu",
    "mlp_gelu",
    "mlp_softmax",
    "mlp_one_output",
    "mlp_bn",
    "mlp_layernorm",
    "mlp_residual",
    "mlp_gate",
    "conv_plain",
    "conv_nobias",
    "conv_relu_pad",
    "conv_stride",
];

#[test]
fn dlb_v2_equals_the_recorded_relevance() {
    let Some(zoo) = zoo() else { return };
    for name in PARITY {
        let golden = npz(&zoo.join(format!("golden_dlb/{name}.npz")));
        let program = program(&zoo.join(format!("golden_dlb/{name}.onnx")), "dlb-v2");
        let inputs = golden
            .iter()
            .filter_map(|(n, t)| Some((n.strip_prefix("in/")?.to_string(), t.clone())))
            .collect();
        let got =
            explain(&cpu(program, 2), &inputs, &Request { target: Target::Argmax, ..Request::default() });
        let mut compared = 0;
        for (input, expected) in golden.iter().filter_map(|(n, t)| Some((n.strip_prefix("input_rel/")?, t))) {
            let gap = relative_l1(&got.relevance[input], expected);
            assert!(gap <= 1e-4, "{name}, input {input}: relative L1 {gap:e}");
            compared += 1;
        }
        assert!(compared > 0, "{name}: the golden has no input relevance");
    }
}
