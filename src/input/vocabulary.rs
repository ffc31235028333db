//! Check that a tokenizer fits a model: its ids must be rows of the model's embedding.

use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::prim::{self, Prim};
use dlbc_ops::program::Program;

use crate::error::{Error, Result};
use crate::input::Texts;
use crate::notes::Notes;
use crate::wording::visible;

/// Largest number of surplus rows of an embedding that count as padding: models round the number of rows up.
const PADDING: usize = 512;

/// Refuses token ids beyond the model's embedding, and notes a vocabulary of another size.
///
/// # Errors
/// When an id is not a row of the embedding; the error names the token and the tokenizer.
pub fn check(program: &Program, texts: &Texts, notes: &dyn Notes) -> Result<()> {
    let Some(rows) = embedding_rows(&program.graph, &texts.input) else { return Ok(()) };
    let tokenizer = format!("`{}`", visible(&texts.tokenizer.to_string_lossy()));
    for (name, tokens) in texts.names.iter().zip(&texts.tokens) {
        if let Some(token) = tokens.iter().find(|t| t.id as usize >= rows) {
            return Err(Error::invalid(format!(
                "the tokenizer {tokenizer} does not fit the model: token `{}` of {name} has id {}, expected below {rows}, \
                 the rows of the model's embedding",
                visible(&token.text),
                token.id
            )));
        }
    }
    let (more, fewer) = (texts.vocabulary > rows, texts.vocabulary + PADDING < rows);
    if more || fewer {
        notes.note(format!(
            "the tokenizer {tokenizer} has {} ids, the model's embedding {rows} rows: it may be another model's",
            texts.vocabulary
        ));
    }
    Ok(())
}

/// Returns the number of rows of the smallest embedding that the ids of an input index directly.
fn embedding_rows(graph: &Graph<Prim>, input: &str) -> Option<usize> {
    let mut same_ids: Vec<Value> = graph.find(input).into_iter().collect();
    let mut rows: Option<usize> = None;
    let mut next = 0;
    while let Some(ids) = same_ids.get(next).copied() {
        next += 1;
        for (node, slot) in graph.consumers(ids) {
            match graph.op(node) {
                Prim::Gather(prim::Gather { axis }) if slot == 1 => {
                    let table = graph.node_inputs(node).first().map(|table| graph.ty(*table).dim(*axis));
                    let table_rows = table.and_then(|dim| usize::try_from(dim.as_known()?).ok());
                    rows = rows.into_iter().chain(table_rows).min();
                }
                Prim::Cast(_) | Prim::Reshape(_) | Prim::Transpose(_) => {
                    same_ids.push(Value { node, slot: 0 });
                }
                _ => {}
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use dlbc_ops::prim::Builder;
    use dlbc_ops::tensor::{DType, Dim, Tensor, TensorType};

    use super::*;
    use crate::input::Token;
    use crate::notes::Silent;

    #[test]
    fn ids_are_rows_of_the_table() {
        let mut b = Builder::new();
        let ids = b.input("input_ids", TensorType::new(DType::I64, vec![Dim::known(1), Dim::known(2)]));
        let table = b.constant("table", Tensor::from_f32(&[3, 1], &[0.0; 3]));
        let cast = b.cast(ids, DType::I32);
        let looked_up = b.add(prim::Gather { axis: 0 }, &[table, cast]);
        b.graph_mut().add_output("y", looked_up);
        let program = Program { graph: b.finish(), info: Default::default() };
        let token =
            |id| Token { text: "x".into(), id, span: 0..1, special: false, padding: false, unknown: false };
        let texts = |id| Texts {
            input: "input_ids".into(),
            names: vec!["text 0".into()],
            tokens: vec![vec![token(2), token(id)]],
            tokenizer: PathBuf::from("t.json"),
            vocabulary: 3,
            ..Texts::default()
        };
        let notes = &Silent;
        assert!(check(&program, &texts(1), notes).is_ok());
        let error = check(&program, &texts(3), notes).unwrap_err().to_string();
        assert!(error.contains("`t.json`") && error.contains("id 3"), "{error}");
    }
}
