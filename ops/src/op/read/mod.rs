//! Reading of one ONNX node: typed access to its attributes and operands, and the graph to which it adds operators.

mod data_dependent;
mod narrow;
mod other_operator;
mod shorthand;
mod strings;
mod words;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};

pub use narrow::Narrow;

use super::{Op, fold};
use crate::OpError;
use crate::graph::{Graph, Origin, Value};
use crate::tensor::{DType, Dim, Tensor, TensorType};

pub use words::Words;

/// Value of an ONNX attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Attr {
    /// Integer.
    Int(i64),
    /// List of integers.
    Ints(Vec<i64>),
    /// Float.
    Float(f32),
    /// List of floats.
    Floats(Vec<f32>),
    /// String.
    Str(String),
    /// List of strings.
    Strs(Vec<String>),
    /// Tensor.
    Tensor(Tensor),
    /// Any other kind, by its name.
    Other(&'static str),
}

/// Reader of an ONNX operator.
#[derive(Clone, Copy)]
pub struct Reader {
    /// Domain of the operator; empty for ai.onnx.
    pub domain: &'static str,
    /// Name of the operator.
    pub op: &'static str,
    /// First opset whose definition of the operator is read.
    pub since: i64,
    /// Last opset whose definition is known to be the same.
    pub until: i64,
    /// Adds operators for the node to the graph and returns the node's outputs.
    pub read: fn(&mut Reading) -> Result<Vec<Value>, OpError>,
}

/// Newest opset of ai.onnx that the readers support.
pub const NEWEST: i64 = 28;

/// Domain of the operators that ONNX Runtime adds to the standard.
pub const MICROSOFT: &str = "com.microsoft";

/// Largest rank of a tensor; NumPy has the same limit.
pub const MAX_RANK: usize = 64;

impl Reader {
    /// Creates a reader of an ai.onnx operator, up to the newest opset.
    pub const fn new(
        op: &'static str,
        since: i64,
        read: fn(&mut Reading) -> Result<Vec<Value>, OpError>,
    ) -> Reader {
        Reader { domain: "", op, since, until: NEWEST, read }
    }

    /// Creates a reader of an operator of another domain, which has one version.
    pub const fn of(
        domain: &'static str,
        op: &'static str,
        read: fn(&mut Reading) -> Result<Vec<Value>, OpError>,
    ) -> Reader {
        Reader { domain, op, since: 1, until: 1, read }
    }
}

/// ONNX node that is being read.
pub struct Reading<'a> {
    /// Graph of the model so far.
    pub graph: &'a mut Graph<Op>,
    /// Name of the operator.
    pub op: &'a str,
    /// Version of the operator set of the node's domain.
    pub opset: i64,
    /// Operands; `None` for optional ones that are omitted.
    pub inputs: &'a [Option<Value>],
    /// Number of outputs that the node names.
    pub outputs: usize,
    /// Attributes by name.
    pub attributes: &'a BTreeMap<String, Attr>,
    /// Element types in the file of constants and inputs that tensors have no type for.
    pub narrow: &'a HashMap<Value, Narrow>,
    /// Names of the attributes that the reader requested.
    pub asked: RefCell<BTreeSet<String>>,
    /// One more than the index of the last operand that the reader requested.
    pub asked_inputs: Cell<usize>,
    /// Origin of the node.
    pub origin: Origin,
    /// Size in bytes of the largest result that is accepted.
    pub max_tensor_bytes: u64,
    /// Strings of the model.
    pub words: &'a RefCell<Words>,
}

impl Reading<'_> {
    /// Returns a required operand.
    ///
    /// # Errors
    /// If the operand is missing.
    pub fn input(&self, i: usize) -> Result<Value, OpError> {
        self.optional(i).ok_or_else(|| OpError::Arity {
            expected: format!("at least {}", i + 1),
            actual: self.inputs.len(),
        })
    }

    /// Returns an optional operand.
    pub fn optional(&self, i: usize) -> Option<Value> {
        self.asked_inputs.set(self.asked_inputs.get().max(i + 1));
        self.inputs.get(i).copied().flatten()
    }

    /// Returns all operands, none of which may be omitted.
    ///
    /// # Errors
    /// If an operand is omitted or there are none.
    pub fn all_inputs(&self) -> Result<Vec<Value>, OpError> {
        (0..self.inputs.len().max(1)).map(|i| self.input(i)).collect()
    }

    /// Refuses attributes, operands and outputs that the reader did not request, because they would be ignored
    /// silently. Called after the node is read; `outputs` is the number of outputs that the reader returned.
    ///
    /// # Errors
    /// The first attribute that was not requested, or too many operands or outputs.
    pub fn check_complete(&self, outputs: usize) -> Result<(), OpError> {
        let asked = self.asked.borrow();
        // An optimisation hint of the first opsets.
        let is_hint = |a: &str| self.opset < 8 && a == "consumed_inputs";
        if let Some(unread) = self.attributes.keys().find(|a| !asked.contains(*a) && !is_hint(a)) {
            return Err(OpError::invalid("attributes", "those of the operator", format!("`{unread}`")));
        }
        let known = self.asked_inputs.get();
        if self.inputs.len() > known {
            return Err(OpError::Arity { expected: format!("at most {known}"), actual: self.inputs.len() });
        }
        if self.outputs > outputs {
            return Err(OpError::mismatch("outputs", format!("at most {outputs}"), self.outputs));
        }
        Ok(())
    }

    /// Returns the type of a value.
    pub fn ty(&self, v: Value) -> TensorType {
        self.graph.ty(v).clone()
    }

    /// Returns the tensor of a constant; `None` for computed values.
    pub fn constant(&self, v: Value) -> Option<Tensor> {
        self.graph.constant(v).cloned()
    }

    /// Returns the element type in the file of a constant or input that tensors have no type for.
    pub fn narrow(&self, v: Value) -> Option<Narrow> {
        self.narrow.get(&v).copied()
    }

    /// Returns the elements of an integer tensor that consists of constants and dimensions.
    pub fn dims(&self, v: Value) -> Option<Vec<Dim>> {
        fold::DimTensor::from_value(self.graph, v).map(|d| d.values)
    }

    /// Returns the elements of an integer operand that must be known when compiling.
    ///
    /// # Errors
    /// If the operand is not of integers, or depends on the values or the shape of an input.
    pub fn ints_of(&self, v: Value, property: &str) -> Result<Vec<i64>, OpError> {
        let dims = self.static_dims_of(v, property)?;
        let known: Option<Vec<i64>> = dims.iter().map(Dim::as_known).collect();
        known.ok_or_else(|| OpError::symbolic(property, "known numbers", format!("{dims:?}")))
    }

    fn static_dims_of(&self, v: Value, property: &str) -> Result<Vec<Dim>, OpError> {
        let dtype = self.ty(v).dtype;
        if !dtype.is_integer() {
            return Err(OpError::mismatch(property, "integers", dtype));
        }
        self.dims(v).ok_or_else(|| computed(property))
    }

    /// Returns the elements of a float operand that must be constant.
    ///
    /// # Errors
    /// If the operand is computed.
    pub fn floats_of(&self, v: Value, property: &str) -> Result<Vec<f32>, OpError> {
        self.constant(v).map(|t| t.to_f32()).ok_or_else(|| computed(property))
    }

    /// Returns the value of a float operand that must be constant and have one element.
    ///
    /// # Errors
    /// If the operand is computed or does not have exactly one element.
    pub fn float_of(&self, v: Value, property: &str) -> Result<f32, OpError> {
        match self.floats_of(v, property)?.as_slice() {
            [x] => Ok(*x),
            other => Err(OpError::mismatch(property, "one value", other.len())),
        }
    }

    fn attribute(&self, name: &str) -> Option<&Attr> {
        self.asked.borrow_mut().insert(name.into());
        self.attributes.get(name)
    }

    /// Returns an integer attribute; `None` if it is absent.
    ///
    /// # Errors
    /// If the attribute has another type.
    pub fn int(&self, name: &str) -> Result<Option<i64>, OpError> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attr::Int(v)) => Ok(Some(*v)),
            Some(other) => Err(wrong_type(name, "an integer", other)),
        }
    }

    /// Returns an integer attribute or its default.
    ///
    /// # Errors
    /// If the attribute has another type.
    pub fn int_or(&self, name: &str, default: i64) -> Result<i64, OpError> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    /// Returns an attribute that is 0 or 1 as a boolean, or its default.
    ///
    /// # Errors
    /// If the attribute has another type or value.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, OpError> {
        match self.int_or(name, i64::from(default))? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(OpError::mismatch(name, "0 or 1", other)),
        }
    }

    /// Returns an attribute with a list of integers; `None` if it is absent.
    ///
    /// # Errors
    /// If the attribute has another type.
    pub fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, OpError> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attr::Ints(v)) => Ok(Some(v.clone())),
            Some(other) => Err(wrong_type(name, "integers", other)),
        }
    }

    /// Returns an attribute with a list of sizes in `0..2^31`; `None` if it is absent.
    ///
    /// # Errors
    /// If the attribute has another type or a value is out of range.
    pub fn sizes(&self, name: &str) -> Result<Option<Vec<usize>>, OpError> {
        let Some(values) = self.ints(name)? else { return Ok(None) };
        let size = |v: &i64| usize::try_from(*v).ok().filter(|v| *v < 1 << 31);
        match values.iter().map(size).collect() {
            Some(sizes) => Ok(Some(sizes)),
            None => Err(OpError::mismatch(name, "values in 0..2^31", format!("{values:?}"))),
        }
    }

    /// Returns a float attribute or its default.
    ///
    /// # Errors
    /// If the attribute has another type.
    pub fn float_or(&self, name: &str, default: f32) -> Result<f32, OpError> {
        match self.attribute(name) {
            None => Ok(default),
            Some(Attr::Float(v)) => Ok(*v),
            Some(other) => Err(wrong_type(name, "a float", other)),
        }
    }

    /// Returns a float attribute; `None` if it is absent.
    ///
    /// # Errors
    /// If the attribute has another type.
    pub fn float(&self, name: &str) -> Result<Option<f32>, OpError> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attr::Float(v)) => Ok(Some(*v)),
            Some(other) => Err(wrong_type(name, "a float", other)),
        }
    }

    /// Returns an attribute with a list of floats; `None` if it is absent.
    ///
    /// # Errors
    /// If the attribute has another type.
    pub fn floats(&self, name: &str) -> Result<Option<Vec<f32>>, OpError> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attr::Floats(v)) => Ok(Some(v.clone())),
            Some(other) => Err(wrong_type(name, "floats", other)),
        }
    }

    /// Returns a string attribute or its default.
    ///
    /// # Errors
    /// If the attribute has another type.
    pub fn string_or(&self, name: &str, default: &str) -> Result<String, OpError> {
        match self.attribute(name) {
            None => Ok(default.into()),
            Some(Attr::Str(v)) => Ok(v.clone()),
            Some(other) => Err(wrong_type(name, "a string", other)),
        }
    }

    /// Returns an attribute with a list of strings; `None` if it is absent.
    ///
    /// # Errors
    /// If the attribute has another type.
    pub fn strings(&self, name: &str) -> Result<Option<Vec<String>>, OpError> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attr::Strs(v)) => Ok(Some(v.clone())),
            Some(other) => Err(wrong_type(name, "strings", other)),
        }
    }

    /// Returns a tensor attribute; `None` if it is absent.
    ///
    /// # Errors
    /// If the attribute has another type.
    pub fn tensor(&self, name: &str) -> Result<Option<Tensor>, OpError> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attr::Tensor(t)) => Ok(Some(t.clone())),
            Some(other) => Err(wrong_type(name, "a tensor", other)),
        }
    }

    /// Accepts attributes that have no effect on inference.
    pub fn ignore(&self, names: &[&str]) {
        for name in names {
            self.attribute(name);
        }
    }

    /// Returns the attribute `axis` or its default, resolved to `0..rank`.
    ///
    /// # Errors
    /// If the axis is out of range.
    pub fn axis_or(&self, default: i64, rank: usize) -> Result<usize, OpError> {
        resolve(self.int_or("axis", default)?, rank)
    }

    /// Adds an operator and returns its first output. Constants and tensors of dimensions are folded.
    ///
    /// # Errors
    /// If the operands do not fit, or the result exceeds a limit.
    pub fn add(&mut self, op: impl Into<Op>, inputs: &[Value]) -> Result<Value, OpError> {
        let op = op.into();
        let types: Vec<TensorType> = inputs.iter().map(|v| self.ty(*v)).collect();
        let ty = op.infer(&types)?.into_iter().next();
        let ty = ty.ok_or_else(|| OpError::invalid("outputs of the operator", "at least 1", 0))?;
        self.check_size(&ty)?;
        let folded = fold::fold(self.graph, &op, inputs, &ty)?.unwrap_or_else(|| op.clone());
        let operands = if matches!(folded, Op::Const(_) | Op::Dims { .. }) { &[] } else { inputs };
        let name = self.origin.nodes.first().map_or("", |(n, _)| n.as_str()).to_string();
        let y = self.graph.add_value(folded, &name, ty, self.origin.clone(), operands);
        self.inherit_words(&op, inputs, y);
        Ok(y)
    }

    /// Returns a reading that adds to another graph, such as the step of a recurrence. Names there begin with that of
    /// the operator.
    pub fn within<'b>(&'b self, graph: &'b mut Graph<Op>) -> Reading<'b> {
        Reading {
            graph,
            op: self.op,
            opset: self.opset,
            inputs: &[],
            outputs: 0,
            attributes: self.attributes,
            narrow: self.narrow,
            asked: RefCell::default(),
            asked_inputs: Cell::new(0),
            origin: Origin::onnx(&self.op.to_lowercase(), self.op),
            max_tensor_bytes: self.max_tensor_bytes,
            words: self.words,
        }
    }

    pub(super) fn check_size(&self, ty: &TensorType) -> Result<(), OpError> {
        // Formulas of real models are much smaller.
        const COMPLEXITY: usize = 512;
        if ty.rank() > MAX_RANK {
            return Err(OpError::Limit(format!(
                "result has {} dimensions: the limit is {MAX_RANK}",
                ty.rank()
            )));
        }
        if ty.shape.0.iter().any(|d| d.complexity() > COMPLEXITY) {
            return Err(OpError::Limit(format!(
                "result {ty} has a dimension of too long a formula: the limit is {COMPLEXITY} terms"
            )));
        }
        if ty.shape.0.iter().any(|d| d.as_known().is_some_and(|d| d < 0)) {
            return Err(OpError::invalid("dimensions of the result", "at least 0", ty));
        }
        match (ty.shape.as_known(), ty.bytes()) {
            (Some(_), None) => Err(OpError::Limit(format!(
                "result {ty} is too large: the limit is {} bytes",
                self.max_tensor_bytes
            ))),
            (_, Some(bytes)) if bytes > self.max_tensor_bytes => Err(OpError::TensorBytes {
                what: format!("result {ty}"),
                bytes,
                limit: self.max_tensor_bytes,
            }),
            _ => Ok(()),
        }
    }

    /// Adds a constant.
    pub fn add_constant(&mut self, t: Tensor) -> Value {
        let name = self.origin.nodes.first().map_or("constant", |(n, _)| n.as_str()).to_string();
        let ty = t.ty();
        self.graph.add_value(Op::Const(t), &name, ty, self.origin.clone(), &[])
    }

    /// Adds a scalar constant of type `dtype`.
    pub fn add_scalar(&mut self, value: f64, dtype: DType) -> Value {
        let array = crate::tensor::Array::F(ndarray::arr0(value).into_dyn());
        self.add_constant(array.to_tensor(dtype))
    }
}

/// Resolves an axis in `-rank..rank` to `0..rank`.
///
/// # Errors
/// If the axis is out of range.
pub fn resolve(axis: i64, rank: usize) -> Result<usize, OpError> {
    crate::tensor::resolve_axis(axis, rank).ok_or(OpError::Axis { axis, rank })
}

/// Resolves axes in `-rank..rank` to `0..rank`, sorted.
///
/// # Errors
/// If an axis is out of range or occurs twice.
pub fn resolve_all(axes: &[i64], rank: usize) -> Result<Vec<usize>, OpError> {
    let mut resolved = axes.iter().map(|a| resolve(*a, rank)).collect::<Result<Vec<_>, _>>()?;
    resolved.sort_unstable();
    if resolved.windows(2).any(|w| w[0] == w[1]) {
        return Err(OpError::invalid("axes", "each once", format!("{axes:?}")));
    }
    Ok(resolved)
}

fn computed(property: &str) -> OpError {
    OpError::unsupported(property, "a constant, or numbers of the shapes", "computed values")
}

fn wrong_type(name: &str, expected: &str, attribute: &Attr) -> OpError {
    let actual = match attribute {
        Attr::Int(_) => "an integer",
        Attr::Ints(_) => "integers",
        Attr::Float(_) => "a float",
        Attr::Floats(_) => "floats",
        Attr::Str(_) => "a string",
        Attr::Strs(_) => "strings",
        Attr::Tensor(_) => "a tensor",
        Attr::Other(kind) => kind,
    };
    OpError::mismatch(&format!("attribute `{name}`"), expected, actual)
}
