//! Properties of all rules: the ledger closes, shares are linear in the relevance, rows of a batch do not mix.

use crate::op::{
    Activation, Add, AveragePool, Concat, Conv, ConvTranspose, Function, Gather, Linear, MatMul, MaxPool,
    Mul, Reduce, ReduceKind, Sub, Transpose,
};
use crate::prim::{ConvGeometry, Unary};
use crate::rule::{
    AlphaBeta, Bias, Bilinear, Bounds, Constants, Contribution, Epsilon, Flat, Gamma, Gates, NodeFacts, Pass,
    Policy, Product, ProductByValue, Proportional, Receives, Route, Rule, Saturated, Sharing, SignedBias,
    Sum, SumEpsilon, WSquare, ZBox, ZPlus,
};
use crate::tensor::Array;
use ndarray::Axis;

use super::{Layer, MAGNITUDE, assert_close, close, data, floats, ints, known, random, total, window};

const ROWS: usize = 3;

/// Returns layers whose operand 0 and result have the rows of the batch on axis 0.
fn layers() -> Vec<Layer> {
    let x = random(&[ROWS, 4, 5, 6], 1);
    let rows = random(&[ROWS, 4], 2);
    let other = random(&[ROWS, 4], 3);
    let geometry = ConvGeometry { window: window(&[3, 2], &[2, 1], &[1, 0, 1, 0], &[1, 1]), groups: 2 };
    let pool = window(&[2, 2], &[2, 2], &[1, 1, 0, 0], &[1, 1]);
    let sum = |by, constants| Rule::from(Sum { by, constants });
    let halves = Rule::from(Product { gates: Gates::Share, shares: vec![0.5, 0.5] });
    let uniform = Proportional { by: Contribution::Uniform, ..Proportional::default() };
    let matrices = [random(&[ROWS, 2, 3], 4), random(&[ROWS, 3, 2], 5)];
    let single = [true];
    let layer = [true, false, false];
    let mut layers = vec![
        Layer::new(
            Linear { transposed: false },
            &[&rows, &random(&[4, 3], 6), &random(&[3], 7)],
            &layer,
            MAGNITUDE(),
        ),
        Layer::new(
            Linear { transposed: false },
            &[&rows, &random(&[4, 3], 6), &random(&[3], 7)],
            &layer,
            Proportional { bias: Bias::Redistribute, ..Proportional::default() },
        ),
        Layer::new(
            Conv { geometry: geometry.clone() },
            &[&x, &random(&[2, 2, 3, 2], 8), &random(&[2], 9)],
            &layer,
            MAGNITUDE(),
        ),
        Layer::new(
            Conv { geometry: geometry.clone() },
            &[&x, &random(&[2, 2, 3, 2], 8), &random(&[2], 9)],
            &layer,
            Rule::from(Saturated {
                bounds: Bounds { lower: Some(-0.5), upper: Some(0.5), swish: Some(1.0) },
                tolerance: 0.1,
                ..Saturated::default()
            }),
        ),
        Layer::new(Mul, &[&rows, &other], &[true, true], Rule::from(ProductByValue {})),
        Layer::new(
            ConvTranspose { geometry, to: known(&[9, 7]) },
            &[&x, &random(&[4, 2, 3, 2], 8), &random(&[4], 9)],
            &layer,
            MAGNITUDE(),
        ),
        Layer::new(
            AveragePool { window: pool.clone(), count_include_pad: false },
            &[&x],
            &single,
            MAGNITUDE(),
        ),
        Layer::new(AveragePool { window: pool.clone(), count_include_pad: false }, &[&x], &single, uniform),
        Layer::new(MaxPool { window: pool }, &[&x], &single, Rule::from(Route {})),
        Layer::new(MatMul, &[&matrices[0], &matrices[1]], &[true, true], Rule::from(Bilinear {})),
        Layer::new(Add, &[&rows, &other], &[true, true], sum(Contribution::Magnitude, Constants::Data)),
        Layer::new(Add, &[&rows, &other], &[true, true], sum(Contribution::Uniform, Constants::Data)),
        Layer::new(
            Add,
            &[&rows, &random(&[4], 10)],
            &[true, false],
            sum(Contribution::Magnitude, Constants::Ledger),
        ),
        Layer::new(Mul, &[&rows, &other], &[true, true], halves),
        Layer::new(Activation { f: Function::Unary(Unary::Relu) }, &[&rows], &single, Rule::from(Pass {})),
        Layer::new(Transpose { perm: vec![0, 2, 1, 3] }, &[&x], &single, Rule::from(Route {})),
        Layer::new(Concat { axis: 1 }, &[&rows, &other], &[true, true], Rule::from(Route {})),
        Layer::new(Concat { axis: 1 }, &[&rows, &other], &[true, false], Rule::from(Route {})),
        Layer::new(
            Gather { axis: 1 },
            &[&rows, &ints(&[3], &[1, 1, -1])],
            &[true, false],
            Rule::from(Route {}),
        ),
        Layer::new(
            Reduce { kind: ReduceKind::LogSumExp, axes: vec![1], keep: false },
            &[&rows],
            &single,
            Rule::from(Route {}),
        ),
    ];
    let linear = Linear { transposed: false };
    let dense = [&rows, &random(&[4, 3], 6), &random(&[3], 7)];
    let kernel = [&x, &random(&[2, 2, 3, 2], 8), &random(&[2], 9)];
    let conv = Conv {
        geometry: ConvGeometry { window: window(&[3, 2], &[2, 1], &[1, 0, 1, 0], &[1, 1]), groups: 2 },
    };
    for rule in signed() {
        layers.push(Layer::new(linear.clone(), &dense, &layer, rule.clone()));
        layers.push(Layer::new(conv.clone(), &kernel, &layer, rule));
    }
    let by_value = |constants| Rule::from(SumEpsilon { epsilon: 1e-6, constants });
    layers.push(Layer::new(Add, &[&rows, &other], &[true, true], by_value(Constants::Ledger)));
    layers.push(Layer::new(Sub, &[&rows, &other], &[true, true], by_value(Constants::Ledger)));
    for live in [[true, false], [false, true], [true, true]] {
        layers.push(Layer::new(Sub, &[&rows, &other], &live, by_value(Constants::Data)));
    }
    // All rules that divide relevance, on each of these layers that they fit.
    let shared: Vec<Rule> = Rule::samples().into_iter().filter(shares_relevance).collect();
    let sampled: Vec<Layer> = layers.iter().flat_map(|layer| sampled(layer, &shared)).collect();
    layers.extend(sampled);
    layers
}

/// Returns whether a rule passes relevance, as opposed to derivatives, to at least one operand.
fn shares_relevance(rule: &Rule) -> bool {
    let relevance = match rule.sharing(&[true, true]) {
        Sharing::ByValue | Sharing::ByMagnitude | Sharing::Fixed | Sharing::Single | Sharing::Moves => true,
        Sharing::Slope | Sharing::Ends | Sharing::Derivative | Sharing::Stepwise => false,
    };
    relevance && rule.receives() != Receives::Nothing
}

/// Returns the layer with each of the rules that fit it.
fn sampled(layer: &Layer, rules: &[Rule]) -> Vec<Layer> {
    let inputs: Vec<&Array> = layer.inputs.iter().collect();
    let role = layer.op.role(&layer.live).kind();
    let rules = rules.iter().map(|rule| rule.for_node(&Plain(&layer.live))).filter(|rule| rule.fits(role));
    rules.map(|rule| Layer::new(layer.op.clone(), &inputs, &layer.live, rule)).collect()
}

/// Facts of a node without gates, whose result no activation reads.
struct Plain<'a>(&'a [bool]);

impl NodeFacts for Plain<'_> {
    fn live(&self) -> &[bool] {
        self.0
    }

    fn is_gate(&self, _: usize) -> bool {
        false
    }

    fn bounds(&self) -> Option<Bounds> {
        None
    }

    fn convolves(&self) -> bool {
        false
    }
}

/// Returns the signed rules of linear maps.
fn signed() -> Vec<Rule> {
    let epsilon = 1e-6;
    vec![
        Rule::from(Epsilon { epsilon }),
        Rule::from(ZPlus { epsilon, bias: SignedBias::Ledger }),
        Rule::from(AlphaBeta { alpha: 2.0, beta: 1.0, epsilon, bias: SignedBias::Ignored }),
        Rule::from(Gamma { gamma: 0.25, epsilon }),
        Rule::from(WSquare { epsilon }),
        Rule::from(Flat { epsilon }),
        Rule::from(ZBox { low: None, high: None, epsilon }),
        Rule::from(ZBox { low: Some(-1.0), high: Some(1.0), epsilon }),
    ]
}

fn name(layer: &Layer) -> String {
    format!("{} with {}", layer.op.title(), layer.rule)
}

#[test]
fn the_ledger_closes() {
    for layer in layers() {
        let r = random(layer.y().dims(), 11);
        let actual = layer.explain(&r);
        let shares = actual.operands.iter().zip(&layer.live).filter(|(_, live)| **live);
        let passed: f64 = shares.filter_map(|(share, _)| share.as_ref()).map(total).sum();
        close(passed + actual.absorbed, total(&r), &name(&layer));
        let live: Vec<bool> = actual.operands.iter().map(Option::is_some).collect();
        assert!(live.iter().zip(&layer.live).all(|(receives, live)| *live || !receives), "{}", name(&layer));
        assert!(live.contains(&true), "{}", name(&layer));
    }
}

#[test]
fn shares_are_linear_in_the_relevance() {
    for layer in layers() {
        let y = layer.y();
        let (a, b) = (random(y.dims(), 12), random(y.dims(), 13));
        let mix = |a: &Array, b: &Array| {
            let both = data(a).into_iter().zip(data(b));
            floats(a.dims(), &both.map(|(a, b)| 2.0 * a - 3.0 * b).collect::<Vec<_>>())
        };
        let (of_a, of_b, of_mix) = (layer.explain(&a), layer.explain(&b), layer.explain(&mix(&a, &b)));
        for i in (0..layer.live.len()).filter(|i| of_mix.operands[*i].is_some()) {
            assert_close(of_mix.operand(i), &mix(of_a.operand(i), of_b.operand(i)), &name(&layer));
        }
        close(of_mix.absorbed, 2.0 * of_a.absorbed - 3.0 * of_b.absorbed, &name(&layer));
    }
}

#[test]
fn relevance_that_is_not_negative_stays_so() {
    // Signed rules can pass negative relevance; they have no contrastive form.
    // A rounding error has either sign, too.
    let keeps_sign = |l: &Layer| l.rule.contrasts() && !matches!(l.rule, Rule::Rounding(_));
    for layer in layers().into_iter().filter(keeps_sign) {
        let y = layer.y();
        let r = floats(y.dims(), &data(&random(y.dims(), 14)).iter().map(|v| v.abs()).collect::<Vec<_>>());
        let actual = layer.explain(&r);
        for share in actual.operands.iter().flatten() {
            assert!(data(share).iter().all(|v| *v >= 0.0), "{}", name(&layer));
        }
        assert!(actual.absorbed >= -1e-11, "{}: {}", name(&layer), actual.absorbed);
    }
}

/// Returns an array with its rows in reverse order; arrays without an axis of rows are unchanged.
fn reversed(x: &Array) -> Array {
    let Array::F(x) = x else { return x.clone() };
    if x.ndim() < 2 || x.shape()[0] != ROWS {
        return Array::F(x.clone());
    }
    let rows: Vec<_> = (0..ROWS).rev().map(|i| x.index_axis(Axis(0), i)).collect();
    Array::F(ndarray::stack(Axis(0), &rows).expect("rows of one shape"))
}

#[test]
fn rows_of_a_batch_do_not_mix() {
    for mut layer in layers() {
        let y = layer.y();
        let r = random(y.dims(), 15);
        let forth = layer.explain(&r);
        // Constants whose first axis is as long as the batch also have rows.
        for x in &mut layer.inputs {
            *x = reversed(x);
        }
        let reversed_r = if r.dims().len() == 1 {
            floats(r.dims(), &data(&r).into_iter().rev().collect::<Vec<_>>())
        } else {
            reversed(&r)
        };
        let back = layer.explain(&reversed_r);
        for i in (0..layer.live.len()).filter(|i| forth.operands[*i].is_some()) {
            assert_close(&reversed(back.operand(i)), forth.operand(i), &name(&layer));
        }
        close(back.absorbed, forth.absorbed, &name(&layer));
    }
}
