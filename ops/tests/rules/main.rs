//! The relevance rules against loops written from their formulas, and the properties that all of them share.

mod contrast;
mod formulas;
mod gradients;
mod properties;
mod saturation;

use std::collections::BTreeMap;

use dlbc_ops::op::Op;
use dlbc_ops::op::role::Site;
use dlbc_ops::prim::{Builder, reference};
use dlbc_ops::rule::{Argument, Policy, Rule, Tracks};
use dlbc_ops::tensor::{Array, DType, Dim, TensorType};
use ndarray::{ArrayD, IxDyn};

/// An operator, its operands, which of them are live, and the rule.
struct Layer {
    op: Op,
    inputs: Vec<Array>,
    live: Vec<bool>,
    rule: Rule,
    argument: Argument,
}

/// What a rule gives.
struct Shares {
    operands: Vec<Option<Array>>,
    absorbed: f64,
}

impl Layer {
    fn new(op: impl Into<Op>, inputs: &[&Array], live: &[bool], rule: Rule) -> Layer {
        assert_eq!(inputs.len(), live.len());
        Layer {
            op: op.into(),
            inputs: inputs.iter().map(|x| (*x).clone()).collect(),
            live: live.to_vec(),
            rule,
            argument: Argument::Value,
        }
    }

    /// The result of the operator.
    fn y(&self) -> Array {
        self.eval(&[]).1
    }

    /// The rule's shares of the relevance `r` of the result.
    fn explain(&self, r: &Array) -> Shares {
        self.eval(&[r]).0.remove(0)
    }

    /// The rule's shares of supporting and opposing relevance.
    fn contrast(&self, supporting: &Array, opposing: &Array) -> [Shares; 2] {
        let shares = self.eval(&[supporting, opposing]).0;
        shares.try_into().unwrap_or_else(|_| panic!("two tracks"))
    }

    /// The shares on each track, and the result.
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
        let mut wanted = vec!["y".to_string()];
        let given: Vec<_> = (r.iter().enumerate())
            .map(|(track, r)| {
                feed.insert(format!("r{track}"), (*r).clone());
                b.input(&format!("r{track}"), ty(r))
            })
            .collect();
        let role = self.op.role(&self.live);
        let formula = self.rule.formula(&role);
        let formula = formula.unwrap_or_else(|| panic!("{} does not fit {:?}", self.rule, role.kind()));
        let site = Site { inputs: &inputs, outputs: &outputs, live: &self.live };
        let flows = match given.as_slice() {
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
                wanted.push(format!("share/{track}/{i}"));
                b.graph_mut().add_output(&format!("share/{track}/{i}"), *v);
            }
            for (i, v) in flow.absorbed.iter().enumerate() {
                wanted.push(format!("absorbed/{track}/{i}"));
                b.graph_mut().add_output(&format!("absorbed/{track}/{i}"), *v);
            }
        }
        b.ok().expect("a typed graph");
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let mut values = reference::run(&b.finish(), &feed, &wanted).expect("values");
        let shares = flows.iter().enumerate().map(|(track, flow)| Shares {
            operands: (0..inputs.len()).map(|i| values.get(&format!("share/{track}/{i}")).cloned()).collect(),
            absorbed: (0..flow.absorbed.len())
                .map(|i| data(&values[&format!("absorbed/{track}/{i}")])[0])
                .sum(),
        });
        let shares = shares.collect();
        (shares, values.remove("y").expect("the result"))
    }
}

impl Shares {
    fn of(&self, i: usize) -> &Array {
        self.operands[i].as_ref().expect("a share")
    }
}

fn known(dims: &[usize]) -> Vec<Dim> {
    dims.iter().map(|d| Dim::known(*d as i64)).collect()
}

fn ty(x: &Array) -> TensorType {
    let dtype = match x {
        Array::F(_) => DType::F32,
        Array::I(_) => DType::I64,
        Array::B(_) => DType::Bool,
    };
    TensorType::new(dtype, known(x.dims()))
}

fn floats(dims: &[usize], values: &[f64]) -> Array {
    Array::F(ArrayD::from_shape_vec(IxDyn(dims), values.to_vec()).expect("values fill the dimensions"))
}

fn ints(dims: &[usize], values: &[i64]) -> Array {
    Array::I(ArrayD::from_shape_vec(IxDyn(dims), values.to_vec()).expect("values fill the dimensions"))
}

fn data(x: &Array) -> Vec<f64> {
    match x {
        Array::F(x) => x.iter().copied().collect(),
        other => panic!("floats expected, found {other:?}"),
    }
}

/// The element at an index.
fn at(x: &Array, index: &[usize]) -> f64 {
    match x {
        Array::F(x) => x[index],
        other => panic!("floats expected, found {other:?}"),
    }
}

/// Values in -1..1 that depend on the seed alone.
fn random(dims: &[usize], seed: u64) -> Array {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    floats(dims, &(0..dims.iter().product()).map(|_| next()).collect::<Vec<_>>())
}

/// All indices of an array, row-major.
fn indices(dims: &[usize]) -> Vec<Vec<usize>> {
    dims.iter().fold(vec![vec![]], |all, d| {
        all.iter().flat_map(|i| (0..*d).map(move |j| [i.as_slice(), &[j]].concat())).collect()
    })
}

/// An array by its elements.
fn fill(dims: &[usize], f: impl Fn(&[usize]) -> f64) -> Array {
    floats(dims, &indices(dims).iter().map(|i| f(i)).collect::<Vec<_>>())
}

fn total(x: &Array) -> f64 {
    data(x).iter().sum()
}

fn close(a: f64, b: f64, what: &str) {
    assert!((a - b).abs() <= 1e-11 * (1.0 + b.abs()), "{what}: {b} expected, found {a}");
}

fn assert_close(found: &Array, expected: &Array, what: &str) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    for (i, (a, b)) in data(found).into_iter().zip(data(expected)).enumerate() {
        close(a, b, &format!("{what}, element {i}"));
    }
}
