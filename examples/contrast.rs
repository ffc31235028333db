//! Explains why one digit and not another: by two tracks of relevance, and by the difference of two classes.

use dlbc::{Explainer, Inputs, Mode, Request, Target};

fn main() -> dlbc::Result<()> {
    let model = "fixtures/digits_cnn/model.onnx";
    let contrastive = Explainer::from_onnx(model).mode(Mode::Contrastive).build()?;
    let inputs = Inputs::for_model(&contrastive).npz("fixtures/digits_cnn/input.npz").build()?;
    let explanation = contrastive.explain(&inputs)?;
    for track in explanation.tracks() {
        println!("{:.2} of {:.2} reached the pixels", track.input_sums["input"], track.seed_sum);
    }
    let plain = Explainer::from_onnx(model).composite("lrp-epsilon").build()?;
    let request = Request::new().target(Target::Difference(3, 5));
    let difference = plain.explain_with(&inputs, &request)?;
    println!("3 minus 5 of {} digits: seed of {:?}", difference.argmax.len(), difference.seed.dims());
    Ok(())
}
