//! One example of each error, so that its message can be read as a user reads it.

use dlbc_ops::program::Output;

use super::{BackendError, Unsupported};

/// Lists the variants, in the order of their definition. A variant that is missing here does not compile.
macro_rules! variants {
    ($($variant:ident),+ $(,)?) => {
        const VARIANTS: &[&str] = &[$(stringify!($variant)),+];

        fn variant(error: &BackendError) -> &'static str {
            match error {
                $(BackendError::$variant { .. } => stringify!($variant),)+
            }
        }
    };
}

variants!(
    MissingInput,
    UnknownOutput,
    Limit,
    Readers,
    Unsupported,
    Node,
    Device,
    DeviceLost,
    DeviceTimeout,
    DeviceMemory,
    Setting,
    Engine,
    Cancelled,
);

fn examples() -> Vec<BackendError> {
    let unsupported = |node: &str, reason: &str| Unsupported { node: node.into(), reason: reason.into() };
    vec![
        BackendError::MissingInput("input_ids".into()),
        BackendError::UnknownOutput(Output::Model("logits".into())),
        BackendError::Limit { node: "/encoder/MatMul".into(), bytes: 18432, limit: 1024 },
        BackendError::Readers { node: "/embeddings/Add".into(), readers: 70000, limit: 65536 },
        BackendError::Unsupported {
            backend: "cuda",
            nodes: vec![
                unsupported("/conv1/Conv", "expected at most 3 spatial axes, found 4"),
                unsupported("/sort/TopK", "expected arithmetic in f32, found f64"),
            ],
        },
        BackendError::Node(
            "node `/lookup/Gather` (gather): index 70 is out of range for axis 0: expected -64 to 63".into(),
        ),
        BackendError::Device("no CUDA device: expected the driver library libcuda.so.1".into()),
        BackendError::DeviceLost(
            "the device was lost: CUDA_ERROR_ILLEGAL_ADDRESS (an illegal memory access was encountered) in kernel `softmax`"
                .into(),
        ),
        BackendError::DeviceTimeout("the device did not finish within 300 s: kernel `softmax`".into()),
        BackendError::DeviceMemory("the run takes 2048 bytes of device memory: the device has 1024".into()),
        BackendError::Setting("invalid DLBC_CUDA_SYNC: expected 0 or 1, found \"yes\"".into()),
        BackendError::Engine {
            backend: "cuda",
            stage: "running",
            message: "the driver refused cuGraphUpload: CUDA_ERROR_INVALID_VALUE (invalid argument)".into(),
        },
        BackendError::Cancelled,
    ]
}

#[test]
fn errors_read_well() {
    let examples = examples();
    let names: Vec<&str> = examples.iter().map(variant).collect();
    assert_eq!(names, VARIANTS);
    let lines: Vec<String> = examples.iter().map(|error| format!("{}: {error}", variant(error))).collect();
    insta::assert_snapshot!(lines.join("\n"));
}
