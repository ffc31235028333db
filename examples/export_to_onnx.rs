//! Exports model and relevance as one ONNX file, which any ONNX runtime can run.

use dlbc::{Explainer, ExportOptions, ExportSeedValue, ExportTarget};

fn main() -> dlbc::Result<()> {
    let explainer =
        Explainer::from_onnx("fixtures/digits_cnn/model.onnx").composite("epsilon-plus").build()?;
    let largest = ExportOptions {
        target: Some(ExportTarget::Argmax),
        seed_value: ExportSeedValue::One,
        multiplier: 100.0,
    };
    let path = "target/digits-explained.onnx";
    explainer.export(path, &largest)?;
    // To dlbc the exported file is a model as any other: it has the relevance among its outputs.
    let exported = Explainer::from_onnx(path).build()?;
    for output in exported.outputs() {
        println!("{}: {}", output.name, output.ty);
    }
    Ok(())
}
