//! Fusion along rows: reductions over the last axis and the elementwise nodes around them become one launch. Normalisations,
//! residual sums and their relevance are such groups.

mod find;

pub(super) use find::{Unit, units};

use std::collections::{HashMap, HashSet};

use dlbc_backend::BackendError;
use dlbc_ops::graph::{NodeId, Value};
use dlbc_ops::prim::{self, Prim};
use dlbc_ptx::kernel::pointwise::{Kind, Term};
use dlbc_ptx::kernel::reduce::Team;
use dlbc_ptx::kernel::rows::{MAX_ADDRESSES, RowOperand, RowStore, RowTerm, Rows, RowsArgs};

use super::chain::scalar;
use super::view::{collapse, kernel_strides};
use super::{LoweredValue, Planner, Scope, Step, View};

/// Maximum number of terms of a kernel.
const MAX_TERMS: usize = 96;

/// Builder of the terms of a group.
struct Group {
    /// Dimensions of the elements.
    dims: Vec<usize>,
    /// Operands with the dimensions of the elements.
    operands: Vec<View>,
    terms: Vec<(RowTerm, Kind)>,
    /// Index of each node's term.
    indices: HashMap<NodeId, usize>,
}

impl Group {
    fn push(&mut self, term: RowTerm, kind: Kind) -> usize {
        self.terms.push((term, kind));
        self.terms.len() - 1
    }

    /// Appends an operand.
    fn operand(&mut self, view: &View) -> usize {
        let view = view.broadcast(&self.dims);
        let place = self.operands.iter().position(|v| *v == view).unwrap_or_else(|| {
            self.operands.push(view.clone());
            self.operands.len() - 1
        });
        let term = RowTerm::Element(Term::Operand(place));
        let same = self.terms.iter().position(|(t, _)| *t == term);
        same.unwrap_or_else(|| self.push(term, view.kind))
    }

    /// Appends the terms of a deferred expression.
    fn expression(&mut self, operands: &[View], terms: &[(Term, Kind)]) -> usize {
        let mut places: Vec<usize> = vec![];
        for (term, kind) in terms {
            let term = match term {
                Term::Operand(i) => {
                    places.push(self.operand(&operands[*i]));
                    continue;
                }
                Term::Unary(f, a) => Term::Unary(*f, places[*a]),
                Term::Binary(f, a, b) => Term::Binary(*f, places[*a], places[*b]),
                Term::Select(c, a, b) => Term::Select(places[*c], places[*a], places[*b]),
                Term::Cast(to, a) => Term::Cast(*to, places[*a]),
                Term::Float(_) | Term::Int(_) | Term::Bool(_) => term.clone(),
            };
            places.push(self.push(RowTerm::Element(term), *kind));
        }
        places.last().copied().unwrap_or(0)
    }
}

impl Planner {
    /// Lowers the nodes of a group, in topological order.
    pub(super) fn rows(&mut self, scope: &mut Scope, ids: &[NodeId]) -> Result<(), BackendError> {
        let ids = self.after_epilogues(scope, ids)?;
        let stored = stored(scope, &ids);
        let fits = match self.group(scope, &ids) {
            Some(group) => self.launch_rows(scope, group, &stored),
            None => false,
        };
        if !fits {
            for id in ids {
                self.lower_node(scope, id)?;
            }
        }
        Ok(())
    }

    /// Lowers a node and keeps its value.
    fn lower_node(&mut self, scope: &mut Scope, id: NodeId) -> Result<(), BackendError> {
        let value = self.node(scope, id)?;
        scope.values.insert(Value { node: id, slot: 0 }, value);
        Ok(())
    }

    /// Lowers the nodes that can be epilogues of products, which is cheaper than to store the product. Returns the other nodes.
    fn after_epilogues(&mut self, scope: &mut Scope, ids: &[NodeId]) -> Result<Vec<NodeId>, BackendError> {
        let (mut rest, mut waiting) = (vec![], HashSet::new());
        for id in ids {
            let inputs = scope.graph.node_inputs(*id);
            let is_reduction = matches!(scope.graph.op(*id), Prim::Reduce(_));
            let follows_product = inputs.iter().any(|v| match scope.values.get(v) {
                Some(LoweredValue::Expression(e)) => e.product.is_some(),
                _ => false,
            });
            if is_reduction || !follows_product || inputs.iter().any(|v| waiting.contains(&v.node)) {
                waiting.insert(*id);
                rest.push(*id);
            } else {
                self.lower_node(scope, *id)?;
            }
        }
        Ok(rest)
    }

    /// Builds the terms of nodes; `None` for fewer than two, without a reduction, or with a node that rows do not have.
    fn group(&mut self, scope: &mut Scope, ids: &[NodeId]) -> Option<Group> {
        let graph = scope.graph;
        let dims_of = |id: NodeId| graph.node(id).types[0].shape.as_known().unwrap_or_default();
        let reduced = ids.iter().find(|id| matches!(graph.op(**id), Prim::Reduce(_)))?;
        if ids.len() < 2 {
            return None;
        }
        let dims = dims_of(graph.node_inputs(*reduced)[0].node);
        let mut group = Group { dims, operands: vec![], terms: vec![], indices: HashMap::new() };
        for id in ids {
            let mut inputs = vec![];
            for v in graph.node_inputs(*id) {
                inputs.push(self.row_input(scope, &mut group, v));
            }
            let kind = Kind::of(graph.node(*id).types[0].dtype);
            let element = |term| RowTerm::Element(term);
            let term = match graph.op(*id) {
                Prim::Reduce(prim::Reduce { kind, .. }) => RowTerm::Reduce(*kind, inputs[0]),
                Prim::Unary(f) => element(Term::Unary(*f, inputs[0])),
                Prim::Binary(f) => element(Term::Binary(*f, inputs[0], inputs[1])),
                Prim::Select => element(Term::Select(inputs[0], inputs[1], inputs[2])),
                _ => return None,
            };
            let index = group.push(term, kind);
            group.indices.insert(*id, index);
        }
        Some(group)
    }

    /// Returns the term of an operand: a node of the group, a constant, a deferred expression or a stored value.
    fn row_input(&mut self, scope: &mut Scope, group: &mut Group, v: Value) -> usize {
        if let Some(index) = group.indices.get(&v.node) {
            return *index;
        }
        if let Prim::Const(t) = scope.graph.op(v.node)
            && let Some(term) = scalar(t)
        {
            return group.push(RowTerm::Element(term), Kind::of(t.dtype()));
        }
        let inline = match scope.values.get(&v) {
            Some(LoweredValue::Expression(e)) => {
                let floats = e.terms.iter().all(|(_, kind)| *kind != Kind::I);
                (e.product.is_none() && e.status.is_none() && floats && e.dims == group.dims)
                    .then(|| e.clone())
            }
            _ => None,
        };
        match inline {
            Some(e) => {
                let operands: Vec<View> = e.operands.iter().map(|view| view.broadcast(&e.dims)).collect();
                group.expression(&operands, &e.terms)
            }
            None => {
                let view = self.element_view(scope, v);
                group.operand(&view)
            }
        }
    }

    /// Launches the kernel of a group that stores the nodes `stored`. Returns whether a kernel can have that many terms and
    /// operands.
    fn launch_rows(&mut self, scope: &mut Scope, group: Group, stored: &[NodeId]) -> bool {
        if group.operands.len() + stored.len() > MAX_ADDRESSES || group.terms.len() > MAX_TERMS {
            return false;
        }
        let (dim, lead) = (group.dims[group.dims.len() - 1], &group.dims[..group.dims.len() - 1]);
        let rows: usize = lead.iter().product();
        let mut sources: Vec<(View, [i32; 2])> = vec![];
        for view in &group.operands {
            let strides = |view: &View| {
                let (axes, mut lists) = collapse(lead, &[&view.strides[..lead.len()]]);
                let along = view.strides[lead.len()];
                let row = lists.pop().and_then(|list| list.first().copied()).unwrap_or(0);
                (axes.len() <= 1).then(|| kernel_strides(&[row, along]))
            };
            let (view, strides) = match strides(view) {
                Some(strides) => (view.clone(), strides),
                // The strides of its rows do not merge.
                None => (self.contiguous(view), kernel_strides(&[dim as i64, 1])),
            };
            sources.push((view, [strides[0], strides[1]]));
        }
        let operand = |(view, [_, along]): &(View, [i32; 2])| RowOperand {
            kind: view.kind,
            varies: *along != 0,
            storage: view.storage,
        };
        let store = |id: &NodeId| RowStore { term: group.indices[id], storage: self.storage(scope, *id) };
        let kernel = Rows {
            operands: sources.iter().map(operand).collect(),
            stores: stored.iter().map(store).collect(),
            terms: group.terms,
            team: if dim < MIN_BLOCK_ROW { Team::Warp } else { Team::Block },
        };
        let mut results = vec![];
        for id in stored {
            let ty = &scope.graph.node(*id).types[0];
            let (kind, storage) = (Kind::of(ty.dtype), self.storage(scope, *id));
            let view = self.buffer_in(kind, storage, &ty.shape.as_known().unwrap_or_default());
            scope.values.insert(Value { node: *id, slot: 0 }, LoweredValue::View(view.clone()));
            results.push(view);
        }
        let index = self.kernel(kernel.name(), || kernel.emit());
        let grid = [kernel.blocks(rows as u32), 1, 1];
        let reads = sources.iter().map(|(view, _)| view.clone()).collect();
        let stores = results.clone();
        let params = move |at: &super::Addresses| {
            kernel.params(&RowsArgs {
                rows: rows as u32,
                dim: dim as u32,
                operands: sources.iter().map(|(view, strides)| (at.address_of(view), *strides)).collect(),
                stores: stores.iter().map(|view| at.address_of(view)).collect(),
            })
        };
        self.push(Step {
            kernel: index,
            grid,
            params: Box::new(params),
            reads,
            writes: results,
            updates: vec![],
        });
        true
    }
}

/// Minimum length of a row that a block reduces, as in a reduction of its own.
const MIN_BLOCK_ROW: usize = 2048;

/// Returns the nodes of a group that other nodes read, or that are outputs of the stage.
fn stored(scope: &Scope, ids: &[NodeId]) -> Vec<NodeId> {
    let mut inside: HashMap<NodeId, usize> = HashMap::new();
    for v in ids.iter().flat_map(|id| scope.graph.node_inputs(*id)) {
        *inside.entry(v.node).or_default() += 1;
    }
    let is_read =
        |id: &NodeId| scope.uses.get(id).copied().unwrap_or(0) > inside.get(id).copied().unwrap_or(0);
    ids.iter().copied().filter(is_read).collect()
}
