//! What explains a model: one session, or two where what ids look up is moved.

pub mod artifact;
pub mod embeddings;
pub mod load;

use dlbc_ops::program::{Info, Program};
use dlbc_ops::tensor::Tensor;
use dlbc_runtime::{Backend, Explanation, Request, Session, SessionOptions, Target, Tensors};

use crate::error::{Result, ResultExt};
use crate::explainer::embeddings::Split;
use crate::notes::Notes;

/// Explains a model.
pub struct Explainer {
    /// Of the model as its user sees it.
    info: Info,
    session: Session,
    lookup: Option<Lookup>,
}

struct Lookup {
    session: Session,
    /// Embeddings with the inputs of their ids.
    embeddings: Vec<(String, String)>,
}

impl Explainer {
    /// An explainer of a program; `split` when it takes two.
    ///
    /// # Errors
    /// When the backend cannot run a node.
    pub fn new(
        program: Program,
        split: Option<Split>,
        backend: &dyn Fn() -> Box<dyn Backend>,
        options: &SessionOptions,
    ) -> Result<Explainer> {
        let info = program.info.clone();
        let Some(split) = split else {
            let session = Session::new(program, backend(), options.clone())?;
            return Ok(Explainer { info, session, lookup: None });
        };
        let session = Session::new(split.rest, backend(), options.clone())?;
        let lookup = Session::new(split.lookup, backend(), options.clone())?;
        Ok(Explainer {
            info,
            session,
            lookup: Some(Lookup { session: lookup, embeddings: split.embeddings }),
        })
    }

    /// What is known of the model.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// The backend's name.
    pub fn device(&self) -> &'static str {
        self.session.backend_name()
    }

    /// Says what a run did for want of memory on the device.
    pub fn note_memory(&self, targets: usize, notes: &dyn Notes) {
        let Some((memory, at_once)) = self.session.memory() else { return };
        if memory.segments > 1 {
            notes.note(format!(
                "the device's memory does not hold all that the forward computes: the reverse computes it again, in {} \
                 segments, in {} MiB",
                memory.segments,
                memory.plan_bytes.div_ceil(1 << 20)
            ));
        }
        if at_once < targets {
            notes.note(format!(
                "the device's memory holds {at_once} of {targets} targets at once: they took {} reverses",
                targets.div_ceil(at_once)
            ));
        }
    }

    /// Whether any number of rows may be explained at once.
    pub fn takes_rows(&self) -> bool {
        self.session.takes_rows() && self.lookup.as_ref().is_none_or(|l| l.session.takes_rows())
    }

    /// Runs the model and explains its output.
    ///
    /// # Errors
    /// As [`Session::explain`].
    pub fn explain(&self, inputs: &Tensors, request: &Request) -> Result<Explanation> {
        let made = self.explain_targets(inputs, &[request.target], request)?;
        made.into_iter().next().context("an explanation")
    }

    /// Runs the model and explains its output for each of several targets.
    ///
    /// # Errors
    /// As [`Session::explain_targets`].
    pub fn explain_targets(
        &self,
        inputs: &Tensors,
        targets: &[Target],
        request: &Request,
    ) -> Result<Vec<Explanation>> {
        let Some(lookup) = &self.lookup else {
            return Ok(self.session.explain_targets(inputs, targets, request)?);
        };
        let mut moved = inputs.clone();
        moved.extend(lookup.session.predict(&own(&lookup.session, inputs))?);
        let mut made = self.session.explain_targets(&own(&self.session, &moved), targets, request)?;
        made.iter_mut().for_each(|one| lookup.give_back(one, inputs));
        Ok(made)
    }
}

/// Those of the tensors that are inputs of a session.
fn own(session: &Session, from: &Tensors) -> Tensors {
    let names = session.program().info.inputs.iter().map(|i| &i.name);
    names.filter_map(|n| Some((n.clone(), from.get(n)?.clone()))).collect()
}

impl Lookup {
    /// Gives the relevance of embeddings to the ids that looked them up.
    fn give_back(&self, made: &mut Explanation, inputs: &Tensors) {
        for (embedding, ids) in &self.embeddings {
            let (Some(relevance), Some(like)) =
                (made.supporting.relevance.remove(embedding), inputs.get(ids))
            else {
                continue;
            };
            made.supporting.inputs.remove(embedding);
            let before = made.supporting.relevance.remove(ids);
            let own = per_id(&relevance, like, before.as_ref());
            made.supporting.inputs.insert(ids.clone(), own.to_f64().iter().sum());
            made.supporting.relevance.insert(ids.clone(), own);
        }
    }
}

/// The relevance of each id: the sum over what it looked up, added to `before`.
fn per_id(relevance: &Tensor, ids: &Tensor, before: Option<&Tensor>) -> Tensor {
    let width = relevance.elems().checked_div(ids.elems()).unwrap_or(0).max(1);
    let before = before.map(Tensor::to_f64).unwrap_or_else(|| vec![0.0; ids.elems()]);
    let values = relevance.to_f64();
    let sums =
        values.chunks(width).zip(before).map(|(own, before)| (own.iter().sum::<f64>() + before) as f32);
    Tensor::from_f32(ids.dims(), &sums.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_get_what_they_looked_up() {
        let relevance = Tensor::from_f32(&[1, 2, 3], &[1.0, 2.0, 3.0, -1.0, 0.0, 0.5]);
        let ids = Tensor::from_i64(&[1, 2], &[7, 7]);
        let once = per_id(&relevance, &ids, None);
        assert_eq!((once.dims(), once.to_f32()), (&[1, 2][..], vec![6.0, -0.5]));
        assert_eq!(per_id(&relevance, &ids, Some(&once)).to_f32(), [12.0, -1.0]);
    }
}
