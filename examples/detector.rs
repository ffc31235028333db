//! The pixels that the score of a detector's best box rests on.

use dlbc::{BoxTarget, DetectorHints, Explainer, Inputs, PictureOptions, Preset, Request, Target, WhichBox};

fn main() -> dlbc::Result<()> {
    let explainer = Explainer::from_onnx("fixtures/scenes/detector.onnx")
        .composite("epsilon-plus")
        .detector(DetectorHints::default())
        .build()?;
    let pixels = PictureOptions::preset(Preset::Yolo);
    let inputs = Inputs::for_model(&explainer).picture("fixtures/scenes/picture.png", pixels).build()?;
    let target = Target::Box(BoxTarget { which: WhichBox::Rank(0), class: None, coordinate: None });
    let request = Request::new().target(target);
    let explanation = explainer.explain_with(&inputs, &request)?;
    for found in &explanation.boxes {
        println!(
            "box {} of class {}, score {:.2}, at {:?}",
            found.number, found.class, found.score, found.coordinates
        );
    }
    dlbc::heatmap::render(&explainer, &inputs, &explanation)?.save("target/detector.png")
}
