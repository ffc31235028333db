//! One example of each error, so that its message can be read as a user reads it.

use dlbc_proto::{ModelFault, Name, ProtoError};

use crate::ArtifactError;

/// Lists the variants, in the order of their definition. A variant that is missing here does not compile.
macro_rules! variants {
    ($($variant:ident),+ $(,)?) => {
        const VARIANTS: &[&str] = &[$(stringify!($variant)),+];

        fn variant(error: &ArtifactError) -> &'static str {
            match error {
                $(ArtifactError::$variant { .. } => stringify!($variant),)+
            }
        }
    };
}

variants!(Proto, Lowering, Taken, Seed, Target, Repeated, Trees, Reserved, Node, Damaged, Format);

fn examples() -> Vec<ArtifactError> {
    let name = Name::new;
    vec![
        ArtifactError::Proto(ProtoError::Model { file: name("mlp.dlbc.onnx"), fault: ModelFault::NoGraph }),
        ArtifactError::Lowering {
            node: name("/pool/MaxPool"),
            op: "max_pool".into(),
            reason: "expected elements of type f32, found i64".into(),
        },
        ArtifactError::Taken { name: name("pixels") },
        ArtifactError::Seed { output: name("mask"), ty: "f32[1,4,8,8]".into() },
        ArtifactError::Target {
            output: name("logits"),
            reason: "target 12 is out of range: expected -10 to 9".into(),
        },
        ArtifactError::Repeated {
            rules: name("smoothgrad"),
            reason: "expected integrated gradients, found noise that each run draws anew".into(),
        },
        ArtifactError::Trees { rules: name("treeshap") },
        ArtifactError::Reserved { name: name("target") },
        ArtifactError::Node {
            node: name("/fc1/Gemm"),
            fault: "unknown primitive `gemn`: expected `gemm`, `matmul`".into(),
        },
        ArtifactError::Damaged("expected a program with a seed, found none".into()),
        ArtifactError::Format { expected: "1", actual: name("2") },
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
