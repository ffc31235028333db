//! Builder of small graphs, and checks of one pass on them.

use dlbc_compiler::Options;
use dlbc_compiler::canonical::{Context, PASSES};
use dlbc_ops::graph::{Graph, Origin, Value};
use dlbc_ops::op::{Activation, Function, Op};
use dlbc_ops::prim::Unary;
use dlbc_ops::tensor::{DType, Dim, Tensor, TensorType};

/// Builds a graph; every node has the name of its result.
#[derive(Default)]
pub struct Model(pub Graph<Op>);

impl Model {
    pub fn input(&mut self, name: &str, dims: &[i64]) -> Value {
        let dims: Vec<Dim> = dims.iter().map(|d| Dim::known(*d)).collect();
        self.0.add_input(Op::Input, name, TensorType::new(DType::F32, dims))
    }

    pub fn constant(&mut self, name: &str, dims: &[usize], values: &[f32]) -> Value {
        let tensor = Tensor::from_f32(dims, values);
        let ty = tensor.ty();
        self.0.add_value(Op::Const(tensor), name, ty, Origin::onnx(name, "initializer"), &[])
    }

    pub fn ids(&mut self, name: &str, dims: &[i64]) -> Value {
        let dims: Vec<Dim> = dims.iter().map(|d| Dim::known(*d)).collect();
        self.0.add_input(Op::Input, name, TensorType::new(DType::I64, dims))
    }

    pub fn tensor(&mut self, name: &str, tensor: Tensor) -> Value {
        let ty = tensor.ty();
        self.0.add_value(Op::Const(tensor), name, ty, Origin::onnx(name, "initializer"), &[])
    }

    pub fn ones(&mut self, name: &str, dims: &[usize]) -> Value {
        self.constant(name, dims, &vec![1.0; dims.iter().product()])
    }

    pub fn add(&mut self, name: &str, op: impl Into<Op>, inputs: &[Value]) -> Value {
        let op = op.into();
        let types: Vec<TensorType> = inputs.iter().map(|v| self.0.ty(*v).clone()).collect();
        let ty = op.infer(&types).expect("operands that fit").remove(0);
        let origin = Origin::onnx(name, &op.title());
        self.0.add_value(op, name, ty, origin, inputs)
    }

    pub fn unary(&mut self, name: &str, f: Unary, x: Value) -> Value {
        self.add(name, Activation { f: Function::Unary(f) }, &[x])
    }

    /// Runs the pass on the graph with output `y`, asserts that it changed the graph, and returns the graph.
    pub fn after(mut self, pass: &str, y: Value) -> Graph<Op> {
        assert!(self.run(pass, y), "{pass} changes nothing");
        self.0
    }

    /// Asserts that the pass leaves the graph with output `y` unchanged.
    pub fn untouched(mut self, pass: &str, y: Value) {
        self.0.add_output("y", y);
        let before = self.0.to_string();
        self.0.set_outputs(vec![]);
        assert!(!self.run(pass, y), "{pass} changes\n{before}into\n{}", self.0);
        assert_eq!(self.0.to_string(), before);
    }

    pub fn run(&mut self, pass: &str, y: Value) -> bool {
        self.0.add_output("y", y);
        self.0.check().expect("a sound graph");
        let pass = PASSES.iter().find(|p| p.name == pass).expect("a pass of this name");
        let options = Options::default();
        let composite = options.composite().expect("the default composite");
        let context = Context { options: &options, composite: &composite };
        let changed = (pass.run)(&mut self.0, &context);
        self.0.check().expect("the pass leaves a sound graph");
        changed
    }
}
