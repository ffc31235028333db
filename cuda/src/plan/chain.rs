//! Elementwise expressions: a node that one other node reads joins that node's kernel.

use dlbc_backend::BackendError;
use dlbc_ops::graph::{NodeId, Value};
use dlbc_ops::prim::{Binary, Prim, Transform};
use dlbc_ops::tensor::{DType, Tensor};
use dlbc_ptx::kernel::pointwise::{Access, Chain, ChainArgs, Kind, Operand, Term};

use super::expression::{Expression, Together};
use super::prim::At;
use super::view::{collapse, words};
use super::{Made, Planner, Scope, Step, View};

/// Operands and terms of a kernel; larger expressions are split.
const MAX_OPERANDS: usize = 12;
const MAX_TERMS: usize = 40;

/// A node's function of its operands, given by their places among an expression's terms.
type TermOf<'a> = dyn Fn(&Expression, &[usize]) -> Term + 'a;

/// A constant of one element as a term.
pub(super) fn scalar(t: &Tensor) -> Option<Term> {
    if t.elems() != 1 {
        return None;
    }
    Some(match Kind::of(t.dtype()) {
        Kind::F => Term::Float(t.to_f32()[0]),
        Kind::I => Term::Int(t.to_i64()[0]),
        Kind::B => Term::Bool(t.to_i64()[0] != 0),
    })
}

impl Planner {
    /// An operand of an expression over `dims`.
    fn operand(&mut self, scope: &mut Scope, v: Value, dims: &[usize]) -> Expression {
        if let Prim::Const(t) = scope.graph.op(v.node)
            && let Some(term) = scalar(t)
        {
            let kind = Kind::of(t.dtype());
            return Expression { terms: vec![(term, kind)], ..Expression::fill(&[], kind) };
        }
        match scope.made.get(&v) {
            Some(Made::Expression(e)) if e.dims == dims && e.status.is_none() => e.clone(),
            _ => Expression::of(self.view(scope, v)),
        }
    }

    /// An elementwise node, as an expression when one node alone reads it. `term` is its function of operands, given by their
    /// places among the terms of the expression.
    pub(super) fn elementwise(&mut self, at: &mut At<'_, '_>, term: &TermOf) -> Result<Made, BackendError> {
        let At { scope, id, inputs, dims } = at;
        let (graph, id) = (scope.graph, *id);
        let kind = Kind::of(graph.node(id).types[0].dtype);
        let mut parts: Vec<Expression> = vec![];
        for v in inputs.iter() {
            let part = self.operand(scope, *v, dims);
            // Two products of the same operands are one kernel's.
            if let ([first], Prim::Binary(f)) = (parts.as_slice(), graph.op(id)) {
                match first.together(&part, *f == Binary::Add) {
                    Some(Together::Sum(e)) => return Ok(self.made(scope, id, e)),
                    Some(Together::Pair(pair)) => {
                        parts = pair.to_vec();
                        break;
                    }
                    None => {}
                }
            }
            // One product can wait, and its kernel must be able to do what follows.
            if part.product.is_some() && parts.iter().any(|p| p.product.is_some()) {
                parts.push(Expression::of(self.view(scope, *v)));
            } else {
                parts.push(part);
            }
        }
        let mut e = self.joined(scope, id, (dims, term), &mut parts);
        if e.product.is_some() && e.epilogue().is_none() {
            for (part, v) in parts.iter_mut().zip(inputs.iter()).filter(|(p, _)| p.waits()) {
                *part = Expression::of(self.view(scope, *v));
            }
            e = self.joined(scope, id, (dims, term), &mut parts);
        }
        if kind == Kind::I && e.terms.last().is_some_and(|(t, _)| divides(t)) {
            e.status = Some(self.status(scope, id, "integer division by 0"));
        }
        Ok(self.made(scope, id, e))
    }

    /// An expression that one node alone reads stays one, and so does a part of a stored value; others are computed.
    pub(super) fn made(&mut self, scope: &Scope, id: NodeId, e: Expression) -> Made {
        let alone = scope.uses.get(&id) == Some(&1) && e.status.is_none();
        if alone || e.part().is_some() { Made::Expression(e) } else { Made::View(self.emit(&e)) }
    }

    /// The operand of a product, in memory, and the part of it that counts: a part of a stored value need not be stored.
    pub(super) fn part(&mut self, scope: &mut Scope, v: Value, part: Transform) -> (View, Transform) {
        if let (Transform::Id, Some(Made::Expression(e))) = (part, scope.made.get(&v))
            && let Some((view, part)) = e.part()
        {
            return (view, part);
        }
        (self.view(scope, v), part)
    }

    /// The same of an operand that must lie dense: a part of what does not is stored.
    pub(super) fn dense_part(&mut self, scope: &mut Scope, v: Value) -> (View, Transform) {
        let (view, part) = self.part(scope, v, Transform::Id);
        if view.is_dense() { (view, part) } else { (self.dense_view(scope, v), Transform::Id) }
    }

    /// The node's function of its operands, those that would make the expression too large in memory.
    fn joined(
        &mut self,
        scope: &mut Scope,
        id: NodeId,
        (dims, term): (&[usize], &TermOf),
        parts: &mut [Expression],
    ) -> Expression {
        let (graph, inputs) = (scope.graph, scope.graph.node_inputs(id));
        let kind = Kind::of(graph.node(id).types[0].dtype);
        let mut e = Expression { terms: vec![], ..Expression::fill(dims, kind) };
        let mut places = vec![];
        for (part, v) in parts.iter_mut().zip(&inputs) {
            let operands = e.operands.len() + part.operands.len();
            if operands > MAX_OPERANDS || e.terms.len() + part.terms.len() > MAX_TERMS {
                *part = Expression::of(self.view(scope, *v));
            }
            places.push(e.take_in(part));
        }
        let term = term(&e, &places);
        e.terms.push((term, kind));
        e
    }

    /// Computes an expression into a buffer of its own.
    pub(super) fn emit(&mut self, e: &Expression) -> View {
        let out = self.buffer(e.kind(), &e.dims);
        self.emit_into(e, &out, true);
        out
    }

    /// Computes an expression into a view; `whole` when that is all of its buffer.
    pub(super) fn emit_into(&mut self, e: &Expression, out: &View, whole: bool) {
        let count = out.elems();
        if count == 0 {
            return;
        }
        if let Some(product) = &e.product {
            let Some((then, beside)) = e.epilogue().filter(|_| out.is_dense()) else {
                let results: Vec<View> = product.apart().iter().map(|p| self.result(p)).collect();
                return self.emit_into(&e.stored(&results), out, whole);
            };
            return self.compute(product, out, whole, (then, beside));
        }
        let operands: Vec<View> = e.operands.iter().map(|v| v.broadcast(&e.dims)).collect();
        let lists: Vec<&[i64]> =
            std::iter::once(&out.strides[..]).chain(operands.iter().map(|v| &v.strides[..])).collect();
        let (dims, strides) = collapse(&e.dims, &lists);
        let even = |list: &[i64]| dims.len() <= 1 && list.iter().all(|s| *s == 1);
        let access = |list: &[i64]| match list {
            list if list.iter().all(|s| *s == 0) => Access::Scalar,
            list if even(list) => Access::Linear,
            // Dense over several axes, beside an operand that is not.
            list if *list == super::view::strides(&dims) => Access::Linear,
            _ => Access::Strided,
        };
        let out_access = match access(&strides[0]) {
            // A single element is written as it is.
            Access::Scalar => Access::Linear,
            other => other,
        };
        let described: Vec<Operand> = operands
            .iter()
            .zip(&strides[1..])
            .map(|(v, s)| Operand { kind: v.kind, access: access(s) })
            .collect();
        let strided = |a: Access| a == Access::Strided;
        let any = strided(out_access) || described.iter().any(|o| strided(o.access));
        let floats = e.terms.iter().all(|(_, k)| *k == Kind::F);
        let aligned = out.offset % 4 == 0
            && operands.iter().zip(&described).all(|(v, o)| o.access == Access::Scalar || v.offset % 4 == 0);
        let wide = !any && floats && aligned && count.is_multiple_of(4);
        let chain = Chain {
            operands: described.clone(),
            terms: e.terms.clone(),
            rank: if any { dims.len() } else { 0 },
            out: out_access,
            width: if wide { 4 } else { 1 },
        };
        let kernel = self.kernel(chain.name(), || chain.emit());
        let args = ChainArgs {
            count: count as u32,
            dims: if any { dims.iter().map(|d| *d as u32).collect() } else { vec![] },
            out_strides: if strided(out_access) { words(&strides[0]) } else { vec![] },
            strides: described
                .iter()
                .zip(&strides[1..])
                .filter(|(o, _)| strided(o.access))
                .map(|(_, s)| words(s))
                .collect(),
            ..ChainArgs::default()
        };
        let grid = [chain.blocks(count as u32), 1, 1];
        let (own, status, sources) = (out.clone(), e.status.clone(), operands.clone());
        let params = move |at: &super::Addresses| {
            chain.params(&ChainArgs {
                out: at.of(&own),
                status: status.as_ref().map_or(0, |s| at.of(s)),
                operands: sources.iter().map(|v| at.of(v)).collect(),
                ..args.clone()
            })
        };
        let (mut writes, mut updates) = (vec![], vec![]);
        if whole {
            writes.push(out.clone())
        } else {
            updates.push(out.clone())
        }
        updates.extend(e.status.clone());
        self.push(Step { kernel, grid, params: Box::new(params), reads: operands, writes, updates });
    }
}

/// Whether integers can fail at it.
fn divides(term: &Term) -> bool {
    matches!(term, Term::Binary(Binary::Div | Binary::Mod | Binary::Pow, ..))
}

/// Whether a conversion leaves the device's value as it is.
pub(super) fn unchanged(from: DType, to: DType) -> bool {
    let whole = |d: DType| matches!(d, DType::F32 | DType::F64 | DType::I64 | DType::U64 | DType::Bool);
    from == to || (Kind::of(from) == Kind::of(to) && whole(to))
}
