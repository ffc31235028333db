//! One example of each error, so that its message can be read as a user reads it.

use dlbc_artifact::ArtifactError;
use dlbc_backend::BackendError;
use dlbc_ops::OpError;
use dlbc_ops::graph::Fault;

use super::RuntimeError;
use crate::request::Target;

/// Lists the variants, in the order of their definition. A variant that is missing here does not compile.
macro_rules! variants {
    ($($variant:ident),+ $(,)?) => {
        const VARIANTS: &[&str] = &[$(stringify!($variant)),+];

        fn variant(error: &RuntimeError) -> &'static str {
            match error {
                $(RuntimeError::$variant { .. } => stringify!($variant),)+
            }
        }
    };
}

variants!(
    Backend,
    Load,
    NotCompiled,
    UnknownInput,
    InputType,
    Dimension,
    DependentDimension,
    NotMultiple,
    NotFinite,
    Target,
    Position,
    Task,
    NothingAbove,
    Class,
    NothingWon,
    EmptyRegion,
    BoxOutOfRange,
    TooFewBoxes,
    LabelMismatch,
    Coordinate,
    NoDetector,
    OtherOutput,
    Detector,
    OutputShape,
    UnknownOutput,
    ForwardOnly,
    Seed,
    ZeroSeed,
    Targets,
    OutputRank,
    UnknownRelevance,
    UnfitBranch,
    InvalidDimension,
    Circular,
    Shapes,
    Batch,
    AveragedComposite,
    NoBackground,
    OnlyForTrees,
    NoCover,
    NotForTrees,
    NoBaseline,
    Baseline,
    IntegerInput,
);

fn input_errors() -> Vec<RuntimeError> {
    vec![
        RuntimeError::Backend(BackendError::MissingInput("pixels".into())),
        RuntimeError::Load {
            path: "digits.dlbc.onnx".into(),
            source: ArtifactError::Damaged("expected a program with a seed, found none".into()),
        },
        RuntimeError::NotCompiled("digits.onnx".into()),
        RuntimeError::UnknownInput {
            name: "image".into(),
            known: vec!["pixels".into(), "attention_mask".into()],
        },
        RuntimeError::InputType {
            input: "pixels".into(),
            expected: "f32[batch,1,8,8]".into(),
            actual: "f32[8,8]".into(),
        },
        RuntimeError::Dimension {
            input: "attention_mask".into(),
            symbol: "sequence".into(),
            actual: 12,
            other: "input_ids".into(),
            expected: 16,
        },
        RuntimeError::DependentDimension {
            input: "attention_mask".into(),
            formula: "past + sequence".into(),
            actual: 12,
            expected: Some(16),
        },
        RuntimeError::NotMultiple { input: "pixels".into(), axis: 2, actual: 400, factor: 32 },
        RuntimeError::NotFinite { input: "pixels".into(), value: f32::NAN, index: vec![0, 0, 3, 5] },
    ]
}

fn target_errors() -> Vec<RuntimeError> {
    let (logits, scores, mask) = (|| "logits".to_string(), || "scores".to_string(), || "mask".to_string());
    let (logits_shape, scores_shape, mask_shape) = (|| vec![1, 10], || vec![1, 8], || vec![1, 3, 8, 8]);
    vec![
        RuntimeError::Target { target: 12, units: 10, output: logits(), shape: logits_shape() },
        RuntimeError::Position { position: -7, positions: 6, output: logits(), shape: vec![1, 6, 512] },
        RuntimeError::Task {
            task: "next-token",
            expected: "[batch, position, token]",
            output: logits(),
            shape: logits_shape(),
        },
        RuntimeError::NothingAbove { output: logits(), shape: logits_shape(), row: 0, largest: 0.25 },
        RuntimeError::Class { class: 5, classes: 3, output: mask(), shape: mask_shape() },
        RuntimeError::NothingWon {
            class: 2,
            row: 0,
            output: mask(),
            shape: mask_shape(),
            counts: "class 0 wins 60, class 1 wins 4".into(),
        },
        RuntimeError::EmptyRegion { output: mask(), shape: mask_shape(), height: 8, width: 8 },
        RuntimeError::BoxOutOfRange { index: 9, count: 8, output: scores(), shape: scores_shape() },
        RuntimeError::TooFewBoxes {
            requested: "2 boxes of class 4".into(),
            row: 0,
            output: scores(),
            shape: scores_shape(),
            actual: ", found classes 1, 3".into(),
        },
        RuntimeError::LabelMismatch {
            index: 3,
            label: 1,
            class: 4,
            output: "labels".into(),
            shape: scores_shape(),
        },
        RuntimeError::Coordinate(4),
        RuntimeError::NoDetector,
        RuntimeError::OtherOutput { explained: "boxes".into(), expected: scores() },
        RuntimeError::Detector { output: "boxes".into(), shape: vec![1, 9], readings: String::new() },
        RuntimeError::OutputShape {
            output: "boxes".into(),
            expected: "[batch, box, 4]".into(),
            shape: vec![1, 9],
        },
        RuntimeError::UnknownOutput { name: "logit".into(), known: vec![logits(), "probabilities".into()] },
        RuntimeError::ForwardOnly,
        RuntimeError::Seed { output: logits(), expected: "shape [1, 10]".into(), actual: "[10]".into() },
        RuntimeError::ZeroSeed { output: logits(), row: 0, total: 1.0 },
        RuntimeError::Targets(vec![Target::Index(3), Target::Index(3)]),
        RuntimeError::OutputRank { output: mask(), shape: mask_shape() },
    ]
}

fn run_errors() -> Vec<RuntimeError> {
    let smoothgrad = || "smoothgrad".to_string();
    vec![
        RuntimeError::UnknownRelevance { name: "/conv1/Conv_output_0".into(), known: vec!["pixels".into()] },
        RuntimeError::UnfitBranch { node: "/decoder/If".into() },
        RuntimeError::InvalidDimension { symbol: "kept".into(), node: "/slice/Range".into(), value: -2 },
        RuntimeError::Circular { symbols: "kept, selected".into() },
        RuntimeError::Shapes(vec![Fault {
            invariant: 7,
            message: "node `/fc/Gemm`: shapes [1,12] and [16,10] do not fit".into(),
        }]),
        RuntimeError::Batch(OpError::Axis { axis: 2, rank: 2 }),
        RuntimeError::AveragedComposite { rules: smoothgrad() },
        RuntimeError::NoBackground { rules: "treeshap".into(), min: 20, rows: 3 },
        RuntimeError::OnlyForTrees { rules: "epsilon".into(), setting: "background" },
        RuntimeError::NoCover { rules: "treeshap".into(), row: 3 },
        RuntimeError::NotForTrees { rules: "treeshap".into(), setting: "multiplier" },
        RuntimeError::NoBaseline { rules: "epsilon".into() },
        RuntimeError::Baseline {
            input: "pixels".into(),
            expected: "[1, 1, 8, 8]".into(),
            actual: "[8, 8]".into(),
        },
        RuntimeError::IntegerInput {
            rules: smoothgrad(),
            input: "input_ids".into(),
            ty: "i64[batch,sequence]".into(),
        },
    ]
}

#[test]
fn errors_read_well() {
    let examples: Vec<RuntimeError> =
        input_errors().into_iter().chain(target_errors()).chain(run_errors()).collect();
    let names: Vec<&str> = examples.iter().map(variant).collect();
    assert_eq!(names, VARIANTS);
    let lines: Vec<String> = examples.iter().map(|error| format!("{}: {error}", variant(error))).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn lists_and_ranges_read_well() {
    let output = |readings: &str| RuntimeError::Detector {
        output: "boxes".into(),
        shape: vec![1, 9, 6],
        readings: readings.into(),
    };
    let names = (0..10).map(|layer| format!("layer{layer}")).collect();
    let examples = [
        output("9 boxes of 2 classes (yolo-rows), 6 boxes of 5 classes (yolo)"),
        RuntimeError::UnknownOutput { name: "logit".into(), known: vec![] },
        RuntimeError::UnknownOutput { name: "logit".into(), known: names },
        RuntimeError::Targets(vec![]),
        RuntimeError::Target { target: 0, units: 0, output: "logits".into(), shape: vec![1, 0] },
        RuntimeError::BoxOutOfRange { index: 0, count: 0, output: "scores".into(), shape: vec![1, 0] },
        RuntimeError::NotMultiple { input: "pixels".into(), axis: 2, actual: 20, factor: 32 },
        RuntimeError::DependentDimension {
            input: "pixels".into(),
            formula: "height/2".into(),
            actual: 3,
            expected: None,
        },
    ];
    let lines: Vec<String> = examples.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"));
}
