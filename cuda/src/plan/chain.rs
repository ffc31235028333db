//! Fusion of elementwise nodes: a node with a single reader is computed in the reader's kernel.

use dlbc_backend::BackendError;
use dlbc_ops::graph::{NodeId, Value};
use dlbc_ops::prim::{Binary, Prim, Transform};
use dlbc_ops::tensor::{DType, Tensor};
use dlbc_ptx::kernel::pointwise::{Access, Chain, ChainArgs, Kind, Operand, Term};
use dlbc_ptx::kernel::storage::Storage;

use super::expression::{Expression, Fused};
use super::prim::NodeContext;
use super::view::{collapse, kernel_strides};
use super::{LoweredValue, Planner, Scope, Step, Use, View};

/// Maximum number of operands of a kernel; larger expressions are split.
const MAX_OPERANDS: usize = 12;
/// Maximum number of terms of a kernel; larger expressions are split.
const MAX_TERMS: usize = 40;

/// Builds a node's term from the indices of its operands among the terms of an expression.
type TermOf<'a> = dyn Fn(&Expression, &[usize]) -> Term + 'a;

/// Returns a constant with one element as a term.
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
    /// Returns an operand of an expression over `dims`: a deferred expression if it can be fused, else a view.
    fn operand(&mut self, scope: &mut Scope, v: Value, dims: &[usize]) -> Expression {
        if let Prim::Const(t) = scope.graph.op(v.node)
            && let Some(term) = scalar(t)
        {
            let kind = Kind::of(t.dtype());
            return Expression { terms: vec![(term, kind)], ..Expression::zeros(&[], kind) };
        }
        match scope.values.get(&v) {
            Some(LoweredValue::Expression(e)) if e.dims == dims && e.status.is_none() => e.clone(),
            _ => Expression::from_view(self.element_view(scope, v)),
        }
    }

    /// Lowers an elementwise node: to an expression if it has a single reader, else to a stored value. `term` builds its term.
    pub(super) fn elementwise(
        &mut self,
        node: &mut NodeContext<'_, '_>,
        term: &TermOf,
    ) -> Result<LoweredValue, BackendError> {
        let NodeContext { scope, id, inputs, dims } = node;
        let (graph, id) = (scope.graph, *id);
        let kind = Kind::of(graph.node(id).types[0].dtype);
        let mut parts: Vec<Expression> = vec![];
        for v in inputs.iter() {
            let part = self.operand(scope, *v, dims);
            // Two products of the same operands fuse to one kernel.
            if let ([first], Prim::Binary(f)) = (parts.as_slice(), graph.op(id)) {
                match first.fuse_products(&part, *f) {
                    Some(Fused::Sum(e)) => return Ok(self.fuse_or_store(scope, id, e)),
                    Some(Fused::Pair(pair)) => {
                        parts = pair.to_vec();
                        break;
                    }
                    None => {}
                }
            }
            // An expression can contain one deferred product, whose epilogue it becomes.
            if part.product.is_some() && parts.iter().any(|p| p.product.is_some()) {
                parts.push(Expression::from_view(self.element_view(scope, *v)));
            } else {
                parts.push(part);
            }
        }
        let mut e = self.joined(scope, id, (dims, term), &mut parts);
        if e.product.is_some() && e.epilogue().is_none() {
            for (part, v) in parts.iter_mut().zip(inputs.iter()).filter(|(p, _)| p.reads_product()) {
                *part = Expression::from_view(self.element_view(scope, *v));
            }
            e = self.joined(scope, id, (dims, term), &mut parts);
        }
        if kind == Kind::I && e.terms.last().is_some_and(|(t, _)| divides(t)) {
            e.status = Some(self.status(scope, id, "integer division by 0: expected a divisor other than 0"));
        }
        Ok(self.fuse_or_store(scope, id, e))
    }

    /// Defers an expression that has a single reader or is an operand transform of a stored value; computes any other.
    pub(super) fn fuse_or_store(&mut self, scope: &Scope, id: NodeId, e: Expression) -> LoweredValue {
        let one_reader = scope.uses.get(&id) == Some(&1) && e.status.is_none();
        if one_reader || e.transformed_view().is_some() {
            LoweredValue::Expression(e)
        } else {
            LoweredValue::View(self.emit_in(&e, self.storage(scope, id)))
        }
    }

    /// Returns a product's operand in memory, which may be narrow, and the transform that its kernel applies. A deferred transform of
    /// a stored value is left to the kernel.
    pub(super) fn product_operand(
        &mut self,
        scope: &mut Scope,
        v: Value,
        transform: Transform,
    ) -> (View, Transform) {
        if let (Transform::Id, Some(LoweredValue::Expression(e))) = (transform, scope.values.get(&v))
            && let Some(transformed) = e.transformed_view()
        {
            return transformed;
        }
        (self.stored_view(scope, v), transform)
    }

    /// Returns a product's operand in contiguous memory and the transform that its kernel applies.
    pub(super) fn contiguous_operand(&mut self, scope: &mut Scope, v: Value) -> (View, Transform) {
        let (view, transform) = self.product_operand(scope, v, Transform::Id);
        let view = self.wide(view);
        if view.is_contiguous() { (view, transform) } else { (self.contiguous_view(scope, v), Transform::Id) }
    }

    /// Joins the operands' expressions and the node's term; stores operands that would make the expression too large.
    fn joined(
        &mut self,
        scope: &mut Scope,
        id: NodeId,
        (dims, term): (&[usize], &TermOf),
        parts: &mut [Expression],
    ) -> Expression {
        let (graph, inputs) = (scope.graph, scope.graph.node_inputs(id));
        let kind = Kind::of(graph.node(id).types[0].dtype);
        let mut e = Expression { terms: vec![], ..Expression::zeros(dims, kind) };
        let mut places = vec![];
        for (part, v) in parts.iter_mut().zip(&inputs) {
            let operands = e.operands.len() + part.operands.len();
            if operands > MAX_OPERANDS || e.terms.len() + part.terms.len() > MAX_TERMS {
                *part = Expression::from_view(self.element_view(scope, *v));
            }
            places.push(e.append(part));
        }
        let term = term(&e, &places);
        e.terms.push((term, kind));
        e
    }

    /// Computes an expression into a new buffer.
    pub(super) fn emit(&mut self, e: &Expression) -> View {
        self.emit_in(e, Storage::F32)
    }

    /// Computes an expression into a new buffer whose floats have this type.
    pub(super) fn emit_in(&mut self, e: &Expression, storage: Storage) -> View {
        let out = self.buffer_in(e.kind(), storage, &e.dims);
        self.emit_into(e, &out, Use::Write);
        out
    }

    /// Computes an expression into a view. `access` is [`Use::Write`] if the view covers its buffer, else [`Use::Update`].
    pub(super) fn emit_into(&mut self, e: &Expression, out: &View, access: Use) {
        let count = out.elems();
        if count == 0 {
            return;
        }
        if let Some(product) = &e.product {
            let Some(epilogue) = e.epilogue().filter(|_| out.is_contiguous()) else {
                let results: Vec<View> = product.separate().iter().map(|p| self.result(p)).collect();
                return self.emit_into(&e.with_results(&results), out, access);
            };
            return self.compute(product, out, access, epilogue);
        }
        let operands: Vec<View> = e.operands.iter().map(|v| v.broadcast(&e.dims)).collect();
        let lists: Vec<&[i64]> =
            std::iter::once(&out.strides[..]).chain(operands.iter().map(|v| &v.strides[..])).collect();
        let (dims, strides) = collapse(&e.dims, &lists);
        let unit_strides = |list: &[i64]| dims.len() <= 1 && list.iter().all(|s| *s == 1);
        let mapping = |list: &[i64]| match list {
            list if list.iter().all(|s| *s == 0) => Access::Scalar,
            list if unit_strides(list) => Access::Linear,
            // Contiguous over several axes, which another operand keeps from merging.
            list if *list == super::view::strides(&dims) => Access::Linear,
            _ => Access::Strided,
        };
        let out_access = match mapping(&strides[0]) {
            // A single element.
            Access::Scalar => Access::Linear,
            other => other,
        };
        let chain_operands: Vec<Operand> = operands
            .iter()
            .zip(&strides[1..])
            .map(|(v, s)| Operand { storage: v.storage, ..Operand::new(v.kind, mapping(s)) })
            .collect();
        let strided = |a: Access| a == Access::Strided;
        let any_strided = strided(out_access) || chain_operands.iter().any(|o| strided(o.access));
        let floats = e.terms.iter().all(|(_, k)| *k == Kind::F);
        let aligned = out.offset % 4 == 0
            && operands
                .iter()
                .zip(&chain_operands)
                .all(|(v, o)| o.access == Access::Scalar || v.offset % 4 == 0);
        let vectorised = !any_strided && floats && aligned && count.is_multiple_of(4);
        let chain = Chain {
            operands: chain_operands.clone(),
            terms: e.terms.clone(),
            rank: if any_strided { dims.len() } else { 0 },
            out: out_access,
            storage: out.storage,
            width: if vectorised { 4 } else { 1 },
        };
        let kernel = self.kernel(chain.name(), || chain.emit());
        let args = ChainArgs {
            count: count as u32,
            dims: if any_strided { dims.iter().map(|d| *d as u32).collect() } else { vec![] },
            out_strides: if strided(out_access) { kernel_strides(&strides[0]) } else { vec![] },
            strides: chain_operands
                .iter()
                .zip(&strides[1..])
                .filter(|(o, _)| strided(o.access))
                .map(|(_, s)| kernel_strides(s))
                .collect(),
            ..ChainArgs::default()
        };
        let grid = [chain.blocks(count as u32), 1, 1];
        let (target, status, sources) = (out.clone(), e.status.clone(), operands.clone());
        let params = move |at: &super::Addresses| {
            chain.params(&ChainArgs {
                out: at.address_of(&target),
                status: status.as_ref().map_or(0, |s| at.address_of(s)),
                operands: sources.iter().map(|v| at.address_of(v)).collect(),
                ..args.clone()
            })
        };
        let out = vec![out.clone()];
        let (writes, mut updates) = if access == Use::Write { (out, vec![]) } else { (vec![], out) };
        updates.extend(e.status.clone());
        self.push(Step { kernel, grid, params: Box::new(params), reads: operands, writes, updates });
    }
}

/// Returns whether the term fails for some integers.
fn divides(term: &Term) -> bool {
    matches!(term, Term::Binary(Binary::Div | Binary::Mod | Binary::Pow, ..))
}

/// Returns whether a conversion leaves the device's representation unchanged.
pub(super) fn unchanged(from: DType, to: DType) -> bool {
    let whole = |d: DType| matches!(d, DType::F32 | DType::F64 | DType::I64 | DType::U64 | DType::Bool);
    from == to || (Kind::of(from) == Kind::of(to) && whole(to))
}
