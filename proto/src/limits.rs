//! What a model may cost before it is refused.

/// Bounds on what a model file may make this crate read, allocate or open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the model file and its external files together. The model file itself is limited to
    /// 2 GiB by its format. The decoded messages, without weights, may take as much, or 256 MiB.
    pub max_model_bytes: u64,
    /// Bytes of one tensor, after it is resolved.
    pub max_tensor_bytes: u64,
    /// Nodes of all graphs, subgraphs and functions together.
    pub max_nodes: usize,
    /// Graphs nested in one another, the outermost included.
    pub max_depth: usize,
    /// Whether external data may lie behind symbolic links and in files with several hard links,
    /// as in content-addressed download caches. Links may then lead out of the model's folder.
    pub allow_links: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_model_bytes: 16 << 30,
            max_tensor_bytes: 8 << 30,
            max_nodes: 1_000_000,
            max_depth: 32,
            allow_links: false,
        }
    }
}
