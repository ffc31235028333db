//! Methods that set a request's fields.

use dlbc_backend::{CancelToken, Tensors};

use super::{Detector, Position, Request, Start, Target, Task};

impl Request {
    /// The default request.
    pub fn new() -> Request {
        Request::default()
    }

    /// Sets the units, pixels or box to explain.
    pub fn target(self, target: Target) -> Request {
        Request { target, ..self }
    }

    /// Sets the starting relevance of a target unit.
    pub fn start(self, start: Start) -> Request {
        Request { start, ..self }
    }

    /// Sets the starting relevance of a row.
    pub fn multiplier(self, multiplier: f64) -> Request {
        Request { multiplier, ..self }
    }

    /// Sets the sum to which the magnitudes of each row's starting relevance are scaled.
    pub fn normalize_to(self, sum: impl Into<Option<f64>>) -> Request {
        Request { normalize_to: sum.into(), ..self }
    }

    /// Sets the meaning of the output; an output that it does not fit is refused.
    pub fn task(self, task: impl Into<Option<Task>>) -> Request {
        Request { task: task.into(), ..self }
    }

    /// Sets the position of the target, for an output of shape [batch, position, unit].
    pub fn position(self, position: Position) -> Request {
        Request { position, ..self }
    }

    /// Reads the output as [position, batch, unit].
    pub fn positions_first(self) -> Request {
        Request { positions_first: true, ..self }
    }

    /// Sets the reading of the outputs as boxes.
    pub fn detector(self, detector: impl Into<Option<Detector>>) -> Request {
        Request { detector: detector.into(), ..self }
    }

    /// Sets baselines of integrated gradients, by input.
    pub fn baseline(self, baseline: impl Into<Option<Tensors>>) -> Request {
        Request { baseline: baseline.into(), ..self }
    }

    /// Adds tensors whose relevance is returned.
    pub fn keep<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Request {
        self.keep.extend(names.into_iter().map(Into::into));
        self
    }

    /// Returns the relevance of every tensor.
    pub fn keep_all(self) -> Request {
        Request { keep_all: true, ..self }
    }

    /// Returns the ledger.
    pub fn ledger(self) -> Request {
        Request { ledger: true, ..self }
    }

    /// Returns the ledger by module.
    pub fn modules(self) -> Request {
        Request { modules: true, ..self }
    }

    /// Returns the relevance of each head of the attentions.
    pub fn heads(self) -> Request {
        Request { heads: true, ..self }
    }

    /// Returns the relevance that each expert received.
    pub fn experts(self) -> Request {
        Request { experts: true, ..self }
    }

    /// Lets a token cancel the run: it ends with an error of kind
    /// [`Cancelled`](crate::ErrorKind::Cancelled) within a node on the CPU, within a sequence of launches on a GPU.
    pub fn cancel(self, token: &CancelToken) -> Request {
        Request { cancel: Some(token.clone()), ..self }
    }
}
