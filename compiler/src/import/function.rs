//! Model-local functions: every call is replaced by the body, within the node budget.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use dlbc_ops::OpError;
use dlbc_proto::onnx::{AttributeProto, FunctionProto, NodeProto, OperatorSetIdProto};
use dlbc_proto::{Model, Name};

use super::name::node_name;
use crate::error::CompileError;

type Key<'a> = (&'a str, &'a str);

/// Versions by domain; ai.onnx is the empty domain.
fn opsets(imports: &[OperatorSetIdProto]) -> BTreeMap<String, i64> {
    let domain = |d: &str| if d == "ai.onnx" { String::new() } else { d.to_string() };
    imports.iter().map(|o| (domain(o.domain()), o.version())).collect()
}

/// A node with the opset versions that it is written in: the model's, or those of its function.
pub struct Expanded {
    /// The node.
    pub node: NodeProto,
    /// Versions by domain.
    pub opsets: Rc<BTreeMap<String, i64>>,
}

/// The main graph's nodes with every call expanded.
///
/// # Errors
/// For functions that call themselves, and for more than `max_nodes` nodes.
pub fn inline(model: &Model, max_nodes: usize) -> Result<Vec<Expanded>, CompileError> {
    inline_within(model, &model.graph().node, &Rc::new(opsets(&model.proto.opset_import)), max_nodes)
}

/// The nodes of a graph within a node that is written in `versions`, with every call expanded.
///
/// # Errors
/// As [`inline`].
pub fn inline_within(
    model: &Model,
    nodes: &[NodeProto],
    versions: &Rc<BTreeMap<String, i64>>,
    max_nodes: usize,
) -> Result<Vec<Expanded>, CompileError> {
    let functions: HashMap<Key, &FunctionProto> =
        model.proto.functions.iter().map(|f| ((f.domain(), f.name()), f)).collect();
    let mut expansion = Expansion { functions, nodes: vec![], max_nodes, calls: 0 };
    for node in nodes {
        expansion.node(node.clone(), versions, &mut vec![])?;
    }
    Ok(expansion.nodes)
}

struct Expansion<'a> {
    functions: HashMap<Key<'a>, &'a FunctionProto>,
    nodes: Vec<Expanded>,
    max_nodes: usize,
    calls: usize,
}

impl Expansion<'_> {
    fn node(
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
        // The path is as long as calls nest; a function that is on it calls itself.
        if path.contains(&key) {
            path.push(key);
            return Err(CompileError::RecursiveFunction(Name::new(&path.join(" → ")).to_string()));
        }
        self.calls += 1;
        if self.calls > self.max_nodes {
            return Err(CompileError::TooManyNodes(self.max_nodes));
        }
        path.push(key);
        let mut own = (**versions).clone();
        own.extend(opsets(&function.opset_import));
        let own = Rc::new(own);
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
            self.node(body, &own, path)?;
        }
        path.pop();
        Ok(())
    }
}

/// Refuses a call with more operands or outputs than its function has, and a function that does not make its outputs.
fn check_call(node: &NodeProto, function: &FunctionProto) -> Result<(), CompileError> {
    let named = |names: &[String]| names.iter().rposition(|n| !n.is_empty()).map_or(0, |i| i + 1);
    for (what, given, taken) in [
        ("inputs", named(&node.input), function.input.len()),
        ("outputs", named(&node.output), function.output.len()),
    ] {
        if given > taken {
            let source = OpError::mismatch(what, format!("at most {taken}"), given);
            return Err(CompileError::Node {
                node: Name::new(node_name(node)),
                op: Name::new(node.op_type()),
                source,
            });
        }
    }
    let made: HashSet<&String> =
        function.node.iter().flat_map(|n| &n.output).chain(&function.input).collect();
    if let Some(missing) = function.output.iter().find(|o| !made.contains(o)) {
        let source =
            OpError::Invalid(format!("no node of the function makes its output {}", Name::new(missing)));
        return Err(CompileError::Node {
            node: Name::new(node_name(node)),
            op: Name::new(node.op_type()),
            source,
        });
    }
    Ok(())
}

/// An attribute that refers to one of the function's takes the call's value, or the default; without either it is left out.
fn resolve(
    a: AttributeProto,
    call: &[AttributeProto],
    defaults: &[AttributeProto],
) -> Option<AttributeProto> {
    let from = a.ref_attr_name().to_string();
    if from.is_empty() {
        return Some(a);
    }
    let found = call.iter().chain(defaults).find(|c| c.name() == from)?;
    Some(AttributeProto { name: a.name.clone(), ref_attr_name: None, ..found.clone() })
}
