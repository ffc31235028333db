//! Path-dependent Shapley values of trees [lundberg2020]: a feature that is not known goes every way, each with the share of the
//! rows that went there.

use std::collections::HashSet;

use super::covers::Covers;
use super::forest::{LeafValues, Trees};

/// For each branch that tests another feature than the one before it, the nodes behind the branches that follow with the same
/// feature.
pub struct Regions {
    exits: Vec<Option<Box<[i64]>>>,
}

impl Regions {
    /// Finds the regions of all trees; `None` if branches form cycles.
    pub fn new(trees: &Trees) -> Option<Regions> {
        let mut exits: Vec<Option<Box<[i64]>>> = vec![None; trees.branch_count()];
        // Each branch stands in one region, apart from the branches that values of a set share.
        let mut budget = trees.most_steps();
        let mut entries: Vec<i64> = trees.roots().to_vec();
        while let Some(entry) = entries.pop() {
            let Ok(branch) = usize::try_from(entry) else { continue };
            if exits.get(branch)?.is_some() {
                continue;
            }
            let feature = trees.feature(entry)?;
            let (mut seen, mut region) = (HashSet::from([entry]), vec![]);
            let mut stack = vec![entry];
            while let Some(node) = stack.pop() {
                budget = budget.checked_sub(1)?;
                for child in trees.children(node)? {
                    match seen.insert(*child) {
                        true if trees.feature(*child) == Some(feature) => stack.push(*child),
                        true => region.push(*child),
                        false => {}
                    }
                }
            }
            entries.extend(&region);
            exits[branch] = Some(region.into());
        }
        Some(Regions { exits })
    }

    fn exits(&self, node: i64) -> Option<&[i64]> {
        self.exits.get(usize::try_from(node).ok()?)?.as_deref()
    }
}

/// Fault of a walk.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// Tables that do not form trees.
    Tables,
    /// A branch that the explained row can reach and no other row does, so that the shares of its ways are not known.
    NoRows,
}

/// Tests of a feature on the way to a node.
#[derive(Clone, Copy)]
struct Tests {
    /// Share of the rows that pass them.
    share: f64,
    /// True if the explained row passes them.
    passes: bool,
}

/// Step of the walk.
enum Step {
    /// Goes to a node, after tests of a feature.
    Go(i64, Option<(usize, Tests)>),
    /// Restores the tests of a feature.
    Back(usize, Option<Tests>),
}

/// Walk through the trees along all ways that rows take.
pub struct Paths<'a> {
    trees: &'a Trees,
    regions: &'a Regions,
    covers: &'a Covers,
    row: &'a [f32],
    /// Tests of each feature on the way to the current node.
    tests: Vec<Option<Tests>>,
    /// Features on the way.
    path: Vec<usize>,
    /// Coefficients of the product over passed features of `share + t`, lowest power first.
    product: Vec<f64>,
}

impl<'a> Paths<'a> {
    /// Creates the walk of a row.
    pub fn new(trees: &'a Trees, regions: &'a Regions, covers: &'a Covers, row: &'a [f32]) -> Paths<'a> {
        Paths { trees, regions, covers, row, tests: vec![None; row.len()], path: vec![], product: vec![] }
    }

    /// Adds the Shapley values of the row to `result`, by feature, and returns its score and the mean score.
    pub fn add(mut self, values: &LeafValues, result: &mut [f64]) -> Result<[f64; 2], Fault> {
        let mut sums = [0.0; 2];
        for (root, factor) in self.trees.roots().iter().zip(values.factors()) {
            if *factor != 0.0 {
                let tree = self.tree(*root, *factor, values, result)?;
                sums = [sums[0] + tree[0], sums[1] + tree[1]];
            }
        }
        Ok(sums)
    }

    fn tree(
        &mut self,
        root: i64,
        factor: f64,
        values: &LeafValues,
        result: &mut [f64],
    ) -> Result<[f64; 2], Fault> {
        let mut sums = [0.0; 2];
        let mut steps = vec![Step::Go(root, None)];
        let mut budget = self.trees.most_steps();
        while let Some(step) = steps.pop() {
            budget = budget.checked_sub(1).ok_or(Fault::Tables)?;
            let (node, tested) = match step {
                Step::Go(node, tested) => (node, tested),
                Step::Back(feature, before) => {
                    self.tests[feature] = before;
                    if before.is_none() {
                        self.path.pop();
                    }
                    continue;
                }
            };
            if let Some((feature, tests)) = tested {
                let before = self.tests[feature].replace(tests);
                if before.is_none() {
                    self.path.push(feature);
                }
                steps.push(Step::Back(feature, before));
            }
            if node < 0 {
                let value = factor * values.of(node).ok_or(Fault::Tables)?;
                let leaf = self.leaf(value, result).ok_or(Fault::Tables)?;
                sums = [sums[0] + leaf[0], sums[1] + leaf[1]];
                continue;
            }
            let feature = self.trees.feature(node).and_then(|f| usize::try_from(f).ok());
            let feature = feature.filter(|f| *f < self.tests.len()).ok_or(Fault::Tables)?;
            let rows = self.covers.of(node);
            if rows <= 0.0 {
                return Err(Fault::NoRows);
            }
            let row_exit = self.trees.exit(self.row, node, feature).ok_or(Fault::Tables)?;
            let before = self.tests[feature].unwrap_or(Tests { share: 1.0, passes: true });
            for exit in self.regions.exits(node).ok_or(Fault::Tables)? {
                let share = before.share * self.covers.of(*exit) / rows;
                let passes = before.passes && *exit == row_exit;
                // No set of features leads there otherwise.
                if passes || share > 0.0 {
                    steps.push(Step::Go(*exit, Some((feature, Tests { share, passes }))));
                }
            }
        }
        Ok(sums)
    }

    /// Adds the Shapley values of the game in which the leaf's value counts by the shares of the features that are not known,
    /// if the row passes the tests of those that are. Returns its part of the row's score and of the mean.
    ///
    /// With `d` features, `w(k) = k! (d - 1 - k)! / d!` and the product `P(t)` over the passed features of `share + t`,
    /// a passed feature gets `(1 - share) Σ w(k) [P(t) / (share + t)]_k`, and another one `-Σ w(k) [P(t)]_k`, times the shares of the
    /// features that are not passed.
    fn leaf(&mut self, value: f64, result: &mut [f64]) -> Option<[f64; 2]> {
        let tests = |feature: &usize| self.tests[*feature].map(|t| (*feature, t));
        let (count, mut share) = (self.path.len(), value);
        self.product.clear();
        self.product.push(1.0);
        for (_, t) in self.path.iter().filter_map(tests) {
            if !t.passes {
                share *= t.share;
                continue;
            }
            self.product.push(0.0);
            for k in (0..self.product.len()).rev() {
                self.product[k] = t.share * self.product[k] + if k == 0 { 0.0 } else { self.product[k - 1] };
            }
        }
        let passed = self.product.len() - 1;
        let weight = |k: usize| self.trees.share(k + 1, (count - 1).checked_sub(k)?);
        let failed_value = match passed < count {
            true => {
                let terms = self.product.iter().enumerate().map(|(k, p)| Some(weight(k)? * p));
                -share * terms.sum::<Option<f64>>()?
            }
            false => 0.0,
        };
        for (feature, t) in self.path.iter().filter_map(tests) {
            if !t.passes {
                result[feature] += failed_value;
                continue;
            }
            // The quotient's coefficients, from the highest.
            let (mut quotient, mut sum) = (0.0, 0.0);
            for k in (0..passed).rev() {
                quotient = self.product[k + 1] - t.share * quotient;
                sum += weight(k)? * quotient;
            }
            result[feature] += (1.0 - t.share) * share * sum;
        }
        Some([if passed == count { value } else { 0.0 }, share * self.product[0]])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::forest::random_trees::{
        FEATURES, by_definition, cycle, random_row, random_trees, score,
    };
    use super::*;
    use crate::random::Random;

    /// Returns the value of a set of features: the mean over all ways, on which features of the set go the row's.
    fn expected_score(paths: &Paths<'_>, set: usize, node: i64) -> f64 {
        let trees = paths.trees;
        let Some(feature) = trees.feature(node) else { return trees.leaf_values(&[1.0]).of(node).unwrap() };
        if set >> feature & 1 == 1 {
            return expected_score(paths, set, trees.exit(paths.row, node, feature as usize).unwrap());
        }
        let rows = paths.covers.of(node);
        let part = |exit: &i64| match paths.covers.of(*exit) {
            0.0 => 0.0,
            count => count / rows * expected_score(paths, set, *exit),
        };
        paths.regions.exits(node).unwrap().iter().map(part).sum()
    }

    #[test]
    fn values_are_those_of_the_definition() {
        let mut compared = 0;
        for seed in 0..60 {
            let trees = random_trees(seed, 3, 1 + seed as usize % 6);
            let mut random = Random::new(seed, 1);
            let rows: Vec<Vec<f32>> = (0..4000).map(|_| random_row(&mut random)).collect();
            let covers = Covers::count(&trees, &rows).unwrap();
            let regions = Regions::new(&trees).unwrap();
            let row = &rows[seed as usize];
            let mut values = vec![0.0; FEATURES];
            let paths = || Paths::new(&trees, &regions, &covers, row);
            let sums = match paths().add(&trees.leaf_values(&[1.0]), &mut values) {
                Ok(sums) => sums,
                Err(fault) => {
                    assert_eq!(fault, Fault::NoRows);
                    continue;
                }
            };
            compared += 1;
            let expected = by_definition(|set| {
                let root = |root: &i64| expected_score(&paths(), set, *root);
                trees.roots().iter().map(root).sum()
            });
            for (value, expected) in values.iter().zip(&expected) {
                assert!((value - expected).abs() < 1e-9, "{seed}: {values:?} {expected:?}");
            }
            let mean = rows.iter().map(|row| score(&trees, row)).sum::<f64>() / rows.len() as f64;
            assert!((sums[0] - score(&trees, row)).abs() < 1e-9 && (sums[1] - mean).abs() < 1e-9);
            assert!((values.iter().sum::<f64>() - (sums[0] - sums[1])).abs() < 1e-9);
        }
        assert!(compared >= 20, "{compared}");
    }

    #[test]
    fn cycles_and_branches_without_rows_are_faults() {
        assert!(Regions::new(&cycle()).is_some());
        let trees = random_trees(5, 1, 5);
        let (regions, row) = (Regions::new(&trees).unwrap(), [1.0; FEATURES]);
        let covers = Covers::count(&trees, &[]).unwrap();
        let paths = Paths::new(&trees, &regions, &covers, &row);
        let fault = paths.add(&trees.leaf_values(&[1.0]), &mut [0.0; FEATURES]);
        assert_eq!(fault, Err(Fault::NoRows));
        assert!(Covers::count(&cycle(), &[row.to_vec()]).is_none());
    }

    #[test]
    fn rows_that_are_taken_back_do_not_count() {
        let trees = random_trees(7, 2, 4);
        let mut random = Random::new(7, 1);
        let rows: Vec<Vec<f32>> = (0..50).map(|_| random_row(&mut random)).collect();
        let mut covers = Covers::count(&trees, &rows).unwrap();
        covers.add(&trees, &rows[0], -1.0).unwrap();
        let others = Covers::count(&trees, &rows[1..]).unwrap();
        for root in trees.roots() {
            assert_eq!(covers.of(*root), others.of(*root));
        }
    }
}
