//! Trees of a program as tables, and the Shapley values of their sum [lundberg2020].

use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::prim::{Forest, Prim};
use dlbc_ops::program::Output;

/// Largest number of features that one way to a leaf may test.
const MAX_TESTED: usize = 500;

/// Trees with the values of their leaves.
pub struct Trees {
    features: Vec<i64>,
    thresholds: Vec<f32>,
    children: Vec<i64>,
    roots: Vec<i64>,
    /// Values of the leaves, `[leaf, column]`.
    values: Vec<f64>,
    /// Number of columns of the values.
    columns: usize,
    /// Column of each tree, if a leaf has one value; empty if it has one for each column.
    of_tree: Vec<usize>,
    /// Weights of the players of a leaf, by the numbers of features on either side.
    shares: Shares,
}

/// Weights of a leaf that `p` features reach from the explained row and `q` from the other row: `(p - 1)! q! / (p + q)!`.
struct Shares(Vec<Vec<f64>>);

impl Shares {
    fn new(most: usize) -> Shares {
        let mut rows = vec![vec![0.0; most + 1]];
        for p in 1..=most {
            // B(p, q + 1) = B(p, q) · q / (p + q), from B(p, 1) = 1 / p.
            let mut row = vec![1.0 / p as f64];
            for q in 1..=most - p {
                row.push(row[q - 1] * q as f64 / (p + q) as f64);
            }
            rows.push(row);
        }
        Shares(rows)
    }

    fn of(&self, p: usize, q: usize) -> f64 {
        self.0[p][q]
    }
}

impl Trees {
    /// Reads the ensemble of this index from a program; `None` if its tables are not constants.
    pub fn read(graph: &Graph<Prim>, ensemble: usize) -> Option<Trees> {
        let leaves = graph.output(&Output::TreeLeaves(ensemble))?;
        let inputs = graph.node_inputs(leaves.node);
        let constant = |k: usize| match graph.op(inputs.get(k)?.node) {
            Prim::Const(t) => Some(t.clone()),
            _ => None,
        };
        let (features, thresholds, children, roots) =
            (constant(1)?, constant(2)?, constant(3)?, constant(4)?);
        let lookup = graph
            .consumers(leaves)
            .into_iter()
            .find(|(id, k)| *k == 1 && matches!(graph.op(*id), Prim::Gather(_)))?;
        let Prim::Const(values) = graph.op(graph.node_inputs(lookup.0)[0].node) else { return None };
        let (columns, of_tree) = match values.dims() {
            [_, columns] => (*columns, vec![]),
            _ => {
                let of_rows = Value { node: lookup.0, slot: 0 };
                let product = graph
                    .consumers(of_rows)
                    .into_iter()
                    .find(|(id, _)| matches!(graph.op(*id), Prim::MatMul(_)))?;
                let Prim::Const(targets) = graph.op(graph.node_inputs(product.0)[1].node) else {
                    return None;
                };
                let columns = *targets.dims().get(1)?;
                let of_tree = targets
                    .to_f32()
                    .chunks(columns.max(1))
                    .map(|row| row.iter().position(|v| *v != 0.0).unwrap_or(0))
                    .collect();
                (columns, of_tree)
            }
        };
        let features = features.to_i64().to_vec();
        let mut distinct = features.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let Prim::TreeLeaves(prim) = graph.op(leaves.node) else { return None };
        let most = distinct.len().min(prim.depth);
        if most > MAX_TESTED {
            return None;
        }
        Some(Trees {
            features,
            thresholds: thresholds.to_f32().to_vec(),
            children: children.to_i64().to_vec(),
            roots: roots.to_i64().to_vec(),
            values: values.to_f64(),
            columns,
            of_tree,
            shares: Shares::new(most),
        })
    }

    /// Returns the value of each leaf in each tree's column for a sum of columns with these weights.
    pub fn leaf_values(&self, weights: &[f64]) -> LeafValues {
        if !self.of_tree.is_empty() {
            let factors =
                self.of_tree.iter().map(|column| weights.get(*column).copied().unwrap_or(0.0)).collect();
            return LeafValues { values: self.values.clone(), factors };
        }
        let row = |row: &[f64]| row.iter().zip(weights).map(|(v, w)| v * w).sum();
        let values = self.values.chunks(self.columns.max(1)).map(row).collect();
        LeafValues { values, factors: vec![1.0; self.roots.len()] }
    }

    /// Adds the Shapley values of a row against another one to `result`, by feature, and returns the sums at both rows.
    pub fn add(
        &self,
        values: &LeafValues,
        row: &[f32],
        other: &[f32],
        result: &mut [f64],
    ) -> Option<[f64; 2]> {
        let mut walk = Walk { trees: self, row, other, sides: vec![Side::Neither; row.len()], path: vec![] };
        let mut sums = [0.0; 2];
        for (root, factor) in self.roots.iter().zip(&values.factors) {
            if *factor != 0.0 {
                let tree = walk.tree(*root, *factor, &values.values, result)?;
                sums = [sums[0] + tree[0], sums[1] + tree[1]];
            }
        }
        Some(sums)
    }

    fn forest(&self) -> Forest<'_, f32> {
        Forest { features: &self.features, thresholds: &self.thresholds, children: &self.children }
    }
}

/// Values of the leaves, and the factor of each tree.
pub struct LeafValues {
    values: Vec<f64>,
    factors: Vec<f64>,
}

/// Row whose value of a feature decides on the way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Neither,
    Row,
    Other,
}

/// Walk through a tree along the ways on which each feature has the value of one of two rows.
struct Walk<'a> {
    trees: &'a Trees,
    row: &'a [f32],
    other: &'a [f32],
    /// Side of each feature on the way to the current node.
    sides: Vec<Side>,
    /// Features on the way that have a side.
    path: Vec<usize>,
}

/// Step of the walk.
enum Step {
    /// Goes to a node, where a feature gets a side.
    Go(i64, Option<(usize, Side)>),
    /// Takes back the side of the feature that got one last.
    Back,
}

impl Walk<'_> {
    /// Adds the Shapley values of one tree, and returns its values at both rows.
    fn tree(&mut self, root: i64, factor: f64, values: &[f64], result: &mut [f64]) -> Option<[f64; 2]> {
        let mut sums = [0.0; 2];
        let (mut p, mut q) = (0, 0);
        let mut steps = vec![Step::Go(root, None)];
        // A walk meets each node once, and the leaves of a set's branches once more.
        let mut budget = 4 * (self.trees.features.len() + self.trees.values.len() + 1);
        while let Some(step) = steps.pop() {
            budget = budget.checked_sub(1)?;
            let (node, sided) = match step {
                Step::Go(node, sided) => (node, sided),
                Step::Back => {
                    let feature = self.path.pop()?;
                    *(if self.sides[feature] == Side::Row { &mut p } else { &mut q }) -= 1;
                    self.sides[feature] = Side::Neither;
                    continue;
                }
            };
            if let Some((feature, side)) = sided {
                self.sides[feature] = side;
                self.path.push(feature);
                *(if side == Side::Row { &mut p } else { &mut q }) += 1;
                steps.push(Step::Back);
            }
            let Ok(branch) = usize::try_from(node) else {
                let value = factor * values.get(usize::try_from(-1 - node).ok()?)?;
                sums[0] += if q == 0 { value } else { 0.0 };
                sums[1] += if p == 0 { value } else { 0.0 };
                for feature in &self.path {
                    result[*feature] += match self.sides[*feature] {
                        Side::Row => value * self.trees.shares.of(p, q),
                        Side::Other => -value * self.trees.shares.of(q, p),
                        Side::Neither => 0.0,
                    };
                }
                continue;
            };
            let feature = usize::try_from(*self.trees.features.get(branch)?).ok()?;
            match *self.sides.get(feature)? {
                Side::Row => steps.push(Step::Go(self.exit(self.row, node, feature)?, None)),
                Side::Other => steps.push(Step::Go(self.exit(self.other, node, feature)?, None)),
                Side::Neither => {
                    let (a, b) = (self.exit(self.row, node, feature)?, self.exit(self.other, node, feature)?);
                    if a == b {
                        steps.push(Step::Go(a, None));
                    } else {
                        steps.push(Step::Go(b, Some((feature, Side::Other))));
                        steps.push(Step::Go(a, Some((feature, Side::Row))));
                    }
                }
            }
        }
        Some(sums)
    }

    /// Returns the first node after `node` that tests another feature, for a row. Comparisons with the values of a set follow
    /// one another, and lead to the same child.
    fn exit(&self, row: &[f32], node: i64, feature: usize) -> Option<i64> {
        let mut node = node;
        for _ in 0..=self.trees.features.len() {
            let Ok(branch) = usize::try_from(node) else { return Some(node) };
            if self.trees.features.get(branch) != Some(&(feature as i64)) {
                return Some(node);
            }
            node = self.trees.forest().next(row, node).ok()?;
        }
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::random::Random;

    const FEATURES: usize = 6;

    /// Returns random trees; sets of values make branches that share a child.
    fn random_trees(seed: u64, trees: usize, depth: usize) -> Trees {
        let mut forest = Trees {
            features: vec![],
            thresholds: vec![],
            children: vec![],
            roots: vec![],
            values: vec![],
            columns: 1,
            of_tree: vec![],
            shares: Shares::new(FEATURES),
        };
        let mut random = Random::new(seed, 0);
        let mut uniform = move |n: usize| random.below(n);
        fn grow(forest: &mut Trees, uniform: &mut impl FnMut(usize) -> usize, depth: usize) -> i64 {
            if depth == 0 || uniform(6) == 0 {
                forest.values.push(uniform(1000) as f64 / 100.0 - 5.0);
                return -(forest.values.len() as i64);
            }
            let feature = uniform(FEATURES) as i64;
            let (holds, fails) = (grow(forest, uniform, depth - 1), grow(forest, uniform, depth - 1));
            let mut next = fails;
            let values = if uniform(3) == 0 { 3 } else { 1 };
            for k in 0..values {
                forest.features.push(feature);
                forest.thresholds.push((uniform(5) + k) as f32);
                let children = if values > 1 {
                    [next, holds, next, next]
                } else {
                    [holds, holds, next, [holds, next][uniform(2)]]
                };
                forest.children.extend(children);
                next = forest.features.len() as i64 - 1;
            }
            next
        }
        for _ in 0..trees {
            let root = grow(&mut forest, &mut uniform, depth);
            forest.roots.push(root);
        }
        forest
    }

    fn score(trees: &Trees, row: &[f32]) -> f64 {
        let leaf = |root: &i64| trees.forest().leaf(row, *root, 1000).unwrap();
        trees.roots.iter().map(|root| trees.values[leaf(root) as usize]).sum()
    }

    /// Returns the Shapley values by their definition: the sum over all sets of features.
    fn by_definition(trees: &Trees, row: &[f32], other: &[f32]) -> Vec<f64> {
        let factorial = |n: usize| (1..=n).map(|k| k as f64).product::<f64>();
        let mixed = |set: usize| -> Vec<f32> {
            (0..FEATURES).map(|f| if set >> f & 1 == 1 { row[f] } else { other[f] }).collect()
        };
        let value = |f: usize| {
            let sets = (0..1usize << FEATURES).filter(|set| set >> f & 1 == 0);
            sets.map(|set| {
                let size = set.count_ones() as usize;
                let weight = factorial(size) * factorial(FEATURES - size - 1) / factorial(FEATURES);
                weight * (score(trees, &mixed(set | 1 << f)) - score(trees, &mixed(set)))
            })
            .sum()
        };
        (0..FEATURES).map(value).collect()
    }

    #[test]
    fn values_are_those_of_the_definition() {
        for seed in 0..60 {
            let trees = random_trees(seed, 3, 1 + seed as usize % 6);
            let mut random = Random::new(seed, 1);
            let mut row = || -> Vec<f32> {
                (0..FEATURES).map(|_| (random.normal().abs() * 3.0).floor() as f32).collect()
            };
            let (mut row, other) = (row(), row());
            if seed % 5 == 0 {
                row[2] = f32::NAN;
            }
            let leaves = trees.leaf_values(&[1.0]);
            let mut values = vec![0.0; FEATURES];
            let sums = trees.add(&leaves, &row, &other, &mut values).unwrap();
            let expected = by_definition(&trees, &row, &other);
            for (value, expected) in values.iter().zip(&expected) {
                assert!((value - expected).abs() < 1e-9, "{seed}: {values:?} {expected:?}");
            }
            assert!(
                (sums[0] - score(&trees, &row)).abs() < 1e-9
                    && (sums[1] - score(&trees, &other)).abs() < 1e-9
            );
            assert!((values.iter().sum::<f64>() - (sums[0] - sums[1])).abs() < 1e-9);
        }
    }

    #[test]
    fn cycles_end() {
        let mut trees = random_trees(1, 1, 0);
        (trees.features, trees.thresholds) = (vec![0, 1], vec![0.0; 2]);
        (trees.children, trees.roots) = (vec![1, 1, 1, 1, 0, 0, 0, 0], vec![0]);
        let leaves = trees.leaf_values(&[1.0]);
        assert_eq!(trees.add(&leaves, &[1.0; FEATURES], &[0.0; FEATURES], &mut [0.0; FEATURES]), None);
    }
}
