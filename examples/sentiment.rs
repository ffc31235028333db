//! Explains the classification of two film reviews by their words. The tokenizer file lies beside the model.

use dlbc::{Explainer, Inputs, TextOptions, tokens};

fn main() -> dlbc::Result<()> {
    let explainer =
        Explainer::from_onnx("fixtures/sentiment_bert/model.onnx").composite("attnlrp").build()?;
    let reviews = ["A waste of two hours.", "A warm and funny film."];
    let inputs = Inputs::for_model(&explainer).texts(&reviews, TextOptions::default()).build()?;
    let explanation = explainer.explain(&inputs)?;
    let Some(texts) = &inputs.texts else { return Ok(()) };
    for ((text, row), class) in
        texts.texts.iter().zip(tokens::rows(texts, &explanation)).zip(&explanation.argmax)
    {
        println!("{text} (class {class})");
        for token in row.iter().filter(|t| !t.special) {
            println!("  {:10} {:8.2}", token.text, token.relevance);
        }
    }
    Ok(())
}
