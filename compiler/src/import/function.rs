//! Expansion of model-local functions: every call is replaced by the body of its function.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use dlbc_ops::OpError;
use dlbc_proto::onnx::{AttributeProto, FunctionProto, NodeProto, OperatorSetIdProto};
use dlbc_proto::{Model, Name};

use super::name::node_name;
use crate::error::CompileError;

/// Domain and name of a function.
type Key<'a> = (&'a str, &'a str);

/// Collects opset versions by domain; ai.onnx is the empty domain.
fn opsets(imports: &[OperatorSetIdProto]) -> BTreeMap<String, i64> {
    let domain = |d: &str| if d == "ai.onnx" { String::new() } else { d.to_string() };
    imports.iter().map(|o| (domain(o.domain()), o.version())).collect()
}

/// A node that calls no function, with the opset versions of its model or function.
pub struct Expanded {
    /// The node.
    pub node: NodeProto,
    /// Opset versions by domain; ai.onnx is the empty domain.
    pub opsets: Rc<BTreeMap<String, i64>>,
}

/// Returns the nodes of the main graph with every call expanded.
///
/// # Errors
/// For functions that call themselves, and for more than `max_nodes` nodes.
pub fn inline(model: &Model, max_nodes: usize) -> Result<Vec<Expanded>, CompileError> {
    inline_nodes(model, &model.graph().node, &Rc::new(opsets(&model.proto.opset_import)), max_nodes)
}

/// Returns the nodes of a graph with every call expanded. `versions` are the opset versions of the graph.
///
/// # Errors
/// For functions that call themselves, and for more than `max_nodes` nodes.
pub fn inline_nodes(
    model: &Model,
    nodes: &[NodeProto],
    versions: &Rc<BTreeMap<String, i64>>,
    max_nodes: usize,
) -> Result<Vec<Expanded>, CompileError> {
    let functions: HashMap<Key, &FunctionProto> =
        model.proto.functions.iter().map(|f| ((f.domain(), f.name()), f)).collect();
    let mut expansion = Expansion { functions, nodes: vec![], max_nodes, calls: 0 };
    for node in nodes {
        expansion.expand(node.clone(), versions, &mut vec![])?;
    }
    Ok(expansion.nodes)
}

/// An expansion in progress.
struct Expansion<'a> {
    functions: HashMap<Key<'a>, &'a FunctionProto>,
    nodes: Vec<Expanded>,
    max_nodes: usize,
    /// Number of calls expanded; part of the names of their tensors.
    calls: usize,
}

impl Expansion<'_> {
    /// Appends a node, or the nodes of the function that it calls. `path` lists the functions that are being expanded.
    fn expand(
        &mut self,
        node: NodeProto,
        versions: &Rc<BTreeMap<String, i64>>,
        path: &mut Vec<String>,
    ) -> Result<(), CompileError> {
        let Some(function) = self.functions.get(&(node.domain(), node.op_type())).copied() else {
            self.nodes.push(Expanded { node, opsets: versions.clone() });
            return if self.nodes.len() > self.max_nodes {
                Err(CompileError::TooManyNodes(self.max_nodes))
            } else {
                Ok(())
            };
        };
        check_call(&node, function)?;
        let key = format!("{}::{}", function.domain(), function.name());
        // A function that is being expanded already calls itself.
        if path.contains(&key) {
            path.push(key);
            return Err(CompileError::RecursiveFunction(Name::new(&path.join(" → ")).to_string()));
        }
        self.calls += 1;
        if self.calls > self.max_nodes {
            return Err(CompileError::TooManyNodes(self.max_nodes));
        }
        path.push(key);
        let mut versions = (**versions).clone();
        versions.extend(opsets(&function.opset_import));
        let versions = Rc::new(versions);
        let prefix = format!("{}/{}", node_name(&node), self.calls);
        let mut names: HashMap<&str, String> = HashMap::new();
        for (i, formal) in function.input.iter().enumerate() {
            names.insert(formal, node.input.get(i).cloned().unwrap_or_default());
        }
        for (i, formal) in function.output.iter().enumerate() {
            let actual = node.output.get(i).filter(|o| !o.is_empty()).cloned();
            names.insert(formal, actual.unwrap_or_else(|| format!("{prefix}/{formal}")));
        }
        for body in &function.node {
            let mut body = body.clone();
            body.name = Some(format!("{prefix}/{}", node_name(&body)));
            let rename = |t: &mut String| {
                if !t.is_empty() {
                    *t = names.get(t.as_str()).cloned().unwrap_or_else(|| format!("{prefix}/{t}"));
                }
            };
            body.input.iter_mut().for_each(rename);
            body.output.iter_mut().for_each(rename);
            body.attribute = std::mem::take(&mut body.attribute)
                .into_iter()
                .filter_map(|a| resolve(a, &node.attribute, &function.attribute_proto))
                .collect();
            self.expand(body, &versions, path)?;
        }
        path.pop();
        Ok(())
    }
}

/// Checks that a call has no more inputs and outputs than its function, and that the function defines its outputs.
fn check_call(node: &NodeProto, function: &FunctionProto) -> Result<(), CompileError> {
    let count_named = |names: &[String]| names.iter().rposition(|n| !n.is_empty()).map_or(0, |i| i + 1);
    for (what, arguments, parameters) in [
        ("inputs", count_named(&node.input), function.input.len()),
        ("outputs", count_named(&node.output), function.output.len()),
    ] {
        if arguments > parameters {
            let source = OpError::mismatch(what, format!("at most {parameters}"), arguments);
            return Err(CompileError::Node {
                node: Name::new(node_name(node)),
                op: Name::new(node.op_type()),
                source,
            });
        }
    }
    let defined: HashSet<&String> =
        function.node.iter().flat_map(|n| &n.output).chain(&function.input).collect();
    if let Some(missing) = function.output.iter().find(|o| !defined.contains(o)) {
        let property = format!("output {} of the function", Name::new(missing));
        let source = OpError::invalid(&property, "an output of one of its nodes", "none");
        return Err(CompileError::Node {
            node: Name::new(node_name(node)),
            op: Name::new(node.op_type()),
            source,
        });
    }
    Ok(())
}

/// Resolves an attribute that refers to a parameter of the function: it gets the value at the call, or the default. `None` if
/// there is neither.
fn resolve(
    a: AttributeProto,
    call: &[AttributeProto],
    defaults: &[AttributeProto],
) -> Option<AttributeProto> {
    let parameter = a.ref_attr_name().to_string();
    if parameter.is_empty() {
        return Some(a);
    }
    let value = call.iter().chain(defaults).find(|c| c.name() == parameter)?;
    Some(AttributeProto { name: a.name.clone(), ref_attr_name: None, ..value.clone() })
}
