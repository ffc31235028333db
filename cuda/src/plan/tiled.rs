//! Products and sums of attention scores, which are recomputed tile by tile.

use std::collections::HashMap;

use dlbc_backend::BackendError;
use dlbc_ops::graph::{NodeId, Value};
use dlbc_ops::prim::{self, Binary, Prim, Reduction, Transform, Unary};
use dlbc_ptx::kernel::attention::{Along, EXTENT, End, Group, Matrix, Operands, Tiled, TiledArgs, Unit};
use dlbc_ptx::kernel::pointwise::{Kind, Term};

use super::chain::{scalar, unchanged};
use super::masks::contributes_nothing;
use super::view::kernel_strides;
use super::{Planner, Scope, Step, View, node_error};
use dlbc_backend::Precision;

/// Source of an operand term.
enum Leaf {
    /// Product `index` of a group.
    Product { group: usize, index: usize },
    /// Index in [`Scores::operands`].
    Operand(usize),
}

/// Builder of a score expression. The views are as the kernel sees them: products have the matrix of the score rows first, both
/// with the depth as columns; operands have the rows and columns of the scores.
struct Scores {
    /// The kernel sees the scores transposed: its rows are keys.
    transposed: bool,
    /// Dimensions of the scores: batch, queries, keys.
    dims: Vec<usize>,
    /// Pairs of matrices, and the operand transforms of each of their products.
    groups: Vec<([View; 2], Vec<[Transform; 2]>)>,
    operands: Vec<View>,
    leaves: Vec<Leaf>,
    terms: Vec<(Term, Kind)>,
    /// Index of each node's term.
    term_indices: HashMap<NodeId, usize>,
}

impl Scores {
    fn new(dims: &[usize], transposed: bool) -> Scores {
        Scores {
            transposed,
            dims: dims.to_vec(),
            groups: vec![],
            operands: vec![],
            leaves: vec![],
            terms: vec![],
            term_indices: HashMap::new(),
        }
    }

    /// Appends a term and returns its index.
    fn push(&mut self, term: Term, kind: Kind) -> usize {
        self.terms.push((term, kind));
        self.terms.len() - 1
    }

    fn leaf(&mut self, leaf: Leaf, kind: Kind) -> usize {
        self.leaves.push(leaf);
        self.push(Term::Operand(self.leaves.len() - 1), kind)
    }

    /// Appends a tensor that broadcasts to the scores.
    fn operand(&mut self, view: View) -> usize {
        let mut view = view.broadcast(&self.dims);
        if self.transposed {
            swap(&mut view);
        }
        let kind = view.kind;
        let place = self.operands.iter().position(|v| *v == view).unwrap_or_else(|| {
            self.operands.push(view);
            self.operands.len() - 1
        });
        self.leaf(Leaf::Operand(place), kind)
    }

    /// Appends a product of the rows of `[…, m, depth]` and `[…, n, depth]`.
    fn product(&mut self, matrices: [View; 2], transforms: [Transform; 2]) -> usize {
        let rank = self.dims.len();
        let whole = |v: &View, rows: usize| {
            let depth = v.dims[v.dims.len() - 1];
            v.broadcast(&[&self.dims[..rank - 2], &[rows, depth]].concat())
        };
        let mut pair = [whole(&matrices[0], self.dims[rank - 2]), whole(&matrices[1], self.dims[rank - 1])];
        let mut transforms = transforms;
        if self.transposed {
            pair.reverse();
            transforms.reverse();
        }
        let group = self.groups.iter().position(|(p, _)| *p == pair).unwrap_or_else(|| {
            self.groups.push((pair, vec![]));
            self.groups.len() - 1
        });
        let list = &mut self.groups[group].1;
        let index = list.iter().position(|t| *t == transforms).unwrap_or_else(|| {
            list.push(transforms);
            list.len() - 1
        });
        self.leaf(Leaf::Product { group, index }, Kind::F)
    }

    /// Returns the terms with operands numbered as in the kernel: products, group by group, then the others.
    fn numbered_terms(&self) -> Vec<(Term, Kind)> {
        let before = |group: usize| self.groups[..group].iter().map(|(_, list)| list.len()).sum::<usize>();
        let products = before(self.groups.len());
        let number = |i: usize| match self.leaves[i] {
            Leaf::Product { group, index } => before(group) + index,
            Leaf::Operand(i) => products + i,
        };
        self.terms
            .iter()
            .map(|(term, kind)| match term {
                Term::Operand(i) => (Term::Operand(number(*i)), *kind),
                term => (term.clone(), *kind),
            })
            .collect()
    }
}

/// Swaps the last two axes.
fn swap(view: &mut View) {
    let rank = view.dims.len();
    view.dims.swap(rank - 2, rank - 1);
    view.strides.swap(rank - 2, rank - 1);
}

/// Converts a view to a kernel's matrix.
fn matrix(view: &View, address: u64) -> Matrix {
    let strides = kernel_strides(&view.strides);
    let (batch, last) = strides.split_at(strides.len() - 2);
    let mut lead = [0; 4];
    lead[4 - batch.len()..].copy_from_slice(batch);
    Matrix { address, strides: [last[0], last[1]], batch: lead }
}

/// Returns whether copies run along the columns of a matrix, rather than along its rows.
fn across(view: &View) -> bool {
    let strides = &view.strides[view.strides.len() - 2..];
    strides[1] == 1 || strides[0] != 1
}

impl Planner {
    /// Lowers a node that reads scores and is not one of them.
    pub(super) fn lower_score_reader(
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
                let transform = if right { *a } else { *b };
                // Scores that are summed over the queries need rows of keys.
                let transposed = if right { !tb } else { *ta };
                let mut weight = self.view(scope, w);
                let out = self.buffer(Kind::F, dims);
                let mut target = out.clone();
                if right {
                    swap(&mut target);
                }
                if if right { !ta } else { *tb } {
                    swap(&mut weight);
                }
                self.multiply_scores(scope, (id, x), (weight, transform), target, transposed)?;
                Ok(out)
            }
            Prim::Reduce(prim::Reduce { kind: Reduction::Sum, axes, .. }) => {
                let x = inputs[0];
                let mut rows = graph.ty(x).shape.as_known().unwrap_or_default();
                let last = rows.len() - 1;
                let mut scores = Scores::new(&rows, false);
                self.append_score(scope, x.node, &mut scores)?;
                rows[last] = 1;
                let sum = self.buffer(Kind::F, &rows);
                self.launch_tiled(&scores, End::Sum, vec![sum.clone()], None);
                let rest: Vec<usize> = axes.iter().copied().filter(|a| *a != last).collect();
                if rest.is_empty() {
                    return Ok(sum.with_dims(dims));
                }
                self.reduce(Reduction::Sum, &rest, sum, dims).map_err(|e| node_error(scope, id, e))
            }
            _ => Err(node_error(scope, id, "expected scores that the program stores")),
        }
    }

    /// Computes the product `id` of the scores `x` with `weight` into `out`, which has the rows of the scores, as the kernel sees them,
    /// and the columns of `weight`.
    fn multiply_scores(
        &mut self,
        scope: &mut Scope,
        (id, x): (NodeId, Value),
        (weight, transform): (View, Transform),
        out: View,
        transposed: bool,
    ) -> Result<(), BackendError> {
        let rank = out.dims.len();
        let batch = &out.dims[..rank - 2];
        let ends = |v: Value| -> Vec<usize> {
            let dims = scope.graph.ty(v).shape.as_known().unwrap_or_default();
            dims[dims.len() - 2..].to_vec()
        };
        let full = [batch, &ends(x)].concat();
        let weight = weight.broadcast(&[batch, &weight.dims[weight.dims.len() - 2..]].concat());
        let mut scores = Scores::new(&full, transposed);
        let softmax = self.softmax_of(scope, x.node).filter(|(node, _)| {
            // The first product computes the statistics, too, if its batch is that of the softmax.
            let same_batch = scope.graph.node(*node).types[0].shape.as_known().is_some_and(|d| d == full);
            let source = scope.statistics_source.get(node);
            let first = source.map_or(!scope.statistics.contains_key(node), |s| *s == id);
            !transposed && transform == Transform::Id && same_batch && first
        });
        let across = across(&weight);
        let Some((node, guard)) = softmax else {
            self.append_score(scope, x.node, &mut scores)?;
            self.launch_tiled(&scores, End::Product { part: transform, across }, vec![out], Some(weight));
            return Ok(());
        };
        self.append_score(scope, scope.graph.node_inputs(node)[0].node, &mut scores)?;
        let statistics = self.statistics_buffers(&full);
        scope.statistics.insert(node, statistics.clone());
        scope.statistics_source.insert(node, id);
        let results = [vec![out], statistics.to_vec()].concat();
        self.launch_tiled(&scores, End::Softmax { across, guard }, results, Some(weight));
        Ok(())
    }

    /// Creates buffers for the maximum and the reciprocal of the sum of exponentials of each row of scores.
    fn statistics_buffers(&mut self, dims: &[usize]) -> [View; 2] {
        let mut dims = dims.to_vec();
        if let Some(last) = dims.last_mut() {
            *last = 1;
        }
        [self.buffer(Kind::F, &dims), self.buffer(Kind::F, &dims)]
    }

    /// Recognises a softmax, plain or guarded. Returns its node and whether rows of -∞ give 0.
    fn softmax_of(&self, scope: &Scope, id: NodeId) -> Option<(NodeId, bool)> {
        let graph = scope.graph;
        let is_softmax = |id: NodeId| matches!(graph.op(id), Prim::Softmax(_));
        if is_softmax(id) {
            return Some((id, false));
        }
        let Prim::Select = graph.op(id) else { return None };
        let [condition, zero, p] = [0, 1, 2].map(|i| graph.node_inputs(id)[i].node);
        let constant = |id: NodeId, value: f64| matches!(graph.op(id), Prim::Const(t) if t.elems() == 1 && t.to_f64()[0] == value);
        let Prim::Binary(Binary::Equal) = graph.op(condition) else { return None };
        let [max, lowest] = [0, 1].map(|i| graph.node_inputs(condition)[i].node);
        let same_operand = is_softmax(p)
            && matches!(graph.op(max), Prim::Reduce(prim::Reduce { kind: Reduction::Max, .. }))
            && graph.node_inputs(max) == graph.node_inputs(p);
        (same_operand && constant(zero, 0.0) && constant(lowest, f64::NEG_INFINITY)).then_some((p, true))
    }

    /// Returns the maximum and the reciprocal of the sum of exponentials of each row of a softmax; computes them if necessary.
    fn statistics(&mut self, scope: &mut Scope, softmax: NodeId) -> Result<[View; 2], BackendError> {
        if let Some(statistics) = scope.statistics.get(&softmax) {
            return Ok(statistics.clone());
        }
        let dims = scope.graph.node(softmax).types[0].shape.as_known().unwrap_or_default();
        let mut scores = Scores::new(&dims, false);
        self.append_score(scope, scope.graph.node_inputs(softmax)[0].node, &mut scores)?;
        let statistics = self.statistics_buffers(&dims);
        scope.statistics.insert(softmax, statistics.clone());
        self.launch_tiled(&scores, End::Statistics, statistics.to_vec(), None);
        Ok(statistics)
    }

    /// Appends the terms of a node and returns the index of its value.
    fn append_score(
        &mut self,
        scope: &mut Scope,
        id: NodeId,
        scores: &mut Scores,
    ) -> Result<usize, BackendError> {
        if let Some(index) = scores.term_indices.get(&id) {
            return Ok(*index);
        }
        let graph = scope.graph;
        let inputs = graph.node_inputs(id);
        let kind = Kind::of(graph.node(id).types[0].dtype);
        let index = match graph.op(id) {
            Prim::MatMul(prim::MatMul { a, b, ta, tb }) => {
                let [mut left, mut right] = [self.view(scope, inputs[0]), self.view(scope, inputs[1])];
                if *ta {
                    swap(&mut left);
                }
                if !tb {
                    swap(&mut right);
                }
                scores.product([left, right], [*a, *b])
            }
            Prim::Softmax(_) => {
                let [maximum, inverse] = self.statistics(scope, id)?;
                let x = self.append_score(scope, inputs[0].node, scores)?;
                let (maximum, inverse) = (scores.operand(maximum), scores.operand(inverse));
                let less = scores.push(Term::Binary(Binary::Sub, x, maximum), Kind::F);
                let e = scores.push(Term::Unary(Unary::Exp, less), Kind::F);
                scores.push(Term::Binary(Binary::Mul, e, inverse), Kind::F)
            }
            Prim::Reduce(_) => {
                let same =
                    |r: &NodeId| matches!(graph.op(*r), Prim::Softmax(_)) && graph.node_inputs(*r) == inputs;
                let softmax = scope.scores.iter().copied().filter(same).min();
                let softmax = softmax
                    .ok_or_else(|| node_error(scope, id, "expected scores that the program stores"))?;
                let [maximum, _] = self.statistics(scope, softmax)?;
                scores.operand(maximum)
            }
            op => {
                let mut operands = vec![];
                for v in &inputs {
                    operands.push(match graph.op(v.node) {
                        Prim::Const(t) if let Some(term) = scalar(t) => {
                            scores.push(term, Kind::of(t.dtype()))
                        }
                        _ if scope.scores.contains(&v.node) => self.append_score(scope, v.node, scores)?,
                        _ => {
                            let view = self.view(scope, *v);
                            scores.operand(view)
                        }
                    });
                }
                match op {
                    Prim::Unary(f) => scores.push(Term::Unary(*f, operands[0]), kind),
                    Prim::Binary(f) => scores.push(Term::Binary(*f, operands[0], operands[1]), kind),
                    Prim::Cast(prim::Cast { to: dtype }) if unchanged(graph.ty(inputs[0]).dtype, *dtype) => {
                        operands[0]
                    }
                    Prim::Cast(prim::Cast { to: dtype }) => {
                        scores.push(Term::Cast(*dtype, operands[0]), kind)
                    }
                    _ => scores.push(Term::Select(operands[0], operands[1], operands[2]), kind),
                }
            }
        };
        scores.term_indices.insert(id, index);
        Ok(index)
    }

    /// Launches the kernel that reduces the scores to `results`.
    fn launch_tiled(&mut self, scores: &Scores, end: End, results: Vec<View>, weight: Option<View>) {
        let unit = match self.precision {
            Precision::Simt => Unit::Fma,
            Precision::Tf32x3 => Unit::Tensor(Operands::Split),
            Precision::Tf32 | Precision::Bf16 => Unit::Tensor(Operands::Rounded),
        };
        let along = |v: &View| match &v.strides[v.strides.len() - 2..] {
            [_, 0] => Along::Own,
            [0, _] => Along::Other,
            _ => Along::Both,
        };
        let terms = scores.numbered_terms();
        let products: usize = scores.groups.iter().map(|(_, transforms)| transforms.len()).sum();
        let is_softmax = matches!(end, End::Softmax { .. } | End::Statistics);
        let is_mask = |(i, v): &(usize, &View)| {
            v.kind == Kind::F
                && along(v) == Along::Both
                && contributes_nothing(&terms, products + i, is_softmax)
        };
        let mask = scores.operands.iter().enumerate().find(is_mask).map(|(_, v)| v.clone());
        let mask = mask.filter(|v| v.dims[v.dims.len() - 2..].iter().any(|d| *d > EXTENT as usize));
        let ruled_out = mask.map(|mut mask| {
            // The words of a mask serve its rows and its columns.
            if scores.transposed {
                swap(&mut mask);
            }
            let mut tiles = self.ruled_out(&mask);
            if scores.transposed {
                swap(&mut tiles);
            }
            tiles
        });
        let width = weight.as_ref().map_or(1, |w| w.dims[w.dims.len() - 1]);
        let kernel = Tiled {
            groups: scores
                .groups
                .iter()
                .map(|(pair, transforms)| Group {
                    depth_first: [across(&pair[0]), across(&pair[1])],
                    parts: transforms.clone(),
                })
                .collect(),
            operands: scores.operands.iter().map(|v| (v.kind, along(v))).collect(),
            terms,
            end,
            unit,
            // A wider result takes no second computation of the scores.
            // Registers hold the sums of a wider result beside those of one product.
            spans: if width as u32 > EXTENT && products < 2 { 2 } else { 1 },
            skips: ruled_out.is_some(),
        };
        let rank = scores.dims.len();
        let (mut rows, mut columns) = (scores.dims[rank - 2], scores.dims[rank - 1]);
        if scores.transposed {
            std::mem::swap(&mut rows, &mut columns);
        }
        let mut batch = [1; 4];
        for (target, d) in batch[6 - rank..].iter_mut().zip(&scores.dims[..rank - 2]) {
            *target = *d as u32;
        }
        let args = TiledArgs {
            rows: rows as u32,
            columns: columns as u32,
            width: width as u32,
            batch,
            depths: scores.groups.iter().map(|(pair, _)| pair[0].dims[rank - 1] as u32).collect(),
            matrices: vec![],
        };
        let sources = scores.groups.iter().flat_map(|(pair, _)| pair);
        let reads = weight.iter().chain(sources).chain(&scores.operands).chain(&ruled_out);
        let reads: Vec<View> = reads.cloned().collect();
        let index = self.kernel(kernel.name(), || kernel.emit());
        let grid = kernel.blocks(&args);
        let views: Vec<View> = results.iter().chain(&reads).cloned().collect();
        let params = move |at: &super::Addresses| {
            let matrices = views.iter().map(|v| matrix(v, at.address_of(v))).collect();
            kernel.params(&TiledArgs { matrices, ..args.clone() })
        };
        self.push(Step {
            kernel: index,
            grid,
            params: Box::new(params),
            reads,
            writes: results,
            updates: vec![],
        });
    }
}
