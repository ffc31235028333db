//! Options of a compilation.

use std::collections::BTreeMap;

use dlbc_ops::program::Mode;

/// Name of the composite that stands for Shapley values of trees.
pub const TREESHAP: &str = "treeshap";

/// Options of a compilation. The default explains the first float output by the composite `dlb`.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of a built-in composite; ignored when `rules_file` is set.
    pub rules: String,
    /// Name and TOML text of the user's own composite file.
    pub rules_file: Option<(String, String)>,
    /// Number of relevance tracks: one, or a supporting and an opposing one.
    pub mode: Mode,
    /// Dimensions of inputs, by input name; -1 keeps a dimension symbolic.
    pub shapes: BTreeMap<String, Vec<i64>>,
    /// Name of the explained tensor, an output or an inner tensor. `None` stands for the first float output.
    pub output: Option<String>,
    /// Tensors that become inputs of the program; the nodes that compute them are left out.
    pub stop_at: Vec<String>,
    /// Integer inputs whose values carry relevance once they are cast to float.
    pub live: Vec<String>,
    /// Inputs that carry no relevance.
    pub no_relevance: Vec<String>,
    /// Largest constant that the import may compute, in bytes: 8 GiB unless set.
    pub max_tensor_bytes: u64,
    /// Largest number of nodes after functions and loops are expanded: a million unless set.
    pub max_nodes: usize,
    /// Name of the pass after which the graph is dumped as text; `import` stands for the graph before the first pass.
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
    /// Returns whether Shapley values of trees are asked for, which have no composite.
    pub fn explains_trees(&self) -> bool {
        self.rules_file.is_none() && self.rules == TREESHAP
    }

    /// Reads the composite that these options choose.
    ///
    /// # Errors
    /// For an unknown name, a mistake in the file, and a composite without contrastive form in [`Mode::Contrastive`].
    pub fn composite(&self) -> Result<crate::Composite, crate::CompileError> {
        let composite = match &self.rules_file {
            Some((file, text)) => crate::Composite::parse(text, file)?,
            None => crate::Composite::named(&self.rules)?,
        };
        composite.check_mode(self.mode)?;
        Ok(composite)
    }
}
