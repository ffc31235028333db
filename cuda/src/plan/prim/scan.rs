//! Recurrences: the launches of one step, which run once for each step in time. What a step reads of the sequences is copied to a
//! place of its own when the step begins, and its state to its place in time when it ends, so all steps are the same launches and
//! a plan does not grow with the sequence. Products of one operand with several weights are one product.

use std::collections::HashMap;

use dlbc_ops::graph::{NodeId, Value};
use dlbc_ops::prim::{self, Prim, Scan, Transform};
use dlbc_ptx::Params as _;
use dlbc_ptx::kernel::pointwise::Kind;
use dlbc_ptx::kernel::turn::{COPIES, TurnParams, blocks, turn};

use super::super::{Home, SETUP, Scope, Step};
use super::contract::*;

/// A copy of a turn: from where, to where, and elements from a step to the next on both sides.
struct Copy {
    from: View,
    to: View,
    from_step: i64,
    to_step: i64,
}

/// Products of one value with several matrices, which are one product.
struct Joined {
    x: Value,
    parts: [Transform; 2],
    /// Whether the matrices are transposed.
    turned: bool,
    nodes: Vec<NodeId>,
    matrices: Vec<View>,
}

impl CudaPrimitive for Scan {
    fn plan(&self, p: &mut Planner, at: &mut At<'_, '_>) -> Result<Made, BackendError> {
        let operands: Vec<View> = (0..at.inputs.len()).map(|i| at.view(p, i)).collect();
        p.scan(self, operands, &at.dims).map(Made::View)
    }
}

impl Planner {
    /// The state after each step, in a new buffer.
    fn scan(&mut self, scan: &Scan, operands: Vec<View>, dims: &[usize]) -> Result<View, BackendError> {
        let graph = scan.body.graph();
        let order = graph.topological();
        let mut uses = HashMap::new();
        for id in &order {
            for v in graph.node_inputs(*id) {
                *uses.entry(v.node).or_insert(0usize) += 1;
            }
        }
        let result = scan.body.result();
        if let Some(v) = result {
            *uses.entry(v.node).or_insert(0) += 1;
        }
        let steps = dims[0];
        let states = self.buffer(operands[0].kind, dims);
        if states.elems() == 0 {
            return Ok(states);
        }
        // Two counts, so that no launch reads the one that it writes.
        let counts = [(); 2].map(|()| self.buffer(Kind::B, &[1]));
        self.emit_into(&Expression::fill(&[1], Kind::B), &counts[0], true);
        let state = self.buffer(operands[0].kind, &dims[1..]);
        self.emit_into(&Expression::of(operands[0].clone()), &state, true);
        let whole: Vec<View> = operands[1..=scan.sequences]
            .iter()
            .map(|v| if v.at(0, 0).is_dense() { v.clone() } else { self.dense(v) })
            .collect();

        let mut scope = Scope { uses, ..Scope::new(graph) };
        let inputs = graph.inputs();
        for (id, view) in inputs.iter().zip(&operands).skip(1 + scan.sequences) {
            scope.made.insert(Value { node: *id, slot: 0 }, Made::View(view.clone()));
        }
        let joined = self.side_by_side(&scope, &order);
        let begun = self.clock + 1;
        let first = self.parts[self.into].steps.len();
        let mut fetched = vec![];
        for (id, sequence) in inputs[1..].iter().zip(&whole) {
            let step = sequence.strides[0];
            let (at, step) = if scan.reverse { (steps - 1, -step) } else { (0, step) };
            let from = sequence.at(0, at);
            let to = self.buffer(from.kind, &from.dims);
            scope.made.insert(Value { node: *id, slot: 0 }, Made::View(to.clone()));
            fetched.push(Copy { from, to, from_step: step, to_step: 0 });
        }
        scope.made.insert(Value { node: inputs[0], slot: 0 }, Made::View(state.clone()));
        self.turn(&fetched, [&counts[0], &counts[1]], 0);
        for id in &order {
            if matches!(graph.op(*id), Prim::Input) || scope.made.contains_key(&Value { node: *id, slot: 0 })
            {
                continue;
            }
            if let Some((products, weight)) = joined.iter().find(|(j, _)| j.nodes.contains(id)) {
                self.join(&mut scope, products, weight);
                continue;
            }
            let made = self.node(&mut scope, *id)?;
            scope.made.insert(Value { node: *id, slot: 0 }, made);
        }
        if let Some(v) = result {
            let next = self.dense_view(&mut scope, v);
            let each = state.elems() as i64;
            let (at, each) = if scan.reverse { (steps - 1, -each) } else { (0, each) };
            let kept = Copy { from: next.clone(), to: states.at(0, at), from_step: 0, to_step: each };
            let onto = Copy { from: next, to: state, from_step: 0, to_step: 0 };
            self.turn(&[onto, kept], [&counts[1], &counts[0]], 1);
        }
        // What the steps read from before them stays for all of them.
        for buffer in &mut self.buffers {
            if buffer.first < begun && buffer.last >= begun {
                buffer.last = buffer.last.max(self.clock);
            }
        }
        let part = &mut self.parts[self.into];
        part.loops.push((first..part.steps.len(), steps));
        Ok(states)
    }

    /// Copies, and the count for whoever comes next.
    fn turn(&mut self, copies: &[Copy], [count, next]: [&View; 2], more: u32) {
        for copies in copies.chunks(COPIES) {
            let kernel = turn(copies.len());
            let kernel = self.kernel(kernel.name.clone(), || kernel);
            let words = |v: &View| v.kind.bytes() / 4;
            let mut fixed = TurnParams { more, ..TurnParams::default() };
            for (i, c) in copies.iter().enumerate() {
                fixed.words[i] = c.from.elems() as u32 * words(&c.from);
                fixed.from_step[i] = (c.from_step * i64::from(words(&c.from))) as i32;
                fixed.to_step[i] = (c.to_step * i64::from(words(&c.to))) as i32;
            }
            let largest = fixed.words.iter().copied().max().unwrap_or(0);
            let (from, to): (Vec<View>, Vec<View>) =
                copies.iter().map(|c| (c.from.clone(), c.to.clone())).unzip();
            let moves = |i: &usize| copies[*i].to_step != 0;
            let (updates, writes): (Vec<usize>, Vec<usize>) = (0..copies.len()).partition(moves);
            let listed = |places: Vec<usize>| places.into_iter().map(|i| to[i].clone());
            let step = Step {
                kernel,
                grid: blocks(largest, copies.len() as u32),
                reads: from.iter().chain([count]).cloned().collect(),
                writes: listed(writes).chain([next.clone()]).collect(),
                updates: listed(updates).collect(),
                params: {
                    let (count, next, from, to) = (count.clone(), next.clone(), from.clone(), to.clone());
                    Box::new(move |at| {
                        let mut params = TurnParams { count: at.of(&count), next: at.of(&next), ..fixed };
                        for (i, (from, to)) in from.iter().zip(&to).enumerate() {
                            (params.from[i], params.to[i]) = (at.of(from), at.of(to));
                        }
                        params.bytes()
                    })
                },
            };
            self.push(step);
        }
    }

    /// Products of one value with several fixed matrices of the same shape, and the matrices side by side.
    fn side_by_side(&mut self, scope: &Scope, order: &[NodeId]) -> Vec<(Joined, View)> {
        let graph = scope.graph;
        let mut found: Vec<Joined> = vec![];
        for id in order {
            let Prim::MatMul(prim::MatMul { a, b, ta: false, tb }) = graph.op(*id) else { continue };
            let inputs = graph.node_inputs(*id);
            let Some(Made::View(matrix)) = scope.made.get(&inputs[1]) else { continue };
            let flat = matrix.dims.len() == 2 && graph.ty(inputs[0]).rank() == 2;
            if !flat || !self.fixed(matrix) || *b == Transform::One {
                continue;
            }
            let same = |j: &Joined| {
                (j.x, j.parts, j.turned) == (inputs[0], [*a, *b], *tb) && j.matrices[0].dims == matrix.dims
            };
            match found.iter_mut().find(|j| same(j)) {
                Some(j) => {
                    j.nodes.push(*id);
                    j.matrices.push(matrix.clone());
                }
                None => found.push(Joined {
                    x: inputs[0],
                    parts: [*a, *b],
                    turned: *tb,
                    nodes: vec![*id],
                    matrices: vec![matrix.clone()],
                }),
            }
        }
        found.retain(|j| j.nodes.len() > 1);
        // Once, before anything runs.
        let into = std::mem::replace(&mut self.into, SETUP);
        let beside = found.into_iter().map(|j| {
            let axis = usize::from(!j.turned);
            let mut dims = j.matrices[0].dims.clone();
            dims[axis] *= j.matrices.len();
            let weight = self.concat(axis, j.matrices.clone(), &dims);
            (j, weight)
        });
        let beside = beside.collect();
        self.into = into;
        beside
    }

    /// Whether a value is there before anything runs.
    fn fixed(&self, view: &View) -> bool {
        matches!(self.buffers[view.buffer].home, Home::Constant(_)) || self.setup.contains(&view.buffer)
    }

    /// One product for all.
    fn join(&mut self, scope: &mut Scope, joined: &Joined, weight: &View) {
        let x = self.view(scope, joined.x);
        let columns = weight.dims[usize::from(!joined.turned)];
        let dims = [x.dims[0], columns];
        let product = self.product([x, weight.clone()], joined.parts, [false, joined.turned], &dims);
        let all = self.emit(&product);
        let each = columns / joined.nodes.len();
        for (i, id) in joined.nodes.iter().enumerate() {
            let own = all.sliced(1, (i * each) as i64, each, 1);
            scope.made.insert(Value { node: *id, slot: 0 }, Made::View(own));
        }
    }
}
