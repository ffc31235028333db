//! One example of each error, so that its message can be read as a user reads it.

use dlbc_ops::OpError;
use dlbc_ops::graph::Fault;
use dlbc_proto::{ModelFault, Name, ProtoError};

use super::{CompileError, UnknownWord, Unsupported};

/// Lists the variants, in the order of their definition. A variant that is missing here does not compile.
macro_rules! variants {
    ($($variant:ident),+ $(,)?) => {
        const VARIANTS: &[&str] = &[$(stringify!($variant)),+];

        fn variant(error: &CompileError) -> &'static str {
            match error {
                $(CompileError::$variant { .. } => stringify!($variant),)+
            }
        }
    };
}

variants!(
    Proto,
    Node,
    MissingTensor,
    MissingOutput,
    DuplicateResult,
    DuplicateOutput,
    Cycle,
    DuplicateTensor,
    NoOutputs,
    Input,
    RecursiveFunction,
    NoOpset,
    Unsupported,
    TooManyNodes,
    UnknownName,
    UnknownComposite,
    InvalidComposite,
    NotContrastive,
    NothingToExplain,
    BrokenGraph,
);

fn examples() -> Vec<CompileError> {
    let name = Name::new;
    let unsupported = |op: &str, reason: &str, nodes: &[&str]| Unsupported {
        op: op.into(),
        reason: reason.into(),
        symbolic: false,
        nodes: nodes.iter().map(ToString::to_string).collect(),
    };
    vec![
        CompileError::Proto(ProtoError::Model { file: name("model.onnx"), fault: ModelFault::NoGraph }),
        CompileError::Node {
            node: name("/conv1/Conv"),
            op: name("Conv"),
            source: OpError::mismatch("rank of input 1", 4, 3),
        },
        CompileError::MissingTensor {
            node: name("/fc/Gemm"),
            op: name("Gemm"),
            slot: 1,
            tensor: name("fc.weight"),
        },
        CompileError::MissingOutput(name("logits")),
        CompileError::DuplicateResult {
            node: name("/layer2/Relu"),
            op: name("Relu"),
            tensor: name("/layer1/Relu_output_0"),
        },
        CompileError::DuplicateOutput(name("logits")),
        CompileError::Cycle("`/a/Add`, `/b/Mul`".into()),
        CompileError::DuplicateTensor(name("fc.weight")),
        CompileError::NoOutputs,
        CompileError::Input {
            input: name("pixels"),
            message: "invalid shape: expected 4 dimensions for f32[batch,3,224,224], found 3".into(),
        },
        CompileError::RecursiveFunction("`local::Block → local::Block`".into()),
        CompileError::NoOpset { node: name("/gelu/Gelu"), op: name("Gelu"), domain: name("com.microsoft") },
        CompileError::Unsupported(vec![
            unsupported("NonMaxSuppression", "no importer", &["/nms"]),
            unsupported(
                "RNN",
                "activations: expected Relu, Tanh or Sigmoid, found \"Affine\"",
                &["/rnn1", "/rnn2"],
            ),
        ]),
        CompileError::TooManyNodes(100_000),
        CompileError::UnknownName {
            what: "output",
            name: "logit".into(),
            known: vec!["logits".into(), "probabilities".into()],
        },
        CompileError::UnknownComposite { name: "epsilom".into(), known: vec!["epsilon", "attnlrp"] },
        CompileError::InvalidComposite {
            unknown: Some(UnknownWord { word: "gama".into(), known: vec!["gamma".into()] }),
            place: "vision.toml:4".into(),
            message: "rule `gamma` has no parameter `gama`: expected gamma".into(),
        },
        CompileError::NotContrastive {
            composite: "vision.toml".into(),
            rules: vec![
                ("vision.toml:4".into(), "zbox".into()),
                ("vision.toml:9".into(), "alpha-beta".into()),
            ],
        },
        CompileError::NothingToExplain(name("count")),
        CompileError::BrokenGraph {
            pass: "fold_constants",
            faults: vec![Fault { invariant: 3, message: "node `/fc/Gemm` has no output".into() }],
        },
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
