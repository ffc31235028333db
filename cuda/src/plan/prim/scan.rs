//! Recurrences. The launches of one step run once per step in time. Each step begins by copying its elements of the sequences to
//! fixed buffers and ends by copying its state to its position in the result, so all steps use the same launches and a plan does
//! not grow with the sequence. Products of one operand with several weights are joined to one product.

use std::collections::HashMap;

use dlbc_ops::graph::{NodeId, Value};
use dlbc_ops::prim::{self, Prim, Scan, Transform};
use dlbc_ptx::Params as _;
use dlbc_ptx::kernel::pointwise::Kind;
use dlbc_ptx::kernel::turn::{COPIES, TurnParams, blocks, turn as turn_kernel};

use super::super::{Location, SETUP, Scope, Step};
use super::contract::*;

/// A copy at the start or the end of a step.
struct Copy {
    /// Source at step 0.
    source: View,
    /// Target at step 0.
    target: View,
    /// Stride of the source from one step to the next, in elements.
    source_step: i64,
    /// Stride of the target from one step to the next, in elements.
    target_step: i64,
}

/// Products of one value with several matrices, computed as one product.
struct JoinedProduct {
    x: Value,
    transforms: [Transform; 2],
    /// The matrices are transposed.
    transposed: bool,
    /// The products, in the order of their matrices.
    nodes: Vec<NodeId>,
    matrices: Vec<View>,
}

impl CudaPrimitive for Scan {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let operands: Vec<View> = (0..node.inputs.len()).map(|i| node.view(p, i)).collect();
        p.scan(self, operands, &node.dims).map(LoweredValue::View)
    }
}

impl Planner {
    /// Computes the state after each step into a new buffer.
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
        // Two step counts, so that no launch reads the one that it writes.
        let counts = [(); 2].map(|()| self.buffer(Kind::B, &[1]));
        self.emit_into(&Expression::zeros(&[1], Kind::B), &counts[0], Use::Write);
        let state = self.buffer(operands[0].kind, &dims[1..]);
        self.emit_into(&Expression::from_view(operands[0].clone()), &state, Use::Write);
        let sequences: Vec<View> = operands[1..=scan.sequences]
            .iter()
            .map(|v| if v.index_axis(0, 0).is_contiguous() { v.clone() } else { self.contiguous(v) })
            .collect();

        let mut scope = Scope { uses, ..Scope::new(graph) };
        let inputs = graph.inputs();
        for (id, view) in inputs.iter().zip(&operands).skip(1 + scan.sequences) {
            scope.values.insert(Value { node: *id, slot: 0 }, LoweredValue::View(view.clone()));
        }
        let joined = self.join_products(&scope, &order);
        let loop_start = self.clock + 1;
        let first = self.stages[self.stage].steps.len();
        let mut fetches = vec![];
        for (id, sequence) in inputs[1..].iter().zip(&sequences) {
            let step = sequence.strides[0];
            let (start, step) = if scan.reverse { (steps - 1, -step) } else { (0, step) };
            let source = sequence.index_axis(0, start);
            let target = self.buffer(source.kind, &source.dims);
            scope.values.insert(Value { node: *id, slot: 0 }, LoweredValue::View(target.clone()));
            fetches.push(Copy { source, target, source_step: step, target_step: 0 });
        }
        scope.values.insert(Value { node: inputs[0], slot: 0 }, LoweredValue::View(state.clone()));
        self.turn(&fetches, [&counts[0], &counts[1]], 0);
        for id in &order {
            if matches!(graph.op(*id), Prim::Input)
                || scope.values.contains_key(&Value { node: *id, slot: 0 })
            {
                continue;
            }
            if let Some((products, weight)) = joined.iter().find(|(j, _)| j.nodes.contains(id)) {
                self.joined_product(&mut scope, products, weight);
                continue;
            }
            let value = self.node(&mut scope, *id)?;
            scope.values.insert(Value { node: *id, slot: 0 }, value);
        }
        if let Some(v) = result {
            let next = self.contiguous_view(&mut scope, v);
            let step = state.elems() as i64;
            let (start, step) = if scan.reverse { (steps - 1, -step) } else { (0, step) };
            let target = states.index_axis(0, start);
            let result = Copy { source: next.clone(), target, source_step: 0, target_step: step };
            let carry = Copy { source: next, target: state, source_step: 0, target_step: 0 };
            self.turn(&[carry, result], [&counts[1], &counts[0]], 1);
        }
        // Every step reads the buffers from before the loop, so they live until its end.
        for buffer in &mut self.buffers {
            if buffer.first < loop_start && buffer.last >= loop_start {
                buffer.last = buffer.last.max(self.clock);
            }
        }
        let stage = &mut self.stages[self.stage];
        stage.loops.push((first..stage.steps.len(), steps));
        Ok(states)
    }

    /// Launches copies, and writes the step count plus `increment` to `next`.
    fn turn(&mut self, copies: &[Copy], [count, next]: [&View; 2], increment: u32) {
        for copies in copies.chunks(COPIES) {
            let kernel = turn_kernel(copies.len());
            let kernel = self.kernel(kernel.name.clone(), || kernel);
            let words = |v: &View| v.kind.bytes() / 4;
            let mut fixed = TurnParams { increment, ..TurnParams::default() };
            for (i, c) in copies.iter().enumerate() {
                fixed.words[i] = c.source.elems() as u32 * words(&c.source);
                fixed.source_step[i] = (c.source_step * i64::from(words(&c.source))) as i32;
                fixed.target_step[i] = (c.target_step * i64::from(words(&c.target))) as i32;
            }
            let largest = fixed.words.iter().copied().max().unwrap_or(0);
            let (sources, targets): (Vec<View>, Vec<View>) =
                copies.iter().map(|c| (c.source.clone(), c.target.clone())).unzip();
            let moves = |i: &usize| copies[*i].target_step != 0;
            let (updates, writes): (Vec<usize>, Vec<usize>) = (0..copies.len()).partition(moves);
            let views = |indices: Vec<usize>| indices.into_iter().map(|i| targets[i].clone());
            let step = Step {
                kernel,
                grid: blocks(largest, copies.len() as u32),
                reads: sources.iter().chain([count]).cloned().collect(),
                writes: views(writes).chain([next.clone()]).collect(),
                updates: views(updates).collect(),
                params: {
                    let (count, next) = (count.clone(), next.clone());
                    let (sources, targets) = (sources.clone(), targets.clone());
                    Box::new(move |at| {
                        let (count, next) = (at.address_of(&count), at.address_of(&next));
                        let mut params = TurnParams { count, next, ..fixed };
                        for (i, (source, target)) in sources.iter().zip(&targets).enumerate() {
                            params.source[i] = at.address_of(source);
                            params.target[i] = at.address_of(target);
                        }
                        params.bytes()
                    })
                },
            };
            self.push(step);
        }
    }

    /// Finds products of one value with several constant matrices of the same shape. Returns them with their concatenated matrices.
    fn join_products(&mut self, scope: &Scope, order: &[NodeId]) -> Vec<(JoinedProduct, View)> {
        let graph = scope.graph;
        let mut groups: Vec<JoinedProduct> = vec![];
        for id in order {
            let Prim::MatMul(prim::MatMul { a, b, ta: false, tb }) = graph.op(*id) else { continue };
            let inputs = graph.node_inputs(*id);
            let Some(LoweredValue::View(matrix)) = scope.values.get(&inputs[1]) else { continue };
            let flat = matrix.dims.len() == 2 && graph.ty(inputs[0]).rank() == 2;
            if !flat || !self.is_constant(matrix) || *b == Transform::One {
                continue;
            }
            let same = |j: &JoinedProduct| {
                (j.x, j.transforms, j.transposed) == (inputs[0], [*a, *b], *tb)
                    && j.matrices[0].dims == matrix.dims
            };
            match groups.iter_mut().find(|j| same(j)) {
                Some(j) => {
                    j.nodes.push(*id);
                    j.matrices.push(matrix.clone());
                }
                None => groups.push(JoinedProduct {
                    x: inputs[0],
                    transforms: [*a, *b],
                    transposed: *tb,
                    nodes: vec![*id],
                    matrices: vec![matrix.clone()],
                }),
            }
        }
        groups.retain(|j| j.nodes.len() > 1);
        // Concatenate the matrices once, in setup.
        let stage = std::mem::replace(&mut self.stage, SETUP);
        let joined = groups.into_iter().map(|j| {
            let axis = usize::from(!j.transposed);
            let mut dims = j.matrices[0].dims.clone();
            dims[axis] *= j.matrices.len();
            let weight = self.concat(axis, j.matrices.clone(), &dims);
            (j, weight)
        });
        let joined = joined.collect();
        self.stage = stage;
        joined
    }

    /// Returns whether a view's values are constant: available before the forward runs.
    fn is_constant(&self, view: &View) -> bool {
        matches!(self.buffers[view.buffer].location, Location::Constant(..))
            || self.setup.contains(&view.buffer)
    }

    /// Lowers joined products to one product, of which each is a slice.
    fn joined_product(&mut self, scope: &mut Scope, joined: &JoinedProduct, weight: &View) {
        let x = self.view(scope, joined.x);
        let columns = weight.dims[usize::from(!joined.transposed)];
        let dims = [x.dims[0], columns];
        let transposed = [false, joined.transposed];
        let product = self.product([x, weight.clone()], joined.transforms, transposed, &dims);
        let all = self.emit(&product);
        let width = columns / joined.nodes.len();
        for (i, id) in joined.nodes.iter().enumerate() {
            let slice = all.sliced(1, (i * width) as i64, width, 1);
            scope.values.insert(Value { node: *id, slot: 0 }, LoweredValue::View(slice));
        }
    }
}
