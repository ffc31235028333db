//! Products and sums of scores, which are made again tile by tile.

use std::collections::HashMap;

use dlbc_backend::BackendError;
use dlbc_ops::graph::{NodeId, Value};
use dlbc_ops::prim::{self, Binary, Prim, Reduction, Transform, Unary};
use dlbc_ptx::kernel::attention::{Along, End, Group, Matrix, Tiled, TiledArgs, Unit};
use dlbc_ptx::kernel::pointwise::{Kind, Term};

use super::chain::{scalar, unchanged};
use super::view::words;
use super::{Planner, Scope, Step, View, wrong};
use dlbc_backend::Precision;

/// What a term of the expression reads.
enum Leaf {
    Product { group: usize, part: usize },
    Operand(usize),
}

/// An expression over scores as it is put together. Matrices of products have rows by depth, own ones first; operands have rows by
/// columns, both sides as the kernel sees them.
struct Scores {
    /// Whether the keys own the rows.
    turned: bool,
    /// Of the result: batch, queries, keys.
    dims: Vec<usize>,
    groups: Vec<([View; 2], Vec<[Transform; 2]>)>,
    operands: Vec<View>,
    leaves: Vec<Leaf>,
    terms: Vec<(Term, Kind)>,
    places: HashMap<NodeId, usize>,
}

impl Scores {
    fn new(dims: &[usize], turned: bool) -> Scores {
        Scores {
            turned,
            dims: dims.to_vec(),
            groups: vec![],
            operands: vec![],
            leaves: vec![],
            terms: vec![],
            places: HashMap::new(),
        }
    }

    fn push(&mut self, term: Term, kind: Kind) -> usize {
        self.terms.push((term, kind));
        self.terms.len() - 1
    }

    fn leaf(&mut self, leaf: Leaf, kind: Kind) -> usize {
        self.leaves.push(leaf);
        self.push(Term::Operand(self.leaves.len() - 1), kind)
    }

    /// A tensor that broadcasts to the scores.
    fn operand(&mut self, view: View) -> usize {
        let view = sides(view.broadcast(&self.dims), self.turned);
        let kind = view.kind;
        let place = self.operands.iter().position(|v| *v == view).unwrap_or_else(|| {
            self.operands.push(view);
            self.operands.len() - 1
        });
        self.leaf(Leaf::Operand(place), kind)
    }

    /// A product of rows: `[…, m, depth]` and `[…, n, depth]`.
    fn product(&mut self, matrices: [View; 2], parts: [Transform; 2]) -> usize {
        let rank = self.dims.len();
        let whole = |v: &View, rows: usize| {
            let depth = v.dims[v.dims.len() - 1];
            v.broadcast(&[&self.dims[..rank - 2], &[rows, depth]].concat())
        };
        let mut pair = [whole(&matrices[0], self.dims[rank - 2]), whole(&matrices[1], self.dims[rank - 1])];
        let mut parts = parts;
        if self.turned {
            pair.reverse();
            parts.reverse();
        }
        let group = self.groups.iter().position(|(p, _)| *p == pair).unwrap_or_else(|| {
            self.groups.push((pair, vec![]));
            self.groups.len() - 1
        });
        let list = &mut self.groups[group].1;
        let part = list.iter().position(|p| *p == parts).unwrap_or_else(|| {
            list.push(parts);
            list.len() - 1
        });
        self.leaf(Leaf::Product { group, part }, Kind::F)
    }

    /// The terms as the kernel counts operands: products, group by group, then the others.
    fn finished(&self) -> Vec<(Term, Kind)> {
        let before = |group: usize| self.groups[..group].iter().map(|(_, parts)| parts.len()).sum::<usize>();
        let products = before(self.groups.len());
        let place = |i: usize| match self.leaves[i] {
            Leaf::Product { group, part } => before(group) + part,
            Leaf::Operand(i) => products + i,
        };
        self.terms
            .iter()
            .map(|(term, kind)| match term {
                Term::Operand(i) => (Term::Operand(place(*i)), *kind),
                term => (term.clone(), *kind),
            })
            .collect()
    }
}

/// The last two axes exchanged where the keys own the rows.
fn sides(mut view: View, turned: bool) -> View {
    if turned {
        swap(&mut view);
    }
    view
}

fn swap(view: &mut View) {
    let rank = view.dims.len();
    view.dims.swap(rank - 2, rank - 1);
    view.strides.swap(rank - 2, rank - 1);
}

fn matrix(view: &View, address: u64) -> Matrix {
    let strides = words(&view.strides);
    let (batch, last) = strides.split_at(strides.len() - 2);
    let mut lead = [0; 4];
    lead[4 - batch.len()..].copy_from_slice(batch);
    Matrix { address, strides: [last[0], last[1]], batch: lead }
}

/// Whether neighbours in a row lie side by side, rather than neighbouring rows.
fn across(view: &View) -> bool {
    let strides = &view.strides[view.strides.len() - 2..];
    strides[1] == 1 || strides[0] != 1
}

impl Planner {
    /// A node that reads scores and is none.
    pub(super) fn of_scores(
        &mut self,
        scope: &mut Scope,
        id: NodeId,
        dims: &[usize],
    ) -> Result<View, BackendError> {
        let graph = scope.graph;
        let inputs = graph.node_inputs(id);
        match graph.op(id) {
            Prim::MatMul(prim::MatMul { a, b, ta, tb }) => {
                let right = scope.scores.contains(&inputs[1].node);
                let (x, w) = if right { (inputs[1], inputs[0]) } else { (inputs[0], inputs[1]) };
                let part = if right { *a } else { *b };
                // The scores are summed over the keys, or over the queries; then the keys own the rows.
                let turned = if right { !tb } else { *ta };
                let mut weight = self.view(scope, w);
                let out = self.buffer(Kind::F, dims);
                let mut own = out.clone();
                if right {
                    swap(&mut own);
                }
                if if right { !ta } else { *tb } {
                    swap(&mut weight);
                }
                self.mixed(scope, (id, x), (weight, part), own, turned)?;
                Ok(out)
            }
            Prim::Reduce(prim::Reduce { kind: Reduction::Sum, axes, .. }) => {
                let x = inputs[0];
                let mut rows = graph.ty(x).shape.as_known().unwrap_or_default();
                let last = rows.len() - 1;
                let mut scores = Scores::new(&rows, false);
                self.score(scope, x.node, &mut scores)?;
                rows[last] = 1;
                let sum = self.buffer(Kind::F, &rows);
                self.tiled(&scores, End::Sum, vec![sum.clone()], None);
                let rest: Vec<usize> = axes.iter().copied().filter(|a| *a != last).collect();
                if rest.is_empty() {
                    return Ok(sum.with_dims(dims));
                }
                self.reduce(Reduction::Sum, &rest, sum, dims).map_err(|e| wrong(scope, id, e))
            }
            _ => Err(wrong(scope, id, "scores are not kept")),
        }
    }

    /// The product `id` of `x`: `Σ x w` into `own`, which has the own rows and the columns of `w`.
    fn mixed(
        &mut self,
        scope: &mut Scope,
        (id, x): (NodeId, Value),
        (weight, part): (View, Transform),
        own: View,
        turned: bool,
    ) -> Result<(), BackendError> {
        let rank = own.dims.len();
        let batch = &own.dims[..rank - 2];
        let ends = |v: Value| -> Vec<usize> {
            let dims = scope.graph.ty(v).shape.as_known().unwrap_or_default();
            dims[dims.len() - 2..].to_vec()
        };
        let full = [batch, &ends(x)].concat();
        let weight = weight.broadcast(&[batch, &weight.dims[weight.dims.len() - 2..]].concat());
        let mut scores = Scores::new(&full, turned);
        let softmax = self.softmax_of(scope, x.node).filter(|(node, _)| {
            // The pass that mixes the values makes the statistics, whose batch is the softmax's own.
            let alone = scope.graph.node(*node).types[0].shape.as_known().is_some_and(|d| d == full);
            let first = scope.mixers.get(node).map_or(!scope.statistics.contains_key(node), |m| *m == id);
            !turned && part == Transform::Id && alone && first
        });
        let across = across(&weight);
        let Some((node, guard)) = softmax else {
            self.score(scope, x.node, &mut scores)?;
            self.tiled(&scores, End::Product { part, across }, vec![own], Some(weight));
            return Ok(());
        };
        self.score(scope, scope.graph.node_inputs(node)[0].node, &mut scores)?;
        let statistics = self.rows(&full);
        scope.statistics.insert(node, statistics.clone());
        scope.mixers.insert(node, id);
        let [maximum, sum] = statistics;
        self.tiled(&scores, End::Softmax { across, guard }, vec![own, maximum, sum], Some(weight));
        Ok(())
    }

    /// Two numbers a row of scores.
    fn rows(&mut self, dims: &[usize]) -> [View; 2] {
        let mut dims = dims.to_vec();
        if let Some(last) = dims.last_mut() {
            *last = 1;
        }
        [self.buffer(Kind::F, &dims), self.buffer(Kind::F, &dims)]
    }

    /// The softmax that a node is, and whether it gives 0 for rows of -∞.
    fn softmax_of(&self, scope: &Scope, id: NodeId) -> Option<(NodeId, bool)> {
        let graph = scope.graph;
        let is = |id: NodeId| matches!(graph.op(id), Prim::Softmax(_));
        if is(id) {
            return Some((id, false));
        }
        let Prim::Select = graph.op(id) else { return None };
        let [condition, zero, p] = [0, 1, 2].map(|i| graph.node_inputs(id)[i].node);
        let constant = |id: NodeId, value: f64| matches!(graph.op(id), Prim::Const(t) if t.elems() == 1 && t.to_f64()[0] == value);
        let Prim::Binary(Binary::Equal) = graph.op(condition) else { return None };
        let [max, none] = [0, 1].map(|i| graph.node_inputs(condition)[i].node);
        let own = is(p)
            && matches!(graph.op(max), Prim::Reduce(prim::Reduce { kind: Reduction::Max, .. }))
            && graph.node_inputs(max) == graph.node_inputs(p);
        (own && constant(zero, 0.0) && constant(none, f64::NEG_INFINITY)).then_some((p, true))
    }

    /// Maximum and sum of exponentials of each row of a softmax.
    fn statistics(&mut self, scope: &mut Scope, softmax: NodeId) -> Result<[View; 2], BackendError> {
        if let Some(known) = scope.statistics.get(&softmax) {
            return Ok(known.clone());
        }
        let dims = scope.graph.node(softmax).types[0].shape.as_known().unwrap_or_default();
        let mut scores = Scores::new(&dims, false);
        self.score(scope, scope.graph.node_inputs(softmax)[0].node, &mut scores)?;
        let made = self.rows(&dims);
        scope.statistics.insert(softmax, made.clone());
        self.tiled(&scores, End::Statistics, made.to_vec(), None);
        Ok(made)
    }

    /// Appends the terms of a node; the place of its value.
    fn score(&mut self, scope: &mut Scope, id: NodeId, to: &mut Scores) -> Result<usize, BackendError> {
        if let Some(place) = to.places.get(&id) {
            return Ok(*place);
        }
        let graph = scope.graph;
        let inputs = graph.node_inputs(id);
        let kind = Kind::of(graph.node(id).types[0].dtype);
        let place = match graph.op(id) {
            Prim::MatMul(prim::MatMul { a, b, ta, tb }) => {
                let [mut left, mut right] = [self.view(scope, inputs[0]), self.view(scope, inputs[1])];
                if *ta {
                    swap(&mut left);
                }
                if !tb {
                    swap(&mut right);
                }
                to.product([left, right], [*a, *b])
            }
            Prim::Softmax(_) => {
                let [maximum, sum] = self.statistics(scope, id)?;
                let x = self.score(scope, inputs[0].node, to)?;
                let (maximum, sum) = (to.operand(maximum), to.operand(sum));
                let less = to.push(Term::Binary(Binary::Sub, x, maximum), Kind::F);
                let e = to.push(Term::Unary(Unary::Exp, less), Kind::F);
                to.push(Term::Binary(Binary::Div, e, sum), Kind::F)
            }
            Prim::Reduce(_) => {
                let same =
                    |r: &NodeId| matches!(graph.op(*r), Prim::Softmax(_)) && graph.node_inputs(*r) == inputs;
                let softmax = scope.scores.iter().copied().filter(same).min();
                let softmax = softmax.ok_or_else(|| wrong(scope, id, "scores are not kept"))?;
                let [maximum, _] = self.statistics(scope, softmax)?;
                to.operand(maximum)
            }
            op => {
                let mut places = vec![];
                for v in &inputs {
                    places.push(match graph.op(v.node) {
                        Prim::Const(t) if let Some(term) = scalar(t) => to.push(term, Kind::of(t.dtype())),
                        _ if scope.scores.contains(&v.node) => self.score(scope, v.node, to)?,
                        _ => {
                            let view = self.view(scope, *v);
                            to.operand(view)
                        }
                    });
                }
                match op {
                    Prim::Unary(f) => to.push(Term::Unary(*f, places[0]), kind),
                    Prim::Binary(f) => to.push(Term::Binary(*f, places[0], places[1]), kind),
                    Prim::Cast(prim::Cast { to: dtype }) if unchanged(graph.ty(inputs[0]).dtype, *dtype) => {
                        places[0]
                    }
                    Prim::Cast(prim::Cast { to: dtype }) => to.push(Term::Cast(*dtype, places[0]), kind),
                    _ => to.push(Term::Select(places[0], places[1], places[2]), kind),
                }
            }
        };
        to.places.insert(id, place);
        Ok(place)
    }

    /// The launch.
    fn tiled(&mut self, scores: &Scores, end: End, results: Vec<View>, weight: Option<View>) {
        let unit = if self.precision == Precision::Simt { Unit::Fma } else { Unit::Tensor };
        let along = |v: &View| match &v.strides[v.strides.len() - 2..] {
            [_, 0] => Along::Own,
            [0, _] => Along::Other,
            _ => Along::Both,
        };
        let kernel = Tiled {
            groups: scores
                .groups
                .iter()
                .map(|(pair, parts)| Group {
                    depth_first: [across(&pair[0]), across(&pair[1])],
                    parts: parts.clone(),
                })
                .collect(),
            operands: scores.operands.iter().map(|v| (v.kind, along(v))).collect(),
            terms: scores.finished(),
            end,
            unit,
        };
        let rank = scores.dims.len();
        let (mut own, mut other) = (scores.dims[rank - 2], scores.dims[rank - 1]);
        if scores.turned {
            std::mem::swap(&mut own, &mut other);
        }
        let mut batch = [1; 4];
        for (to, d) in batch[6 - rank..].iter_mut().zip(&scores.dims[..rank - 2]) {
            *to = *d as u32;
        }
        let args = TiledArgs {
            own: own as u32,
            other: other as u32,
            width: weight.as_ref().map_or(1, |w| w.dims[rank - 1] as u32),
            batch,
            depths: scores.groups.iter().map(|(pair, _)| pair[0].dims[rank - 1] as u32).collect(),
            matrices: vec![],
        };
        let sources = scores.groups.iter().flat_map(|(pair, _)| pair);
        let reads: Vec<View> = weight.iter().chain(sources).chain(&scores.operands).cloned().collect();
        let place = self.kernel(kernel.name(), || kernel.emit());
        let grid = kernel.blocks(&args);
        let listed: Vec<View> = results.iter().chain(&reads).cloned().collect();
        let params = move |at: &super::Addresses| {
            let matrices = listed.iter().map(|v| matrix(v, at.of(v))).collect();
            kernel.params(&TiledArgs { matrices, ..args.clone() })
        };
        self.push(Step {
            kernel: place,
            grid,
            params: Box::new(params),
            reads,
            writes: results,
            updates: vec![],
        });
    }
}
