//! Explains the classification of a wine, a row of a table, by its features.

use dlbc::{Explainer, Inputs, features};

fn main() -> dlbc::Result<()> {
    let explainer = Explainer::from_onnx("fixtures/tables/wine.onnx").composite("lrp-epsilon").build()?;
    let inputs = Inputs::for_model(&explainer).table_row("fixtures/tables/wine.csv", 3).build()?;
    let explanation = explainer.explain(&inputs)?;
    let Some(table) = &inputs.table else { return Ok(()) };
    for mut row in features::rows(table, &inputs.tensors, &explanation) {
        row.sort_by(|a, b| b.relevance.abs().total_cmp(&a.relevance.abs()));
        for feature in row.iter().take(5) {
            println!("{:28} = {:8}  {:8.2}", feature.name, feature.value, feature.relevance);
        }
    }
    Ok(())
}
