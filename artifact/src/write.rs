//! Program → artifact.

use std::collections::HashMap;

use dlbc_ops::graph::{Graph, NodeId, PrintOp, Value};
use dlbc_ops::prim::Prim;
use dlbc_ops::program::{Program, SEED};
use dlbc_ops::tensor::{Dim, TensorType};
use dlbc_proto::onnx::{FunctionProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use dlbc_proto::{Name, write as onnx};
use serde::{Deserialize, Serialize};

use crate::dims::DimNodes;
use crate::spelling::{Body, RESULT, code, spell};
use crate::{ArtifactError, FORMAT};

/// A node of the program in the metadata.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The value's name.
    pub name: String,
    /// The primitive; a constant is the initializer of this name.
    pub prim: Option<Prim>,
    /// The values it reads.
    pub inputs: Vec<String>,
    /// The ONNX nodes it comes from.
    pub origin: Vec<(String, String)>,
}

/// The program in the metadata.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Listing {
    /// Nodes in topological order.
    pub nodes: Vec<Entry>,
    /// Program outputs: name and value.
    pub outputs: Vec<(String, String)>,
    /// The type of the seed.
    pub seed: TensorType,
}

/// Writes a program as an artifact.
///
/// # Errors
/// When a primitive has no ONNX spelling for its types.
pub fn write(program: &Program) -> Result<ModelProto, ArtifactError> {
    let mut w = Writer::new(&program.graph, true);
    w.graph()?;
    for (name, v) in program.graph.outputs() {
        let input = name.strip_prefix("relevance/").is_some_and(|n| program.info.inputs.iter().any(|i| i.name == n));
        if name.starts_with("output/") || input {
            w.output(name, *v);
        }
    }
    let listing = listing(program)?;
    let mut model = w.finish("dlbc");
    let damaged = |e: serde_json::Error| ArtifactError::Damaged(e.to_string());
    model.metadata_props = vec![
        onnx::metadata("dlbc.format", &FORMAT.to_string()),
        onnx::metadata("dlbc.version", env!("CARGO_PKG_VERSION")),
        onnx::metadata("dlbc.info", &serde_json::to_string(&program.info).map_err(damaged)?),
        onnx::metadata("dlbc.program", &serde_json::to_string(&listing).map_err(damaged)?),
    ];
    Ok(model)
}

fn listing(program: &Program) -> Result<Listing, ArtifactError> {
    let g = &program.graph;
    let seed = g.find(SEED).ok_or_else(|| ArtifactError::Damaged("the program has no seed".into()))?;
    let nodes = g.topological().into_iter().filter(|id| !matches!(g.op(*id), Prim::Input)).map(|id| Entry {
        name: g.node(id).name().into(),
        prim: (!matches!(g.op(id), Prim::Const(_))).then(|| g.op(id).clone()),
        inputs: g.node_inputs(id).iter().map(|v| g.value_name(*v).to_string()).collect(),
        origin: g.node(id).origin.nodes.clone(),
    });
    let outputs = g.outputs().iter().map(|(n, v)| (n.clone(), g.value_name(*v).to_string()));
    Ok(Listing { nodes: nodes.collect(), outputs: outputs.collect(), seed: g.ty(seed).clone() })
}

/// Writes a graph of primitives as standard nodes.
pub(crate) struct Writer<'a> {
    g: &'a Graph<Prim>,
    functions_wanted: bool,
    pub nodes: Vec<NodeProto>,
    pub dims: DimNodes,
    initializers: Vec<TensorProto>,
    pub inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
    functions: Vec<FunctionProto>,
    /// The function that spells a primitive of certain types.
    named: HashMap<String, String>,
    /// Values that go by another name than their own.
    pub renamed: HashMap<Value, String>,
}

impl<'a> Writer<'a> {
    pub fn new(g: &'a Graph<Prim>, functions_wanted: bool) -> Writer<'a> {
        let mut dims = DimNodes::default();
        for id in g.inputs() {
            if g.node(*id).name() == SEED {
                continue;
            }
            for (axis, d) in g.node(*id).types[0].shape.0.iter().enumerate() {
                d.symbols(&mut |s| dims.source(s, g.node(*id).name(), axis));
            }
        }
        Writer {
            g,
            functions_wanted,
            nodes: vec![],
            dims,
            initializers: vec![],
            inputs: vec![],
            outputs: vec![],
            functions: vec![],
            named: HashMap::new(),
            renamed: HashMap::new(),
        }
    }

    pub fn name(&self, v: Value) -> String {
        self.renamed.get(&v).cloned().unwrap_or_else(|| self.g.value_name(v).to_string())
    }

    /// Every input, constant and node.
    pub fn graph(&mut self) -> Result<(), ArtifactError> {
        for id in self.g.inputs() {
            self.inputs.push(value_info(self.g.node(*id).name(), &self.g.node(*id).types[0]));
        }
        for id in self.g.topological() {
            self.node(id)?;
        }
        Ok(())
    }

    pub fn node(&mut self, id: NodeId) -> Result<(), ArtifactError> {
        let v = Value { node: id, slot: 0 };
        let prim = self.g.op(id);
        match prim {
            Prim::Input => return Ok(()),
            Prim::Const(t) => {
                let dims: Vec<u64> = t.dims().iter().map(|d| *d as u64).collect();
                self.initializers.push(onnx::tensor(&self.name(v), code(t.dtype()), &dims, t.bytes().to_vec()));
                return Ok(());
            }
            _ => {}
        }
        let operands = self.g.node_inputs(id);
        let types: Vec<TensorType> = operands.iter().map(|v| self.g.ty(*v).clone()).collect();
        let fail = |reason: String| ArtifactError::Spelling { node: Name::new(self.g.node(id).name()), reason };
        let body = spell(prim, &types, self.g.ty(v)).map_err(fail)?;
        let mut arguments: Vec<String> = operands.iter().map(|v| self.name(*v)).collect();
        for vector in &body.vectors {
            let name = self.dims.vector(vector);
            arguments.push(name);
        }
        let result = self.name(v);
        let single = body.nodes.iter().filter(|n| !matches!(n.op_type(), "Constant" | "Identity")).count() <= 1;
        if self.functions_wanted && !single {
            let function = self.function(prim, &types, self.g.ty(v).clone(), body);
            let names: Vec<&str> = arguments.iter().map(String::as_str).collect();
            self.nodes.push(onnx::node_in("dlbc", &function, &result, &names, &[&result], vec![]));
        } else {
            self.inline(body, &arguments, &result);
        }
        Ok(())
    }

    /// The name of the function with this body; made when it is new.
    fn function(&mut self, prim: &Prim, types: &[TensorType], result: TensorType, body: Body) -> String {
        let key = format!("{prim:?} {types:?} {result}");
        if let Some(name) = self.named.get(&key) {
            return name.clone();
        }
        let title = prim.name();
        let same = self.functions.iter().filter(|f| f.name().split('_').next() == Some(&title)).count();
        let name = if same == 0 { title } else { format!("{title}_{same}") };
        let mut formals = body.inputs.clone();
        formals.extend((0..body.vectors.len()).map(|i| format!("d{i}")));
        let formals: Vec<&str> = formals.iter().map(String::as_str).collect();
        let mut function =
            onnx::function("dlbc", &name, &formals, &[RESULT], body.nodes, vec![onnx::opset("", 17)]);
        function.doc_string = Some(format!("{}{}", prim.name(), prim.attributes()));
        self.functions.push(function);
        self.named.insert(key, name.clone());
        name
    }

    fn inline(&mut self, body: Body, arguments: &[String], result: &str) {
        let operands = body.inputs.len();
        let rename = |t: &String| -> String {
            if t == RESULT {
                return result.to_string();
            }
            let (kind, number) = t.split_at(1);
            match (kind, number.parse::<usize>()) {
                ("x", Ok(i)) => arguments[i].clone(),
                ("d", Ok(i)) => arguments[operands + i].clone(),
                _ => format!("{result}/{t}"),
            }
        };
        for mut node in body.nodes {
            node.input = node.input.iter().map(rename).collect();
            node.output = node.output.iter().map(rename).collect();
            node.name = node.output.first().cloned();
            self.nodes.push(node);
        }
    }

    /// Adds a graph output.
    pub fn output(&mut self, name: &str, v: Value) {
        let own = self.name(v);
        if own != name {
            self.nodes.push(onnx::node("Identity", name, &[&own], &[name], vec![]));
        }
        self.outputs.push(value_info(name, self.g.ty(v)));
    }

    pub fn initializer(&mut self, t: TensorProto) {
        self.initializers.push(t);
    }

    pub fn finish(self, name: &str) -> ModelProto {
        let mut nodes = self.dims.nodes;
        nodes.extend(self.nodes);
        let graph = onnx::graph(name, nodes, self.initializers, self.inputs, self.outputs);
        let mut opsets = vec![onnx::opset("", 17)];
        if self.functions_wanted {
            opsets.push(onnx::opset("dlbc", 1));
        }
        let mut model = onnx::model(graph, opsets);
        model.functions = self.functions;
        model.producer_name = Some("dlbc".into());
        model.producer_version = Some(env!("CARGO_PKG_VERSION").into());
        model
    }
}

/// A graph input or output; a dimension that is an expression is left unnamed.
pub(crate) fn value_info(name: &str, ty: &TensorType) -> ValueInfoProto {
    let dims: Vec<onnx::Dim> = ty.shape.0.iter().map(dim).collect();
    onnx::value_info(name, code(ty.dtype), &dims)
}

fn dim(d: &Dim) -> onnx::Dim {
    match d.as_known() {
        Some(v) => onnx::Dim::Value(v as _),
        None => {
            let text = d.to_string();
            let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if plain { onnx::Dim::Symbol(text) } else { onnx::Dim::Unknown }
        }
    }
}
