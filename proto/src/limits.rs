//! Limits of model files.

/// Limits of the memory and files that reading a model may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size in bytes of the model file and its external files together; 16 GiB by default. The format limits the model
    /// file itself to 2 GiB. The decoded messages without weights may take the same size, or 256 MiB if that is more.
    pub max_model_bytes: u64,
    /// Size in bytes of a resolved tensor; 8 GiB by default.
    pub max_tensor_bytes: u64,
    /// Number of nodes of all graphs, subgraphs and functions together; one million by default.
    pub max_nodes: usize,
    /// Nesting of graphs, including the main graph; 32 by default.
    pub max_depth: usize,
    /// Permits external data behind symbolic links and in files with several hard links, as in content-addressed
    /// download caches. Links may then lead out of the model's folder. False by default.
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
