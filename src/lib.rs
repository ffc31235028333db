//! Explains neural networks: for an answer of an ONNX model, the relevance of each pixel, token or feature.
//!
//! The pipeline: a model file becomes a graph of operators; a *composite* assigns each operator a rule that distributes relevance
//! among its operands; model and rules are lowered to one program of primitives; the program runs on a device. An [`Explainer`]
//! holds the program and the device, [`Inputs`] are the tensors of a run, and an [`Explanation`] has the model's outputs and the
//! relevance of every input:
//!
//! 1. [`Explainer::from_onnx`] reads the model; the builder chooses composite, output and device.
//! 2. [`Inputs::for_model`] turns pictures, texts, rows of a table and arrays into tensors of the model's types.
//! 3. [`Explainer::explain`] runs the model forward and the relevance back.
//! 4. [`heatmap`] draws the relevance, [`results`] writes it, [`eval`] measures its faithfulness, [`diff`] compares two results.
//!
//! ```
//! use dlbc::{Explainer, Inputs, PictureOptions, heatmap};
//!
//! # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/digits_cnn");
//! # let out = tempfile::tempdir().unwrap();
//! # let (model, picture) = (format!("{folder}/model.onnx"), format!("{folder}/digit.png"));
//! # let drawing = out.path().join("relevance.png");
//! let explainer = Explainer::from_onnx(model).composite("epsilon-plus").build()?;
//! let inputs = Inputs::for_model(&explainer).picture(picture, PictureOptions::default()).build()?;
//! let explanation = explainer.explain(&inputs)?;
//! println!("class {}, relevance {:?}", explanation.argmax[0], explanation.supporting.input_sums);
//! heatmap::render(&explainer, &inputs, &explanation)?.save(drawing)?;
//! # Ok::<(), dlbc::Error>(())
//! ```
//!
//! Next steps:
//!
//! - several targets at once, differences and boxes: [`Request`], [`TargetSpec`], [`Explainer::explain_targets`];
//! - evidence for an answer and against it: [`Mode::Contrastive`] and [`Explanation::opposing`];
//! - the balance of relevance at every node: the ledger of a [`Track`];
//! - a compiled program for another process: [`Explainer::save_artifact`], which the crate `dlbc_runtime` reads without the
//!   compiler;
//! - model and relevance as one ONNX file for any runtime: [`Explainer::export`];
//! - errors, and who can mend them: [`Error`] and [`ErrorKind`].
//!
//! Inputs need not be files: [`Explainer::explain_with`] takes tensors and borrowed slices by name, such as
//! `[("input", TensorView::new(&[1, 3, 224, 224], &pixels)?)]`.
//!
//! Features, all on by default: `cpu` and `cuda` are engines; `images` (with [`heatmap`]), `text`, `table` and `npz` are kinds of
//! inputs; `ndarray` converts between tensors and arrays; `eval` has the metrics; `cli` is the command-line program. An application
//! that explains pictures on the CPU needs only `default-features = false, features = ["cpu", "images"]`.
//!
//! The folder `examples` has a program for each of these. Modules that this page does not mention serve the command line and may
//! change.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[doc(hidden)]
pub mod answer;
#[doc(hidden)]
pub mod classes;
#[doc(hidden)]
pub mod content;
#[doc(hidden)]
pub mod detector;
pub mod diff;
#[doc(hidden)]
pub mod error;
#[cfg(feature = "eval")]
pub mod eval;
#[doc(hidden)]
pub mod experts;
#[doc(hidden)]
pub mod explained;
#[doc(hidden)]
pub mod explainer;
pub mod features;
pub mod folder;
#[cfg(feature = "images")]
pub mod heatmap;
pub mod input;
#[doc(hidden)]
pub mod nearest;
#[doc(hidden)]
pub mod notes;
#[doc(hidden)]
pub mod remedy;
pub mod results;
#[cfg(feature = "images")]
#[doc(hidden)]
pub mod scene;
#[doc(hidden)]
pub mod statistics;
#[doc(hidden)]
pub mod target;
pub mod tokens;
#[doc(hidden)]
pub mod wording;

pub use classes::Classes;
pub use detector::{BoxFormat, Coordinate, DetectorHints, NoObject};
pub use dlbc_artifact::{ExportOptions, ExportSeedValue, ExportTarget};
pub use dlbc_compiler::{Compiled, Mode};
pub use dlbc_ops::program::{Info, InputInfo};
pub use dlbc_runtime::{
    AsViews, BoxLayout, BoxSelector, BoxTarget, CancelToken, DType, Detected, Detector, Device, Explanation,
    MemoryReport, OutputInfo, Pixels, Position, Progress, Region, Request, SeedValue, Target, Task, Tensor,
    TensorError, TensorView, Tensors, Track, Views,
};
pub use error::{Error, ErrorKind, Result};
pub use explainer::{Explainer, ExplainerBuilder};
pub use input::{Inputs, InputsBuilder, PictureOptions, Preset, Rows, TextOptions};
pub use notes::{Level, Note};
pub use remedy::Remedy;
pub use target::{NamedTarget, TargetSpec};

/// The programs of the README and of the book, which run as doctests.
#[cfg(all(doctest, feature = "cli"))]
mod pages {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/src/reference/rust-api.md")]
    struct RustApi;
    #[cfg(feature = "npz")]
    #[doc = include_str!("../docs/src/how-to/trees.md")]
    struct Trees;
    #[cfg(feature = "ndarray")]
    #[doc = include_str!("../docs/src/how-to/embedding.md")]
    struct Embedding;
}
