//! Branches and leaves of trees, checked and in the form of [`TreeLeaves`](crate::prim::TreeLeaves).

use crate::OpError;

/// Comparison of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Value at most the threshold.
    LessOrEqual,
    /// Value below the threshold.
    Less,
    /// Value at least the threshold.
    GreaterOrEqual,
    /// Value above the threshold.
    Greater,
    /// Value equal to the threshold.
    Equal,
    /// Value other than the threshold.
    NotEqual,
}

impl Mode {
    /// Returns whether the comparison holds for each outcome: less, equal, larger, NaN.
    fn holds(self) -> [bool; 4] {
        match self {
            Mode::LessOrEqual => [true, true, false, false],
            Mode::Less => [true, false, false, false],
            Mode::GreaterOrEqual => [false, true, true, false],
            Mode::Greater => [false, false, true, false],
            Mode::Equal => [false, true, false, false],
            Mode::NotEqual => [true, false, true, true],
        }
    }
}

/// Destination of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Child {
    /// Branch of this index.
    Branch(usize),
    /// Leaf of this index.
    Leaf(usize),
}

impl Child {
    /// Returns the number that stands for the child in a table.
    fn code(self) -> i64 {
        match self {
            Child::Branch(index) => index as i64,
            Child::Leaf(index) => -1 - index as i64,
        }
    }
}

/// Branch of a tree.
#[derive(Clone, Debug)]
pub struct Branch {
    /// Feature whose value is compared.
    pub feature: i64,
    /// Value with which it is compared.
    pub threshold: f32,
    /// Comparison.
    pub mode: Mode,
    /// Child if the comparison holds.
    pub holds: Child,
    /// Child if it does not hold.
    pub fails: Child,
    /// True if the comparison holds for NaN.
    pub missing_holds: bool,
    /// True if `fails` is a branch that has the same child for another value of a set.
    pub is_continued: bool,
}

/// Branches as columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Feature of each branch.
    pub features: Vec<i64>,
    /// Threshold of each branch.
    pub thresholds: Vec<f32>,
    /// Four children of each branch.
    pub children: Vec<i64>,
    /// Root of each tree.
    pub roots: Vec<i64>,
    /// Largest number of branches on the way to a leaf.
    pub depth: usize,
}

impl Table {
    /// Checks that branches and roots form trees, and converts them. `name` describes a branch for messages.
    ///
    /// # Errors
    /// If a threshold is NaN, or a branch has several parents, or none and is not a root.
    pub fn new(
        branches: &[Branch],
        roots: &[Child],
        name: impl Fn(usize) -> String,
    ) -> Result<Table, OpError> {
        let mut depths: Vec<Option<usize>> = vec![None; branches.len()];
        let mut stack: Vec<(Child, usize)> = roots.iter().map(|root| (*root, 0)).collect();
        let mut table = Table { roots: roots.iter().map(|root| root.code()).collect(), ..Table::default() };
        while let Some((child, depth)) = stack.pop() {
            let Child::Branch(index) = child else {
                table.depth = table.depth.max(depth);
                continue;
            };
            let branch = branches
                .get(index)
                .ok_or_else(|| OpError::invalid("child", format!("a branch of {}", branches.len()), index))?;
            if depths[index].replace(depth).is_some() {
                return Err(OpError::invalid(
                    "trees",
                    "branches with one parent",
                    format!("several of {}", name(index)),
                ));
            }
            if !branch.is_continued {
                stack.push((branch.holds, depth + 1));
            }
            stack.push((branch.fails, depth + 1));
        }
        if let Some(index) = depths.iter().position(Option::is_none) {
            return Err(OpError::invalid(
                "trees",
                "branches that a root leads to",
                format!("{} in a cycle", name(index)),
            ));
        }
        for (index, branch) in branches.iter().enumerate() {
            if branch.threshold.is_nan() {
                return Err(OpError::invalid("thresholds", "numbers", format!("NaN at {}", name(index))));
            }
            table.features.push(branch.feature);
            table.thresholds.push(branch.threshold);
            let mut holds = branch.mode.holds();
            holds[3] |= branch.missing_holds;
            table.children.extend(holds.map(|h| if h { branch.holds.code() } else { branch.fails.code() }));
        }
        Ok(table)
    }

    /// Checks that every feature is a column of the rows.
    ///
    /// # Errors
    /// The first branch whose feature is out of range.
    pub fn check_features(&self, width: Option<i64>, name: impl Fn(usize) -> String) -> Result<(), OpError> {
        let end = width.unwrap_or(i64::from(u32::MAX));
        match self.features.iter().position(|f| !(0..end).contains(f)) {
            Some(i) => {
                let expected = format!("0 to {}", end - 1);
                Err(OpError::invalid(&format!("feature of {}", name(i)), expected, self.features[i]))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(holds: Child, fails: Child) -> Branch {
        let mode = Mode::LessOrEqual;
        Branch { feature: 0, threshold: 0.5, mode, holds, fails, missing_holds: false, is_continued: false }
    }

    fn table(branches: &[Branch], roots: &[Child]) -> Result<Table, String> {
        Table::new(branches, roots, |i| format!("branch {i}")).map_err(|e| e.to_string())
    }

    #[test]
    fn depths_and_children() {
        let branches = [branch(Child::Branch(1), Child::Leaf(2)), branch(Child::Leaf(0), Child::Leaf(1))];
        let t = table(&branches, &[Child::Branch(0), Child::Leaf(3)]).expect("a table");
        assert_eq!((t.depth, t.roots), (2, vec![0, -4]));
        assert_eq!(t.children, [1, 1, -3, -3, -1, -1, -2, -2]);
    }

    #[test]
    fn a_chain_of_a_million_branches_is_measured() {
        let branches: Vec<Branch> = (0..1_000_000)
            .map(|i| branch(if i == 999_999 { Child::Leaf(0) } else { Child::Branch(i + 1) }, Child::Leaf(1)))
            .collect();
        assert_eq!(table(&branches, &[Child::Branch(0)]).expect("a table").depth, 1_000_000);
    }

    #[test]
    fn other_graphs_than_trees_are_refused() {
        let itself = [branch(Child::Branch(0), Child::Leaf(0))];
        assert!(table(&itself, &[Child::Branch(0)]).expect_err("a refusal").contains("several of branch 0"));
        assert!(table(&itself, &[Child::Leaf(0)]).expect_err("a refusal").contains("branch 0 in a cycle"));
        let far = [branch(Child::Branch(9), Child::Leaf(0))];
        assert!(table(&far, &[Child::Branch(0)]).expect_err("a refusal").contains("a branch of 1"));
    }
}
