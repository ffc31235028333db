//! Covers of trees: the numbers of rows that reach each branch and each leaf.

use dlbc_ops::graph::Graph;
use dlbc_ops::prim::Prim;
use dlbc_ops::program::TreesEntry;

use super::forest::Trees;

/// Number of rows that reach each branch, then each leaf, of an ensemble.
#[derive(Clone)]
pub struct Covers {
    counts: Vec<f64>,
    branches: usize,
}

impl Covers {
    /// Reads the covers that a program holds for the ensemble of this index; `None` without any.
    pub fn read(graph: &Graph<Prim>, ensemble: usize, trees: &Trees) -> Option<Covers> {
        let value = graph.output(&TreesEntry::Covers.of(ensemble))?;
        let Prim::Const(counts) = graph.op(value.node) else { return None };
        let (counts, branches) = (counts.to_f64(), trees.branch_count());
        (counts.len() == branches + trees.leaf_count()).then_some(Covers { counts, branches })
    }

    /// Counts rows; `None` if a way does not end.
    pub fn count<'a>(trees: &Trees, rows: impl IntoIterator<Item = &'a Vec<f32>>) -> Option<Covers> {
        let branches = trees.branch_count();
        let mut covers = Covers { counts: vec![0.0; branches + trees.leaf_count()], branches };
        rows.into_iter().try_for_each(|row| covers.add(trees, row, 1.0))?;
        Some(covers)
    }

    /// Adds a row this many times; -1 takes it back.
    pub fn add(&mut self, trees: &Trees, row: &[f32], times: f64) -> Option<()> {
        trees.ways(row, |node| {
            let index = self.index(node)?;
            *self.counts.get_mut(index)? += times;
            Some(())
        })
    }

    /// Returns the number of rows that reach a branch or leaf.
    pub fn of(&self, node: i64) -> f64 {
        self.index(node).and_then(|index| self.counts.get(index)).copied().unwrap_or(0.0)
    }

    fn index(&self, node: i64) -> Option<usize> {
        match usize::try_from(node) {
            Ok(branch) => Some(branch),
            Err(_) => usize::try_from(-1 - node).ok().map(|leaf| self.branches + leaf),
        }
    }
}
