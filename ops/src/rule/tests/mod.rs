//! Layers for tests of rules, and properties of all rules. Formulas are tested in the files of the rules.

mod contrast;
mod properties;

use std::collections::BTreeMap;

use ndarray::{ArrayD, IxDyn};

use crate::op::role::Site;
use crate::op::{Linear, Op};
use crate::prim::{Builder, ConvGeometry, Window, reference};
use crate::program::Output;
use crate::rule::{Argument, Policy, Proportional, Rule, Tracks};
use crate::tensor::{Array, DType, Dim, TensorType};

/// Operator with its operands, the operands that carry relevance, and the rule under test.
pub(crate) struct Layer {
    pub op: Op,
    pub inputs: Vec<Array>,
    pub live: Vec<bool>,
    pub rule: Rule,
    pub argument: Argument,
}

/// Relevance that a rule passes and absorbs.
pub(crate) struct Shares {
    pub operands: Vec<Option<Array>>,
    pub absorbed: f64,
}

impl Layer {
    pub fn new(op: impl Into<Op>, inputs: &[&Array], live: &[bool], rule: impl Into<Rule>) -> Layer {
        assert_eq!(inputs.len(), live.len());
        Layer {
            op: op.into(),
            inputs: inputs.iter().map(|x| (*x).clone()).collect(),
            live: live.to_vec(),
            rule: rule.into(),
            argument: Argument::Value,
        }
    }

    /// Returns the result of the operator.
    pub fn y(&self) -> Array {
        self.eval(&[]).1
    }

    /// Applies the rule to the relevance `r` of the result.
    pub fn explain(&self, r: &Array) -> Shares {
        self.eval(&[r]).0.remove(0)
    }

    /// Applies the rule's contrastive form to supporting and opposing relevance.
    pub fn contrast(&self, supporting: &Array, opposing: &Array) -> [Shares; 2] {
        let shares = self.eval(&[supporting, opposing]).0;
        shares.try_into().unwrap_or_else(|_| panic!("two tracks"))
    }

    /// Returns the shares on each track of `r`, and the result of the operator.
    fn eval(&self, r: &[&Array]) -> (Vec<Shares>, Array) {
        let mut b = Builder::new();
        let mut feed = BTreeMap::new();
        let mut inputs = vec![];
        for (i, x) in self.inputs.iter().enumerate() {
            let name = format!("x{i}");
            inputs.push(b.input(&name, ty(x)));
            feed.insert(name, x.clone());
        }
        let outputs = self.op.lower(&mut b, &inputs);
        b.graph_mut().add_output("y", outputs[0]);
        let mut requested = vec![Output::from("y")];
        let seeds: Vec<_> = (r.iter().enumerate())
            .map(|(track, r)| {
                feed.insert(format!("r{track}"), (*r).clone());
                b.input(&format!("r{track}"), ty(r))
            })
            .collect();
        let role = self.op.role(&self.live);
        let formula = self.rule.formula(&role);
        let formula = formula.unwrap_or_else(|| panic!("{} does not fit {:?}", self.rule, role.kind()));
        let site = Site { inputs: &inputs, outputs: &outputs, live: &self.live };
        let flows = match seeds.as_slice() {
            [supporting, opposing] => {
                let r = Tracks { supporting: *supporting, opposing: *opposing, argument: self.argument };
                formula.flows(&mut b, &site, r).expect("a contrastive form").to_vec()
            }
            all => {
                let flows = all.iter().map(|r| formula.flow(&mut b, &site, *r));
                flows.collect::<Option<Vec<_>>>().expect("a formula")
            }
        };
        for (track, flow) in flows.iter().enumerate() {
            for (i, v) in flow.operands.iter().enumerate() {
                let Some(v) = v else { continue };
                assert_eq!(b.ty(*v).shape, b.ty(inputs[i]).shape, "share of operand {i}");
                requested.push(share(track, i));
                b.graph_mut().add_output(share(track, i), *v);
            }
            for (i, v) in flow.absorbed.iter().enumerate() {
                requested.push(absorbed(track, i));
                b.graph_mut().add_output(absorbed(track, i), *v);
            }
        }
        b.ok().expect("a typed graph");
        let mut values = reference::run(&b.finish(), &feed, &requested).expect("values");
        let shares = flows.iter().enumerate().map(|(track, flow)| Shares {
            operands: (0..inputs.len()).map(|i| values.get(&share(track, i)).cloned()).collect(),
            absorbed: (0..flow.absorbed.len()).map(|i| data(&values[&absorbed(track, i)])[0]).sum(),
        });
        let shares = shares.collect();
        (shares, values.remove(&Output::from("y")).expect("the result"))
    }
}

/// Output of the test graph with the relevance of an operand.
fn share(track: usize, operand: usize) -> Output {
    Output::value(format!("share/{track}/{operand}"))
}

/// Output of the test graph with a part of the absorbed relevance.
fn absorbed(track: usize, part: usize) -> Output {
    Output::value(format!("absorbed/{track}/{part}"))
}

impl Shares {
    pub fn operand(&self, i: usize) -> &Array {
        self.operands[i].as_ref().expect("a share")
    }
}

pub(crate) fn known(dims: &[usize]) -> Vec<Dim> {
    dims.iter().map(|d| Dim::known(*d as i64)).collect()
}

pub(crate) fn ty(x: &Array) -> TensorType {
    let dtype = match x {
        Array::F(_) => DType::F32,
        Array::I(_) => DType::I64,
        Array::B(_) => DType::Bool,
    };
    TensorType::new(dtype, known(x.dims()))
}

pub(crate) fn floats(dims: &[usize], values: &[f64]) -> Array {
    Array::F(ArrayD::from_shape_vec(IxDyn(dims), values.to_vec()).expect("values fill the dimensions"))
}

pub(crate) fn ints(dims: &[usize], values: &[i64]) -> Array {
    Array::I(ArrayD::from_shape_vec(IxDyn(dims), values.to_vec()).expect("values fill the dimensions"))
}

pub(crate) fn data(x: &Array) -> Vec<f64> {
    match x {
        Array::F(x) => x.iter().copied().collect(),
        other => panic!("floats expected, found {other:?}"),
    }
}

/// Returns the element at an index.
pub(crate) fn at(x: &Array, index: &[usize]) -> f64 {
    match x {
        Array::F(x) => x[index],
        other => panic!("floats expected, found {other:?}"),
    }
}

/// Returns values in -1..1 that depend on the seed only.
pub(crate) fn random(dims: &[usize], seed: u64) -> Array {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    floats(dims, &(0..dims.iter().product()).map(|_| next()).collect::<Vec<_>>())
}

/// Returns all indices of an array, row-major.
pub(crate) fn indices(dims: &[usize]) -> Vec<Vec<usize>> {
    dims.iter().fold(vec![vec![]], |all, d| {
        all.iter().flat_map(|i| (0..*d).map(move |j| [i.as_slice(), &[j]].concat())).collect()
    })
}

/// Creates an array from a function of the index.
pub(crate) fn fill(dims: &[usize], f: impl Fn(&[usize]) -> f64) -> Array {
    floats(dims, &indices(dims).iter().map(|i| f(i)).collect::<Vec<_>>())
}

pub(crate) fn total(x: &Array) -> f64 {
    data(x).iter().sum()
}

pub(crate) fn close(a: f64, b: f64, case: &str) {
    assert!((a - b).abs() <= 1e-11 * (1.0 + b.abs()), "{case}: {b} expected, found {a}");
}

pub(crate) fn assert_close(actual: &Array, expected: &Array, case: &str) {
    assert_eq!(actual.dims(), expected.dims(), "{case}");
    for (i, (a, b)) in data(actual).into_iter().zip(data(expected)).enumerate() {
        close(a, b, &format!("{case}, element {i}"));
    }
}

/// Proportional rule by magnitude, with shares of biases absorbed.
pub(crate) const MAGNITUDE: fn() -> Rule = || Proportional::default().into();

pub(crate) fn window(kernel: &[usize], strides: &[usize], pads: &[usize], dilations: &[usize]) -> Window {
    let (before, after) = pads.split_at(kernel.len());
    Window {
        kernel: kernel.to_vec(),
        strides: strides.to_vec(),
        before: before.to_vec(),
        after: after.to_vec(),
        dilations: dilations.to_vec(),
        ceil: false,
    }
}

/// Returns `a / b`, 0 where `b` is 0.
pub(crate) fn quotient(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}

/// Returns the weight of a convolution from element `i = [n, c, …]` of the operand to element `j = [n, o, …]` of the
/// result.
pub(crate) fn tap(g: &ConvGeometry, w: &Array, i: &[usize], j: &[usize]) -> f64 {
    let (outputs, per_group) = (w.dims()[0] / g.groups, w.dims()[1]);
    if i[0] != j[0] || i[1] / per_group != j[1] / outputs {
        return 0.0;
    }
    let mut index = vec![j[1], i[1] % per_group];
    for axis in 0..g.window.rank() {
        let w = &g.window;
        let reach = (i[axis + 2] + w.before[axis]) as i64 - (j[axis + 2] * w.strides[axis]) as i64;
        let (tap, rest) = (reach / w.dilations[axis] as i64, reach % w.dilations[axis] as i64);
        if reach < 0 || rest != 0 || tap >= w.kernel[axis] as i64 {
            return 0.0;
        }
        index.push(tap as usize);
    }
    at(w, &index)
}

/// Unit of a dense layer: its operands, weights, bias, and the relevance of its result.
pub(crate) struct Unit {
    pub x: Vec<f64>,
    pub w: Vec<f64>,
    pub bias: f64,
    pub r: f64,
}

impl Unit {
    /// Returns the contribution of each operand.
    pub fn contributions(&self) -> Vec<f64> {
        self.x.iter().zip(&self.w).map(|(x, w)| x * w).collect()
    }

    /// Returns the result.
    pub fn y(&self) -> f64 {
        self.contributions().iter().sum::<f64>() + self.bias
    }
}

/// Returns `z + ε sign z`, where the sign of 0 is positive.
pub(crate) fn stabilised(z: f64, epsilon: f32) -> f64 {
    z + if z < 0.0 { -f64::from(epsilon) } else { f64::from(epsilon) }
}

/// Checks a rule on a dense layer: `share` returns the relevance of each operand of a unit, and the rest is absorbed.
pub(crate) fn check_dense(rule: impl Into<Rule>, share: impl Fn(&Unit) -> Vec<f64>) {
    let (x, w, bias) = (random(&[3, 4], 1), random(&[2, 4], 2), random(&[2], 3));
    let r = random(&[3, 2], 4);
    let layer = Layer::new(Linear { transposed: true }, &[&x, &w, &bias], &[true, false, false], rule);
    let actual = layer.explain(&r);
    let mut shares = vec![0.0; 12];
    for j in indices(r.dims()) {
        let unit = Unit {
            x: (0..4).map(|i| at(&x, &[j[0], i])).collect(),
            w: (0..4).map(|i| at(&w, &[j[1], i])).collect(),
            bias: at(&bias, &[j[1]]),
            r: at(&r, &j),
        };
        shares[j[0] * 4..].iter_mut().zip(share(&unit)).for_each(|(sum, share)| *sum += share);
    }
    let expected = floats(x.dims(), &shares);
    assert_close(actual.operand(0), &expected, &layer.rule.to_string());
    close(actual.absorbed, total(&r) - total(&expected), &layer.rule.to_string());
}
