//! The recurrence, step by step.

use std::collections::BTreeMap;

use ndarray::{ArrayD, Axis};

use super::layout;
use super::run::run;
use crate::OpError;
use crate::prim::Scan;
use crate::tensor::Array;

/// The state after each step.
pub(super) fn scan(scan: &Scan, inputs: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
    let graph = scan.body.graph();
    let Some((result, _)) = graph.outputs().first() else {
        return Err(OpError::Invalid("a step without a result".into()));
    };
    let names: Vec<&str> = graph.inputs().iter().map(|id| graph.node(*id).name()).collect();
    let mut feed: BTreeMap<String, Array> = BTreeMap::new();
    for (name, x) in names.iter().zip(inputs) {
        feed.insert((*name).into(), (*x).clone());
    }
    let size: usize = dims[1..].iter().product();
    let mut states: Vec<f64> = vec![0.0; dims[0] * size];
    let order: Vec<usize> = if scan.reverse { (0..dims[0]).rev().collect() } else { (0..dims[0]).collect() };
    for t in order {
        for (name, x) in names.iter().zip(inputs).skip(1).take(scan.sequences) {
            feed.insert((*name).into(), element(x, t));
        }
        let mut made =
            run(graph, &feed, &[result]).map_err(|e| OpError::Invalid(format!("step {t}: {e}")))?;
        let state = made.remove(result).ok_or_else(|| OpError::Invalid("a step without a result".into()))?;
        for (to, from) in states[t * size..][..size].iter_mut().zip(layout::float(&state)?) {
            *to = *from;
        }
        feed.insert(names[0].into(), state);
    }
    layout::array(dims, states).map(Array::F)
}

/// Row `t` along the first axis.
fn element(x: &Array, t: usize) -> Array {
    fn row<T: Clone>(x: &ArrayD<T>, t: usize) -> ArrayD<T> {
        x.index_axis(Axis(0), t).to_owned()
    }
    match x {
        Array::F(x) => Array::F(row(x, t)),
        Array::I(x) => Array::I(row(x, t)),
        Array::B(x) => Array::B(row(x, t)),
    }
}
