//! The three graphs of six tiny models: canonical model, relevance graph, lowered program.

use crate::common::root;
use dlbc_compiler::{Options, compile};
use dlbc_ops::program::Output;

fn stages(path: &str) -> String {
    let model =
        dlbc_proto::read_model(&root().join("fixtures").join(path), &dlbc_proto::Limits::default()).unwrap();
    let c = compile(&model, &Options::default()).unwrap();
    // The program without its ledger: three scalars a rule would bury the rest.
    let mut program = c.program.graph.clone();
    let ledger = |output: &Output| matches!(output, Output::Ledger { .. });
    let outputs = program.outputs().iter().filter(|(output, _)| !ledger(output)).cloned().collect();
    program.set_outputs(outputs);
    program.remove_unused();
    format!("{}\n{}\n{}", c.model, c.relevance, program)
}

macro_rules! snapshot {
    ($name:ident, $path:literal) => {
        #[test]
        fn $name() {
            insta::assert_snapshot!(stages($path));
        }
    };
}

snapshot!(digits_cnn, "digits_cnn/model.onnx");
snapshot!(tabular_mlp, "tabular_mlp/model.onnx");
snapshot!(mlp_bn_softmax, "tiny/mlp_bn_softmax.onnx");
snapshot!(mlp_mixed, "tiny/mlp_mixed.onnx");
snapshot!(textcnn, "tiny/textcnn.onnx");
snapshot!(resnet_bottleneck, "tiny/resnet_bottleneck.onnx");
