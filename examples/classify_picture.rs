//! Explains the three most probable classes of a picture: relevance for and against each, and a heat map.

use dlbc::{Explainer, Inputs, PictureOptions, Request, TargetSpec, heatmap};

fn main() -> dlbc::Result<()> {
    let explainer =
        Explainer::from_onnx("fixtures/digits_cnn/model.onnx").composite("epsilon-plus").build()?;
    let picture = "fixtures/digits_cnn/digit.png";
    let inputs = Inputs::for_model(&explainer).picture(picture, PictureOptions::default()).build()?;
    for note in &inputs.notes {
        eprintln!("{note}");
    }
    let targets = "top3".parse::<TargetSpec>()?.resolve(&explainer.classes()?)?;
    let each: Vec<_> = targets.iter().map(|named| named.target).collect();
    // All three targets share one forward and one reverse.
    let explanations = explainer.explain_targets(&inputs, &each, &Request::default())?;
    for (named, explanation) in targets.iter().zip(&explanations) {
        let pixels = explanation.net("input").map(|map| map.to_f64()).unwrap_or_default();
        let sum = |sign: f64| pixels.iter().map(|v| (v * sign).max(0.0)).sum::<f64>();
        println!(
            "{}: digit {}, {:.1} for, {:.1} against",
            named.name,
            explanation.targets[0],
            sum(1.0),
            sum(-1.0)
        );
    }
    heatmap::render(&explainer, &inputs, &explanations[0])?.save("target/classify_picture.png")
}
