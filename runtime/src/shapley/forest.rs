//! Trees of a program as tables.

use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::prim::{Forest, OUTCOMES, Prim};
use dlbc_ops::program::TreesEntry;

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
    /// Weights of the players of a leaf.
    shares: Shares,
}

/// Weights `(p - 1)! q! / (p + q)!`: with `n = p + q` players, the share of the orders in which one of them comes behind `p - 1`
/// given players and before `q` others.
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

    fn of(&self, p: usize, q: usize) -> Option<f64> {
        self.0.get(p)?.get(q).copied()
    }
}

impl Trees {
    /// Reads the ensemble of this index from a program; `None` if its tables are not constants.
    pub fn read(graph: &Graph<Prim>, ensemble: usize) -> Option<Trees> {
        let leaves = graph.output(&TreesEntry::Leaves.of(ensemble))?;
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

    /// Returns the root of each tree, a branch or a leaf as in [`TreeLeaves`](dlbc_ops::prim::TreeLeaves).
    pub fn roots(&self) -> &[i64] {
        &self.roots
    }

    /// Returns the number of branches of all trees.
    pub fn branch_count(&self) -> usize {
        self.features.len()
    }

    /// Returns the number of leaves of all trees.
    pub fn leaf_count(&self) -> usize {
        self.values.len() / if self.of_tree.is_empty() { self.columns.max(1) } else { 1 }
    }

    /// Returns the most steps of a walk through one tree: it meets each node once, and the branches and leaves of a set once more, and
    /// goes back from each.
    pub fn most_steps(&self) -> usize {
        4 * (self.branch_count() + self.leaf_count() + 1)
    }

    /// Returns the feature that a branch tests; `None` for a leaf.
    pub fn feature(&self, node: i64) -> Option<i64> {
        self.features.get(usize::try_from(node).ok()?).copied()
    }

    /// Returns the children of a branch, by outcome.
    pub fn children(&self, node: i64) -> Option<&[i64]> {
        self.children.chunks(OUTCOMES).nth(usize::try_from(node).ok()?)
    }

    /// Returns the child of a branch to which a row goes.
    pub fn next(&self, row: &[f32], node: i64) -> Option<i64> {
        self.forest().next(row, node).ok()
    }

    /// Returns the first node after `node` that tests another feature, for a row. Comparisons with the values of a set follow
    /// one another, and lead to the same child.
    pub fn exit(&self, row: &[f32], node: i64, feature: usize) -> Option<i64> {
        let mut node = node;
        for _ in 0..=self.features.len() {
            if self.feature(node) != Some(feature as i64) {
                return Some(node);
            }
            node = self.next(row, node)?;
        }
        None
    }

    /// Calls `visit` with each node on the ways of a row through the trees; `None` if it fails or a way does not end.
    pub fn ways(&self, row: &[f32], mut visit: impl FnMut(i64) -> Option<()>) -> Option<()> {
        for root in &self.roots {
            let mut node = *root;
            visit(node)?;
            let mut budget = self.features.len();
            while node >= 0 {
                budget = budget.checked_sub(1)?;
                node = self.next(row, node)?;
                visit(node)?;
            }
        }
        Some(())
    }

    /// Returns the weight `(p - 1)! q! / (p + q)!`; `None` for more features than a way tests.
    pub fn share(&self, p: usize, q: usize) -> Option<f64> {
        self.shares.of(p, q)
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

impl LeafValues {
    /// Returns the value of a leaf.
    pub fn of(&self, node: i64) -> Option<f64> {
        self.values.get(usize::try_from(-1 - node).ok()?).copied()
    }

    /// Returns the factor of each tree.
    pub fn factors(&self) -> &[f64] {
        &self.factors
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod random_trees {
    use super::*;
    use crate::random::Random;

    /// Number of features of the rows.
    pub const FEATURES: usize = 6;

    /// Returns random trees; sets of values make branches that share a child.
    pub fn random_trees(seed: u64, trees: usize, depth: usize) -> Trees {
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

    /// Returns the sum of the trees at a row.
    pub fn score(trees: &Trees, row: &[f32]) -> f64 {
        let leaf = |root: &i64| trees.forest().leaf(row, *root, 1000).unwrap();
        trees.roots.iter().map(|root| trees.values[leaf(root) as usize]).sum()
    }

    /// Returns a random row of whole numbers.
    pub fn random_row(random: &mut Random) -> Vec<f32> {
        (0..FEATURES).map(|_| (random.normal().abs() * 3.0).floor() as f32).collect()
    }

    /// Returns the Shapley values of a game on sets of features by their definition: the sum over all sets.
    pub fn by_definition(game: impl Fn(usize) -> f64) -> Vec<f64> {
        let factorial = |n: usize| (1..=n).map(|k| k as f64).product::<f64>();
        let value = |f: usize| {
            let sets = (0..1usize << FEATURES).filter(|set| set >> f & 1 == 0);
            sets.map(|set| {
                let size = set.count_ones() as usize;
                let weight = factorial(size) * factorial(FEATURES - size - 1) / factorial(FEATURES);
                weight * (game(set | 1 << f) - game(set))
            })
            .sum()
        };
        (0..FEATURES).map(value).collect()
    }

    /// Returns one tree of two branches that lead to one another.
    pub fn cycle() -> Trees {
        let mut trees = random_trees(1, 1, 0);
        (trees.features, trees.thresholds) = (vec![0, 1], vec![0.0; 2]);
        (trees.children, trees.roots) = (vec![1, 1, 1, 1, 0, 0, 0, 0], vec![0]);
        trees
    }
}
