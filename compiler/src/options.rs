//! What a compilation may be told.

use std::collections::BTreeMap;

use dlbc_ops::program::Mode;

/// Options of a compilation.
#[derive(Clone, Debug)]
pub struct Options {
    /// The composite's name.
    pub rules: String,
    /// The composite as TOML, with the name of its file; counts before `rules`.
    pub rules_file: Option<(String, String)>,
    /// One track of relevance, or two.
    pub mode: Mode,
    /// Fixed dimensions of inputs by name; -1 keeps one symbolic.
    pub shapes: BTreeMap<String, Vec<i64>>,
    /// The tensor that is explained, an output or any other; the first output when `None`.
    pub output: Option<String>,
    /// Tensors that become inputs: what makes them is left out.
    pub stop_at: Vec<String>,
    /// Integer inputs whose values, cast to float, carry relevance.
    pub live: Vec<String>,
    /// Inputs that carry no relevance.
    pub no_relevance: Vec<String>,
    /// A tensor above this many bytes is refused.
    pub max_tensor_bytes: u64,
    /// More nodes than this, functions expanded, are refused.
    pub max_nodes: usize,
    /// Keep the text of the graph after the pass of this name (or `import`).
    pub dump_after: Option<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            rules: "dlb".into(),
            rules_file: None,
            mode: Mode::Default,
            shapes: BTreeMap::new(),
            output: None,
            stop_at: vec![],
            live: vec![],
            no_relevance: vec![],
            max_tensor_bytes: 8 << 30,
            max_nodes: 1_000_000,
            dump_after: None,
        }
    }
}

impl Options {
    /// The composite that is asked for.
    ///
    /// # Errors
    /// When there is none of its name, its file has a mistake, or it has no contrastive form and that is asked for.
    pub fn composite(&self) -> Result<crate::Composite, crate::CompileError> {
        let composite = match &self.rules_file {
            Some((file, text)) => crate::Composite::parse(text, file)?,
            None => crate::Composite::named(&self.rules)?,
        };
        composite.check_mode(self.mode)?;
        Ok(composite)
    }
}
