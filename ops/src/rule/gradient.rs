//! Gradient rule: the vector-Jacobian product of a node, by differentiation of the primitives that it lowers to.
//!
//! The rule passes derivatives; multiplied by the values (`times_input` of a composite) they are relevance. Options
//! hold divisors constant (the statistics of a normalisation), divide the derivative among the live factors of a
//! product, or hold gates constant (a softmax that weighs values). Source: reverse-mode differentiation; the options
//! are the rules of [achtibat2024] in a graph without biases.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Deserialize;

use super::options::options;
use super::{Flow, Formula, Gates, NodeFacts, Policy, Receives, Rule, Sharing};
use crate::graph::Value;
use crate::op::role::{Role, Site};
use crate::prim::{Binary, Builder, Prim, adjoint};

options! {
    /// Treatment of divisors in a derivative.
    Divisors, "divisors" {
        /// The divisor is differentiated.
        Differentiated = "differentiated",
        /// The divisor is held constant.
        Constant = "constant",
    }
}

options! {
    /// Treatment of several live operands of a product.
    Factors, "factors" {
        /// Each operand takes its full derivative.
        All = "all",
        /// Each of `n` live operands takes the `n`-th part of its derivative.
        Share = "share",
    }
}

/// Gradient rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gradient {
    /// Treatment of divisors.
    pub divisors: Divisors,
    /// Treatment of several live operands.
    pub factors: Factors,
    /// Treatment of gates. With [`Gates::Give`], an operand that is the only one besides gates takes all.
    pub gates: Gates,
    /// Operand that alone is differentiated, while the others are held constant.
    #[serde(skip)]
    pub only: Option<usize>,
}

impl Default for Gradient {
    fn default() -> Gradient {
        Gradient {
            divisors: Divisors::Differentiated,
            factors: Factors::All,
            gates: Gates::Share,
            only: None,
        }
    }
}

impl Policy for Gradient {
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
        let differentiates = match role {
            Role::Embedding | Role::Recurrence | Role::Attention(_) => false,
            Role::Linear(_)
            | Role::Pool(_)
            | Role::Bilinear(_)
            | Role::Sum { .. }
            | Role::Product
            | Role::Scaled
            | Role::Elementwise
            | Role::Normalize
            | Role::Select(_)
            | Role::Rearrange(_)
            | Role::NoRelevance => true,
        };
        differentiates.then(|| Formula::one_track(|b, site, r| self.flow(b, site, r)))
    }

    fn receives(&self) -> Receives {
        Receives::All
    }

    fn sharing(&self, _: &[bool]) -> Sharing {
        Sharing::Derivative
    }

    fn for_node(&self, node: &dyn NodeFacts) -> Rule {
        let values = match self.gates {
            Gates::Give => self.gates.values(node),
            Gates::Share => vec![],
        };
        let mut positions = (0..values.len()).filter(|k| values[*k]);
        let only = positions.next().filter(|_| positions.next().is_none());
        Gradient { only, ..*self }.into()
    }

    fn counts_constants(&self) -> bool {
        true
    }
}

impl Gradient {
    fn flow(&self, b: &mut Builder, site: &Site, r: Value) -> Flow {
        let mut operands: Vec<Option<Value>> = vec![None; site.inputs.len()];
        let takes = |k: usize| site.live[k] && self.only.is_none_or(|only| only == k);
        let leaves: HashSet<Value> =
            (0..site.inputs.len()).filter(|k| takes(*k)).map(|k| site.inputs[k]).collect();
        // An operand that carries no relevance is a constant, also if it was computed from one that does.
        let constants: HashSet<Value> =
            (0..site.inputs.len()).filter(|k| !site.live[*k]).map(|k| site.inputs[k]).collect();
        let order = between(b, site.y(), &leaves, &constants);
        let depends: HashSet<Value> = order.iter().copied().chain(leaves.iter().copied()).collect();
        let mut adjoints: HashMap<Value, Value> = HashMap::from([(site.y(), r)]);
        for v in order.iter().rev() {
            let Some(r) = adjoints.get(v).copied() else { continue };
            let inputs = b.graph().node_inputs(v.node);
            let mut requested: Vec<bool> = inputs.iter().map(|x| depends.contains(x)).collect();
            if self.divisors == Divisors::Constant
                && matches!(b.graph().op(v.node), Prim::Binary(Binary::Div))
            {
                requested[1] = false;
            }
            match adjoint(b, v.node, r, &requested) {
                Ok(shares) => {
                    for (x, share) in inputs.iter().zip(shares) {
                        let Some(share) = share else { continue };
                        let sum = adjoints.get(x).copied().map_or(share, |sum| b.plus(sum, share));
                        adjoints.insert(*x, sum);
                    }
                }
                Err(e) => b.fail(e),
            }
        }
        let count = if self.factors == Factors::Share { leaves.len().max(1) } else { 1 };
        let mut assigned = HashSet::new();
        for (k, x) in site.inputs.iter().enumerate() {
            // An operand that occurs twice takes the sum once.
            if !takes(k) || !assigned.insert(*x) {
                continue;
            }
            operands[k] = adjoints.get(x).copied().map(|g| match count {
                1 => g,
                n => b.scale(g, 1.0 / n as f64),
            });
        }
        Flow { operands, absorbed: vec![] }
    }
}

/// Returns the values between the leaves and `y` that depend on a leaf, in topological order, without the leaves and without what only
/// `constants` need.
fn between(b: &Builder, y: Value, leaves: &HashSet<Value>, constants: &HashSet<Value>) -> Vec<Value> {
    let graph = b.graph();
    let mut depends: HashMap<Value, bool> = HashMap::new();
    let mut order = vec![];
    let mut stack = vec![(y, false)];
    while let Some((v, done)) = stack.pop() {
        if done {
            let any =
                graph.node_inputs(v.node).iter().any(|x| leaves.contains(x) || depends.get(x) == Some(&true));
            depends.insert(v, any);
            if any {
                order.push(v);
            }
        } else if !leaves.contains(&v) && !constants.contains(&v) && !depends.contains_key(&v) {
            depends.insert(v, false);
            stack.push((v, true));
            stack.extend(graph.node_inputs(v.node).into_iter().map(|x| (x, false)));
        }
    }
    order
}

impl fmt::Display for Gradient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.divisors, self.factors) {
            _ if self.only.is_some() => "gradient(values)",
            (Divisors::Differentiated, Factors::All) => "gradient",
            (Divisors::Constant, Factors::All) => "gradient(divisors constant)",
            (Divisors::Differentiated, Factors::Share) => "gradient(shared)",
            (Divisors::Constant, Factors::Share) => "gradient(divisors constant, shared)",
        })
    }
}

#[cfg(test)]
mod tests {
    //! Derivatives against differences: `Σ g dx = Σ r (f(x + h dx) - f(x - h dx)) / 2h`.

    use super::*;
    use crate::op::{
        Activation, Add, Arithmetic, AveragePool, Concat, Conv, ConvTranspose, CumSum, Div, Expand, Extremum,
        Function, Gather, LayerNorm, MatMul, MaxPool, Mul, Op, Reduce, ReduceKind, Reshape, Select, Slice,
        Softmax, Sub, Transpose, Trigonometric,
    };
    use crate::prim::{ConvGeometry, Unary};
    use crate::rule::tests::{Layer, data, floats, ints, known, random, window};
    use crate::tensor::{Array, Dim, Shape};

    const STEP: f64 = 1e-5;

    fn shape(dims: &[usize]) -> Shape {
        Shape(known(dims))
    }

    fn check(op: impl Into<Op>, inputs: &[&Array], live: &[bool]) {
        let mut layer = Layer::new(op, inputs, live, Rule::from(Gradient::default()));
        let r = random(layer.y().dims(), 77);
        let actual = layer.explain(&r);
        for k in (0..inputs.len()).filter(|k| live[*k]) {
            let direction = random(inputs[k].dims(), 78);
            let analytic: f64 =
                data(actual.operand(k)).iter().zip(data(&direction)).map(|(g, d)| g * d).sum();
            let mut moved = |by: f64| -> f64 {
                let values: Vec<f64> =
                    data(inputs[k]).iter().zip(data(&direction)).map(|(x, d)| x + by * d).collect();
                layer.inputs[k] = floats(inputs[k].dims(), &values);
                let y = layer.y();
                layer.inputs[k] = inputs[k].clone();
                data(&y).iter().zip(data(&r)).map(|(y, r)| y * r).sum()
            };
            let numeric = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            let size = 1.0 + numeric.abs();
            assert!(
                (analytic - numeric).abs() <= 1e-6 * size,
                "{} operand {k}: {numeric}, {analytic}",
                layer.op.title()
            );
        }
    }

    #[test]
    fn derivatives_of_elementwise_functions() {
        // Kinks lie at -3, -2.5, -1, 0, 1 and 3, none of which a random value meets.
        let x = random(&[4, 6], 3);
        let positive = floats(x.dims(), &data(&x).iter().map(|v| v.abs() + 0.1).collect::<Vec<_>>());
        for f in [
            Unary::Abs,
            Unary::Neg,
            Unary::Exp,
            Unary::Erf,
            Unary::Tanh,
            Unary::Sigmoid,
            Unary::Relu,
            Unary::LeakyRelu { alpha: 0.3 },
            Unary::Elu { alpha: 0.7 },
            Unary::HardSigmoid { alpha: 0.4, beta: 0.5 },
            Unary::HardSwish,
            Unary::Softplus,
            Unary::Softsign,
            Unary::Clip { min: Some(-0.5), max: Some(0.4) },
            Unary::Sin,
            Unary::Cos,
        ] {
            check(Activation { f: Function::Unary(f) }, &[&x], &[true]);
        }
        for f in [Unary::Log, Unary::Sqrt, Unary::Reciprocal] {
            check(Activation { f: Function::Unary(f) }, &[&positive], &[true]);
        }
        for f in [
            Function::Gelu { tanh: false },
            Function::Gelu { tanh: true },
            Function::Silu { alpha: 1.7 },
            Function::Mish,
            Function::Selu { alpha: 1.6, gamma: 1.1 },
            Function::Celu { alpha: 0.8 },
            Function::Trigonometric(Trigonometric::Tan),
            Function::Trigonometric(Trigonometric::Atan),
            Function::Trigonometric(Trigonometric::Sinh),
            Function::Trigonometric(Trigonometric::Asinh),
        ] {
            check(Activation { f }, &[&x], &[true]);
        }
    }

    #[test]
    fn derivatives_of_operators_of_several_operands() {
        let (a, b) = (random(&[3, 4], 1), random(&[4], 2));
        let positive =
            |x: &Array| floats(x.dims(), &data(x).iter().map(|v| v.abs() + 0.5).collect::<Vec<_>>());
        let both = [true, true];
        check(Add, &[&a, &b], &both);
        check(Sub, &[&a, &b], &both);
        check(Mul, &[&a, &b], &both);
        check(Div, &[&a, &positive(&b)], &both);
        check(Arithmetic { f: Binary::Pow }, &[&positive(&a), &b], &both);
        check(Arithmetic { f: Binary::Mod }, &[&a, &positive(&b)], &both);
        check(Extremum { max: true }, &[&a, &random(&[3, 4], 9)], &both);
        check(Extremum { max: false }, &[&a, &random(&[3, 4], 9)], &both);
        check(MatMul, &[&random(&[2, 3, 4], 3), &random(&[4, 5], 4)], &both);
        check(MatMul, &[&random(&[2, 3, 4], 3), &random(&[2, 4, 5], 4)], &both);
        check(Concat { axis: 1 }, &[&a, &random(&[3, 2], 5)], &both);
        let condition = Array::B(ndarray::arr1(&[true, false, true, true]).into_dyn());
        check(Select, &[&condition, &a, &b], &[false, true, true]);
    }

    #[test]
    fn derivatives_of_windows_norms_and_movements() {
        let x = random(&[2, 4, 5, 6], 1);
        let rows = random(&[3, 4, 5], 2);
        let geometry = ConvGeometry { window: window(&[3, 2], &[2, 1], &[1, 0, 1, 0], &[1, 1]), groups: 2 };
        let data_only = [true, false, false];
        check(
            Conv { geometry: geometry.clone() },
            &[&x, &random(&[2, 2, 3, 2], 3), &random(&[2], 4)],
            &data_only,
        );
        let transposed = ConvTranspose { geometry, to: known(&[9, 7]) };
        check(transposed, &[&x, &random(&[4, 2, 3, 2], 3), &random(&[4], 4)], &data_only);
        let pool = window(&[2, 2], &[2, 2], &[1, 1, 0, 0], &[1, 1]);
        check(AveragePool { window: pool.clone(), count_include_pad: false }, &[&x], &[true]);
        check(MaxPool { window: pool }, &[&x], &[true]);
        for kind in [
            ReduceKind::Sum,
            ReduceKind::Mean,
            ReduceKind::Max,
            ReduceKind::Min,
            ReduceKind::Prod,
            ReduceKind::LogSumExp,
        ] {
            for keep in [false, true] {
                check(Reduce { kind, axes: vec![1], keep }, &[&rows], &[true]);
            }
        }
        for log in [false, true] {
            check(Softmax { axis: 1, log }, &[&rows], &[true]);
        }
        for centre in [false, true] {
            let (scale, bias) = (random(&[5], 6), random(&[5], 7));
            let norm = LayerNorm { axes: vec![2], epsilon: 1e-3, centre };
            check(norm, &[&rows, &scale, &bias], &data_only);
        }
        check(Transpose { perm: vec![2, 0, 1] }, &[&rows], &[true]);
        check(Reshape { to: shape(&[6, 10]) }, &[&rows], &[true]);
        check(Expand { to: shape(&[2, 3, 4, 5]) }, &[&rows], &[true]);
        check(Slice { axis: 1, start: Dim::known(3), len: Dim::known(2), step: -2 }, &[&rows], &[true]);
        check(Gather { axis: 1 }, &[&rows, &ints(&[3], &[1, 1, -1])], &[true, false]);
        check(CumSum { exclusive: true, reverse: true }, &[&rows], &[true]);
    }
}
