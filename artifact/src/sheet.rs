//! Where the nodes of a spelling go: the main graph, or the body of a function.

use std::collections::{HashMap, HashSet};

use dlbc_ops::tensor::{Array, DType, Dim, Tensor};
use dlbc_proto::onnx::{AttributeProto, NodeProto, TensorProto};
use dlbc_proto::{Bytes, DataType, write};

use crate::dims::{Source, Sources};

/// The name of the result of a function.
pub(crate) const RESULT: &str = "y";

/// Receives the nodes of spellings.
pub(crate) struct Sheet {
    /// The nodes, in order.
    pub nodes: Vec<NodeProto>,
    /// How many of `nodes` are constants of a spelling.
    pub constants: usize,
    place: Place,
    /// What was made already, by what makes it.
    shared: HashMap<String, String>,
    taken: HashSet<String>,
    prefix: String,
    /// The number of nameless values.
    count: usize,
}

enum Place {
    Main(Main),
    /// The vectors of dimensions that the caller passes.
    Function(Vec<Vec<Dim>>),
}

/// What only a main graph has.
#[derive(Default)]
pub(crate) struct Main {
    /// Constants.
    pub initializers: Vec<TensorProto>,
    /// Nodes that compute dimensions; they stand first.
    pub prelude: Vec<NodeProto>,
    /// Where symbols are known from.
    pub sources: Sources,
    /// Dimensions that depend on measured values.
    late: HashSet<String>,
}

impl Main {
    fn is_measured(&self, value: &str) -> bool {
        self.sources.values().any(|s| matches!(s, Source::Value(v) if v == value))
    }
}

impl Sheet {
    /// A main graph in which the names `taken` are in use.
    pub fn main(sources: Sources, taken: HashSet<String>) -> Sheet {
        Sheet::new(Place::Main(Main { sources, ..Main::default() }), taken)
    }

    /// A function body.
    pub fn function() -> Sheet {
        Sheet::new(Place::Function(vec![]), HashSet::new())
    }

    fn new(place: Place, taken: HashSet<String>) -> Sheet {
        Sheet {
            nodes: vec![],
            constants: 0,
            place,
            shared: HashMap::new(),
            taken,
            prefix: String::new(),
            count: 0,
        }
    }

    /// Values made from now on belong to `result`: their names begin with it.
    pub fn begin(&mut self, result: &str) {
        self.prefix = result.into();
    }

    /// What only a main graph has.
    pub fn into_main(self) -> (Vec<NodeProto>, Main) {
        match self.place {
            Place::Main(main) => (self.nodes, main),
            Place::Function(_) => (self.nodes, Main::default()),
        }
    }

    /// The vectors of dimensions that the caller of a function passes.
    pub fn vectors(&self) -> &[Vec<Dim>] {
        match &self.place {
            Place::Main(_) => &[],
            Place::Function(vectors) => vectors,
        }
    }

    /// A name that nothing has, close to `name`.
    pub fn fresh(&mut self, name: &str) -> String {
        let mut candidate = name.to_string();
        let mut n = 1;
        while !self.taken.insert(candidate.clone()) {
            n += 1;
            candidate = format!("{name}.{n}");
        }
        candidate
    }

    /// A name for a value of an operation.
    pub fn name(&mut self, op: &str) -> String {
        match self.place {
            Place::Main(_) => self.fresh(&format!("{}/{op}", self.prefix)),
            Place::Function(_) => self.numbered("t"),
        }
    }

    fn numbered(&mut self, word: &str) -> String {
        self.count += 1;
        self.fresh(&format!("{word}{}", self.count))
    }

    /// Adds a node and returns its result.
    pub fn node(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let name = self.name(op);
        self.nodes.push(write::node(op, &name, inputs, &[&name], attributes));
        name
    }

    /// Adds a node with two results, and returns the second.
    pub fn second(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let (first, second) = (self.name(op), self.name(op));
        self.nodes.push(write::node(op, &second, inputs, &[&first, &second], attributes));
        second
    }

    /// The nodes that `fill` adds, apart: those of a graph within a node. What they make is not known outside.
    pub fn nested<T>(&mut self, fill: impl FnOnce(&mut Sheet) -> T) -> (T, Vec<NodeProto>) {
        let outer = std::mem::take(&mut self.nodes);
        let (shared, constants) = (self.shared.clone(), self.constants);
        let made = fill(self);
        let nodes = std::mem::replace(&mut self.nodes, outer);
        (self.shared, self.constants) = (shared, constants);
        (made, nodes)
    }

    /// Adds a node unless the same one is there already. Not for the last node of a spelling, which takes the name of the
    /// result.
    pub fn shared(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let key = format!("{op} {inputs:?} {attributes:?}");
        if let Some(name) = self.shared.get(&key) {
            return name.clone();
        }
        let name = self.node(op, inputs, attributes);
        self.shared.insert(key, name.clone());
        name
    }

    /// Adds a node to the prelude unless the same one is there already; what depends on measured values stands where it is
    /// needed.
    pub fn early(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let key = format!("{op} {inputs:?} {attributes:?}");
        if let Some(name) = self.shared.get(&key) {
            return name.clone();
        }
        let name = self.numbered("dlbc.dim/");
        let node = write::node(op, &name, inputs, &[&name], attributes);
        let late = match &self.place {
            Place::Main(main) => inputs.iter().any(|i| main.late.contains(*i) || main.is_measured(i)),
            Place::Function(_) => false,
        };
        match &mut self.place {
            Place::Main(main) if late => {
                main.late.insert(name.clone());
                self.nodes.push(node);
            }
            Place::Main(main) => main.prelude.push(node),
            Place::Function(_) => self.nodes.push(node),
        }
        self.shared.insert(key, name.clone());
        name
    }

    /// Gives the result of the last node the name `target`; a result that another node made is copied.
    pub fn finish(&mut self, result: &str, target: &str) {
        match self.nodes.last_mut() {
            Some(node) if node.output.last().is_some_and(|o| o == result) => {
                node.output.pop();
                node.output.push(target.into());
                node.name = Some(target.into());
            }
            _ => self.nodes.push(write::node("Identity", target, &[result], &[target], vec![])),
        }
    }

    /// A constant; equal ones are made once.
    pub fn constant(&mut self, t: &Tensor) -> String {
        let key = format!("constant {} {:?}", t.ty(), t.bytes());
        if let Some(name) = self.shared.get(&key) {
            return name.clone();
        }
        let name = self.numbered(if let Place::Main(_) = self.place { "dlbc.const/" } else { "c" });
        match &mut self.place {
            Place::Main(main) => main.initializers.push(initializer(&name, t)),
            Place::Function(_) => {
                let value = vec![write::attr_tensor("value", initializer("", t))];
                self.nodes.push(write::node("Constant", &name, &[], &[&name], value));
                self.constants += 1;
            }
        }
        self.shared.insert(key, name.clone());
        name
    }

    /// A scalar of an element type.
    pub fn scalar(&mut self, dtype: DType, value: f64) -> String {
        self.constant(&Array::F(ndarray::arr0(value).into_dyn()).to_tensor(dtype))
    }

    /// An int64 vector.
    pub fn ints(&mut self, values: &[i64]) -> String {
        self.constant(&Tensor::from_i64(&[values.len()], values))
    }

    /// An int64 vector of dimensions: a constant when they are known, else computed by the main graph.
    ///
    /// # Errors
    /// When a symbol is no dimension of an input.
    pub fn vector(&mut self, dims: &[Dim]) -> Result<String, String> {
        if let Some(known) = dims.iter().map(Dim::as_known).collect::<Option<Vec<i64>>>() {
            return Ok(self.ints(&known));
        }
        match &mut self.place {
            Place::Main(_) => crate::dims::vector(self, dims),
            Place::Function(vectors) => {
                let at = vectors.iter().position(|v| v == dims).unwrap_or_else(|| {
                    vectors.push(dims.to_vec());
                    vectors.len() - 1
                });
                Ok(format!("d{at}"))
            }
        }
    }

    /// Where a symbol is known from.
    pub fn source(&self, symbol: &str) -> Option<Source> {
        match &self.place {
            Place::Main(main) => main.sources.get(symbol).cloned(),
            Place::Function(_) => None,
        }
    }
}

/// A tensor of the file; its bytes are shared, not copied.
pub(crate) fn initializer(name: &str, t: &Tensor) -> TensorProto {
    struct Shared(Tensor);
    impl AsRef<[u8]> for Shared {
        fn as_ref(&self) -> &[u8] {
            self.0.bytes()
        }
    }
    let dims: Vec<u64> = t.dims().iter().map(|d| *d as u64).collect();
    write::tensor(name, code(t.dtype()), &dims, Bytes::from_owner(Shared(t.clone())))
}

/// The file's element type.
pub(crate) fn code(dtype: DType) -> DataType {
    match dtype {
        DType::F32 => DataType::F32,
        DType::F64 => DataType::F64,
        DType::F16 => DataType::F16,
        DType::Bf16 => DataType::Bf16,
        DType::I8 => DataType::I8,
        DType::I16 => DataType::I16,
        DType::I32 => DataType::I32,
        DType::I64 => DataType::I64,
        DType::U8 => DataType::U8,
        DType::U16 => DataType::U16,
        DType::U32 => DataType::U32,
        DType::U64 => DataType::U64,
        DType::Bool => DataType::Bool,
    }
}

/// An attribute of sizes.
pub(crate) fn sizes(name: &str, values: &[usize]) -> AttributeProto {
    write::attr_ints(name, values.iter().map(|v| *v as i64).collect::<Vec<_>>())
}
