//! Interventional Shapley values of sums of trees [lundberg2020]: a feature that is not known has its value in another row.

use super::forest::{LeafValues, Trees};

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
    fn tree(&mut self, root: i64, factor: f64, values: &LeafValues, result: &mut [f64]) -> Option<[f64; 2]> {
        let mut sums = [0.0; 2];
        let (mut p, mut q) = (0, 0);
        let mut steps = vec![Step::Go(root, None)];
        let mut budget = self.trees.most_steps();
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
            if node < 0 {
                let value = factor * values.of(node)?;
                sums[0] += if q == 0 { value } else { 0.0 };
                sums[1] += if p == 0 { value } else { 0.0 };
                for feature in &self.path {
                    result[*feature] += match self.sides[*feature] {
                        Side::Row => value * self.trees.share(p, q)?,
                        Side::Other => -value * self.trees.share(q, p)?,
                        Side::Neither => 0.0,
                    };
                }
                continue;
            }
            let feature = usize::try_from(self.trees.feature(node)?).ok()?;
            match *self.sides.get(feature)? {
                Side::Row => steps.push(Step::Go(self.trees.exit(self.row, node, feature)?, None)),
                Side::Other => steps.push(Step::Go(self.trees.exit(self.other, node, feature)?, None)),
                Side::Neither => {
                    let (a, b) = (
                        self.trees.exit(self.row, node, feature)?,
                        self.trees.exit(self.other, node, feature)?,
                    );
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
}

/// Adds the Shapley values of a row against another one to `result`, by feature, and returns the sums at both rows. `None` if the
/// tables do not form trees.
pub fn add(
    trees: &Trees,
    values: &LeafValues,
    row: &[f32],
    other: &[f32],
    result: &mut [f64],
) -> Option<[f64; 2]> {
    let mut walk = Walk { trees, row, other, sides: vec![Side::Neither; row.len()], path: vec![] };
    let mut sums = [0.0; 2];
    for (root, factor) in trees.roots().iter().zip(values.factors()) {
        if *factor != 0.0 {
            let tree = walk.tree(*root, *factor, values, result)?;
            sums = [sums[0] + tree[0], sums[1] + tree[1]];
        }
    }
    Some(sums)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::forest::random_trees::{
        FEATURES, by_definition, cycle, random_row, random_trees, score,
    };
    use super::*;
    use crate::random::Random;

    #[test]
    fn values_are_those_of_the_definition() {
        for seed in 0..60 {
            let trees = random_trees(seed, 3, 1 + seed as usize % 6);
            let mut random = Random::new(seed, 1);
            let (mut row, other) = (random_row(&mut random), random_row(&mut random));
            if seed % 5 == 0 {
                row[2] = f32::NAN;
            }
            let mut values = vec![0.0; FEATURES];
            let sums = add(&trees, &trees.leaf_values(&[1.0]), &row, &other, &mut values).unwrap();
            let expected = by_definition(|set| {
                let value = |f: usize| if set >> f & 1 == 1 { row[f] } else { other[f] };
                score(&trees, &(0..FEATURES).map(value).collect::<Vec<f32>>())
            });
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
        let (trees, row) = (cycle(), [1.0; FEATURES]);
        let values = trees.leaf_values(&[1.0]);
        assert_eq!(add(&trees, &values, &row, &[0.0; FEATURES], &mut [0.0; FEATURES]), None);
    }
}
