//! Explains the score of a detector's best box by the pixels.

use dlbc::{
    BoxSelector, BoxTarget, DetectorHints, Explainer, Inputs, PictureOptions, Preset, Request, Target,
};

fn main() -> dlbc::Result<()> {
    let explainer = Explainer::from_onnx("fixtures/scenes/detector.onnx")
        .composite("epsilon-plus")
        .detector(DetectorHints::default())
        .build()?;
    let pixels = PictureOptions::preset(Preset::Yolo);
    let inputs = Inputs::for_model(&explainer).picture("fixtures/scenes/picture.png", pixels).build()?;
    let target = Target::Box(BoxTarget { selector: BoxSelector::Rank(0), class: None, coordinate: None });
    let request = Request::new().target(target);
    let explanation = explainer.explain_with(&inputs, &request)?;
    for detected in &explanation.boxes {
        println!(
            "box {} of class {}, score {:.2}, at {:?}",
            detected.index, detected.class, detected.score, detected.coordinates
        );
    }
    dlbc::heatmap::render(&explainer, &inputs, &explanation)?.save("target/detector.png")
}
