//! Recurrences: the model of one step is planned once and runs for each element.

use std::cell::RefCell;
use std::sync::Arc;

use dlbc_backend::{BackendError, CancelToken, Stage};
use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::prim::{Prim, Scan};
use dlbc_ops::tensor::Tensor as Constant;
use tract_onnx::tract_core::internal as tr;
use tract_onnx::tract_core::internal::*;

use super::products::BorrowInputs;
use super::weights::Cache;
use super::wire;

thread_local! {
    /// Cancel token of the run that this thread executes.
    static TOKEN: RefCell<Option<CancelToken>> = const { RefCell::new(None) };
}

/// Runs `f` with a cancel token. Recurrences inside check it before each step.
pub fn with_token<T>(token: Option<&CancelToken>, f: impl FnOnce() -> T) -> T {
    /// Restores the token of the outer run, which a waiting thread interrupted for this one; even after a panic.
    struct Before(Option<CancelToken>);
    impl Drop for Before {
        fn drop(&mut self) {
            TOKEN.set(self.0.take());
        }
    }
    let _before = Before(TOKEN.replace(token.cloned()));
    f()
}

/// The operator of a recurrence. Its inputs are the first state, the sequences, and the captures that are not constant.
#[derive(Clone, Debug)]
pub struct Recurrence {
    step: Arc<TypedSimplePlan>,
    sequences: usize,
    reverse: bool,
    /// Dimensions of the result: time, then the state's.
    dims: Vec<usize>,
}

impl Recurrence {
    /// Plans a step. `constants` holds the constant captures, by operand, which become part of the step's operators.
    pub fn new(scan: &Scan, constants: &[Option<Constant>], dims: Vec<usize>) -> TractResult<Recurrence> {
        let mut graph: Graph<Prim> = scan.body.graph().clone();
        let mut inputs = vec![];
        for (id, constant) in scan.body.graph().inputs().iter().zip(constants) {
            match constant {
                Some(t) => graph.node_mut(*id).op = Prim::Const(t.clone()),
                None => inputs.push(Value { node: *id, slot: 0 }),
            }
        }
        let outputs = graph.outputs().iter().map(|(_, v)| *v).collect();
        let stage = Stage { nodes: graph.topological(), inputs, outputs };
        let (model, _) = wire::model(&graph, &stage, &mut Cache::default(), BorrowInputs::Forbidden)?;
        let model = model.into_optimized()?;
        let step = TypedSimplePlan::new(model)?;
        Ok(Recurrence { step, sequences: scan.sequences, reverse: scan.reverse, dims })
    }
}

// tract merges nodes with equal operators; steps are compared by identity.
impl PartialEq for Recurrence {
    fn eq(&self, other: &Recurrence) -> bool {
        Arc::ptr_eq(&self.step, &other.step)
    }
}

impl Eq for Recurrence {}

impl Op for Recurrence {
    fn name(&self) -> StaticName {
        "dlbc.Recurrence".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Recurrence {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (time, size) = (self.dims[0], self.dims[1..].iter().product::<usize>());
        let mut y = tr::Tensor::zero::<f32>(&self.dims)?;
        let mut plain = y.try_as_plain_ram_mut()?;
        let states = plain.as_slice_mut::<f32>()?;
        let mut step = self.step.spawn()?;
        let mut state = inputs[0].clone();
        let token = TOKEN.with_borrow(Clone::clone);
        for i in 0..time {
            if token.as_ref().is_some_and(CancelToken::is_cancelled) {
                return Err(BackendError::Cancelled.into());
            }
            let t = if self.reverse { time - 1 - i } else { i };
            let mut feed: TVec<TValue> = tvec!(state);
            for x in &inputs[1..=self.sequences] {
                feed.push(element(x, t)?.into());
            }
            feed.extend(inputs[self.sequences + 1..].iter().cloned());
            state = step.run(feed)?.remove(0);
            let values = state.try_as_plain_ram()?;
            states[t * size..][..size].copy_from_slice(values.as_slice::<f32>()?);
        }
        Ok(tvec!(y.into()))
    }
}

impl TypedOp for Recurrence {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(tr::DatumType::F32.fact(&self.dims)))
    }

    as_op!();
}

/// Copies element `t` of a sequence.
fn element(x: &tr::Tensor, t: usize) -> TractResult<tr::Tensor> {
    let dims = &x.shape()[1..];
    let size: usize = dims.iter().product();
    let plain = x.try_as_plain_ram()?;
    match x.datum_type() {
        tr::DatumType::F32 => tr::Tensor::from_shape(dims, &plain.as_slice::<f32>()?[t * size..][..size]),
        tr::DatumType::Bool => tr::Tensor::from_shape(dims, &plain.as_slice::<bool>()?[t * size..][..size]),
        _ => tr::Tensor::from_shape(dims, &plain.as_slice::<i64>()?[t * size..][..size]),
    }
}
