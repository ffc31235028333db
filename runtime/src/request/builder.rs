//! Builder methods of a request.

use dlbc_backend::{CancelToken, Tensors};
use dlbc_ops::tensor::Tensor;

use super::{Detector, Position, Request, SeedValue, Target, Task};

impl Request {
    /// Returns the default request.
    pub fn new() -> Request {
        Request::default()
    }

    /// Sets the units, pixels or box to explain.
    pub fn target(self, target: Target) -> Request {
        Request { target, ..self }
    }

    /// Sets the starting relevance of a target unit.
    pub fn seed_value(self, seed_value: SeedValue) -> Request {
        Request { seed_value, ..self }
    }

    /// Sets the starting relevance of each element of the explained output; see [`Request::seed`].
    pub fn seed(self, seed: impl Into<Option<Tensor>>) -> Request {
        Request { seed: seed.into(), ..self }
    }

    /// Sets the sum of the starting relevance of a row.
    pub fn multiplier(self, multiplier: f64) -> Request {
        Request { multiplier, ..self }
    }

    /// Sets the sum to which the magnitudes of each row's starting relevance are scaled.
    pub fn normalize_to(self, sum: impl Into<Option<f64>>) -> Request {
        Request { normalize_to: sum.into(), ..self }
    }

    /// Sets the meaning of the output; a run then refuses an output that does not fit it.
    pub fn task(self, task: impl Into<Option<Task>>) -> Request {
        Request { task: task.into(), ..self }
    }

    /// Sets the position of the target, for an output of shape `[batch, position, unit]`.
    pub fn position(self, position: Position) -> Request {
        Request { position, ..self }
    }

    /// Reads the output as `[position, batch, unit]`.
    pub fn positions_first(self) -> Request {
        Request { positions_first: true, ..self }
    }

    /// Sets the outputs and the layout of the boxes of a detector.
    pub fn detector(self, detector: impl Into<Option<Detector>>) -> Request {
        Request { detector: detector.into(), ..self }
    }

    /// Names the model's outputs that the explanation holds, beside the explained one; see [`Request::outputs`].
    pub fn outputs<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> Request {
        Request { outputs: Some(names.into_iter().map(Into::into).collect()), ..self }
    }

    /// Sets the baselines of integrated gradients, by input.
    pub fn baseline(self, baseline: impl Into<Option<Tensors>>) -> Request {
        Request { baseline: baseline.into(), ..self }
    }

    /// Sets the inputs whose rows Shapley values are taken against; see [`Request::background`].
    pub fn background(self, background: impl Into<Option<Tensors>>) -> Request {
        Request { background: background.into(), ..self }
    }

    /// Asks for path-dependent Shapley values of trees; see [`Request::path_dependent`].
    pub fn path_dependent(self) -> Request {
        Request { path_dependent: true, ..self }
    }

    /// Adds names of intermediate tensors whose relevance is returned.
    pub fn keep<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Request {
        self.keep.extend(names.into_iter().map(Into::into));
        self
    }

    /// Asks for the relevance of every tensor.
    pub fn keep_all(self) -> Request {
        Request { keep_all: true, ..self }
    }

    /// Asks for the ledger of the rule nodes.
    pub fn ledger(self) -> Request {
        Request { ledger: true, ..self }
    }

    /// Asks for the ledger of the modules.
    pub fn modules(self) -> Request {
        Request { modules: true, ..self }
    }

    /// Asks for the relevance of each attention head.
    pub fn heads(self) -> Request {
        Request { heads: true, ..self }
    }

    /// Asks for the relevance of each expert of a mixture.
    pub fn experts(self) -> Request {
        Request { experts: true, ..self }
    }

    /// Sets a token that cancels the run. A cancelled run ends with an error of kind
    /// [`Cancelled`](crate::ErrorKind::Cancelled), on the CPU after the current node, on a GPU after the current sequence of
    /// launches.
    pub fn cancel(self, token: &CancelToken) -> Request {
        Request { cancel: Some(token.clone()), ..self }
    }
}
