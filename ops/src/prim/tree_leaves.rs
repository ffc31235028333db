//! Leaves of decision trees.

use std::cmp::Ordering;

use super::contract::*;
use super::reference::layout::{array, elems, float, integer, values, wrong_type};
use super::{Binary, Gather, Iota, Unary};

/// Leaf that each row reaches in each tree, int64 `[row, tree]`.
///
/// Operands: rows `[row, feature]`, features int64 `[branch]`, thresholds `[branch]`, children int64 `[branch, 4]`, roots
/// int64 `[tree]`. A branch compares the row's value of its feature with its threshold, and the row goes on to the child
/// of the outcome: less, equal, larger, or not comparable because the value is NaN. A child or root of at least 0 is a
/// branch; leaf `l` is written as `-1 - l`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TreeLeaves {
    /// Largest number of branches on the way to a leaf.
    pub depth: usize,
}

/// Number of outcomes of a comparison: less, equal, larger, not comparable.
pub const OUTCOMES: usize = 4;

fields!(TreeLeaves { depth: Any });

impl Primitive for TreeLeaves {
    fn arity(&self) -> RangeInclusive<usize> {
        5..=5
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        let [rows, features, thresholds, children, roots] = x else {
            return Err(OpError::Arity { expected: "5".into(), actual: x.len() });
        };
        for (name, ty, rank) in [
            ("rank of the rows", rows, 2),
            ("rank of the features", features, 1),
            ("rank of the thresholds", thresholds, 1),
            ("rank of the children", children, 2),
            ("rank of the roots", roots, 1),
        ] {
            equal(name, ty.rank(), rank)?;
        }
        for ty in [rows, thresholds] {
            if !ty.dtype.is_float() {
                return Err(OpError::mismatch("element type", "a float type", ty.dtype));
            }
        }
        [features, children, roots].into_iter().try_for_each(|ty| want(ty, DType::I64))?;
        let branches = features.dim(0);
        dim_equal("number of thresholds", thresholds.dim(0), branches)?;
        dim_equal("number of children's rows", children.dim(0), branches)?;
        dim_equal("children of a branch", children.dim(1), &Dim::known(OUTCOMES as i64))?;
        Ok(TensorType::new(DType::I64, vec![rows.dim(0).clone(), roots.dim(0).clone()]))
    }

    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        let [rows, features, thresholds, children, roots] = x else { return Err(wrong_type("trees", x[0])) };
        let width = rows.dims()[1];
        let (rows, thresholds) = (values(float(rows)?), values(float(thresholds)?));
        let forest = Forest {
            features: &values(integer(features)?),
            thresholds: &thresholds,
            children: &values(integer(children)?),
        };
        let mut leaves = Vec::with_capacity(elems(dims)?);
        for row in 0..dims[0] {
            for root in values(integer(roots)?).iter() {
                leaves.push(forest.leaf(&rows[row * width..][..width], *root, self.depth)?);
            }
        }
        array(dims, leaves).map(Array::I)
    }

    /// The result changes in steps: it has no derivative.
    fn adjoint(&self, _: &mut Adjoint<'_>) -> Result<(), OpError> {
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        Ok(t.per_target(self.clone()))
    }

    fn is_non_negative(&self, _: &Signs<'_>) -> bool {
        true
    }
}

/// Branches of all trees, as in [`TreeLeaves`].
pub struct Forest<'a, T> {
    /// Feature of each branch.
    pub features: &'a [i64],
    /// Threshold of each branch.
    pub thresholds: &'a [T],
    /// Four children of each branch.
    pub children: &'a [i64],
}

impl<T: PartialOrd + Copy> Forest<'_, T> {
    /// Returns the leaf that a row reaches from `root` within `depth` branches.
    ///
    /// # Errors
    /// If a feature or branch is out of range, or the way is longer.
    pub fn leaf(&self, row: &[T], root: i64, depth: usize) -> Result<i64, OpError> {
        let mut node = root;
        for _ in 0..=depth {
            if node < 0 {
                return Ok(-1 - node);
            }
            node = self.next(row, node)?;
        }
        Err(OpError::invalid("branches on the way to a leaf", format!("at most {depth}"), "more"))
    }

    /// Returns the child of branch `node` to which a row goes.
    ///
    /// # Errors
    /// If the feature or the branch is out of range.
    pub fn next(&self, row: &[T], node: i64) -> Result<i64, OpError> {
        let range = |what: &str, len: usize, actual: i64| {
            OpError::invalid(what, format!("0 to {}", len.saturating_sub(1)), actual)
        };
        let branch = usize::try_from(node).ok().filter(|n| *n < self.features.len());
        let branch = branch.ok_or_else(|| range("branch", self.features.len(), node))?;
        let feature = self.features[branch];
        let value = usize::try_from(feature).ok().and_then(|f| row.get(f));
        let value = value.ok_or_else(|| range("feature", row.len(), feature))?;
        Ok(self.children[branch * OUTCOMES + outcome(value.partial_cmp(&self.thresholds[branch]))])
    }
}

/// Returns the index of the child of a comparison's outcome.
pub fn outcome(ordering: Option<Ordering>) -> usize {
    match ordering {
        Some(Ordering::Less) => 0,
        Some(Ordering::Equal) => 1,
        Some(Ordering::Greater) => 2,
        None => 3,
    }
}

impl TreeLeaves {
    /// Builds the same result from look-ups and comparisons, `depth` of each, for engines without trees.
    pub fn expand(&self, b: &mut Builder, x: &[Value]) -> Value {
        let (rows, features, thresholds) = (x[0], x[1], x[2]);
        let (count, width) = (b.ty(rows).dim(0).clone(), b.ty(rows).dim(1).clone());
        let (branches, trees) = (b.ty(features).dim(0).clone(), b.ty(x[4]).dim(0).clone());
        let to = Shape(vec![count.clone(), trees]);
        let mut node = b.expand(x[4], &to);
        if self.depth > 0 {
            let cells = b.reshape(rows, &Shape(vec![&count * &width]));
            let children = b.reshape(x[3], &Shape(vec![&branches * &Dim::known(OUTCOMES as i64)]));
            let first = b.add(Iota { len: count.clone() }, &[]);
            let first = b.reshape(first, &Shape(vec![count, Dim::known(1)]));
            let first = times(b, first, &width);
            for _ in 0..self.depth {
                let zero = b.scalar_like(0.0, node);
                let is_leaf = b.binary(Binary::Less, node, zero);
                let branch = b.select(is_leaf, zero, node);
                let feature = b.add(Gather { axis: 0 }, &[features, branch]);
                let cell = b.plus(feature, first);
                let value = b.add(Gather { axis: 0 }, &[cells, cell]);
                let threshold = b.add(Gather { axis: 0 }, &[thresholds, branch]);
                let outcome = compare(b, value, threshold);
                let child = times(b, branch, &Dim::known(OUTCOMES as i64));
                let child = b.plus(child, outcome);
                let child = b.add(Gather { axis: 0 }, &[children, child]);
                node = b.select(is_leaf, node, child);
            }
        }
        let last = b.scalar_like(-1.0, node);
        b.minus(last, node)
    }
}

/// Builds the product of integers and a dimension.
fn times(b: &mut Builder, x: Value, dim: &Dim) -> Value {
    let factor = match dim.as_known() {
        Some(size) => b.scalar_like(size as f64, x),
        None => b.add(super::Dims { dims: vec![], values: vec![dim.clone()] }, &[]),
    };
    b.mul(x, factor)
}

/// Builds the index of the outcome of each comparison.
fn compare(b: &mut Builder, value: Value, threshold: Value) -> Value {
    let reaches = b.binary(Binary::LessOrEqual, threshold, value);
    let exceeds = b.binary(Binary::Less, threshold, value);
    let (reaches, exceeds) = (b.cast(reaches, DType::I64), b.cast(exceeds, DType::I64));
    let order = b.plus(reaches, exceeds);
    let is_number = b.binary(Binary::Equal, value, value);
    let is_nan = b.unary(Unary::Not, is_number);
    let nan = b.scalar_like(3.0, order);
    b.select(is_nan, nan, order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prim::reference;
    use crate::prim::tests::arrays::{error, eval, floats, ints};
    use crate::program::Output;

    /// Two trees: `x0 <= 1 ? (x1 < 0 ? 0 : 1) : 2` with NaN to the left, and a single leaf 3.
    fn forest() -> [Array; 4] {
        [
            ints(&[2], &[0, 1]),
            floats(&[2], &[1.0, 0.0]),
            ints(&[2, 4], &[1, 1, -3, 1, -1, -2, -2, -2]),
            ints(&[2], &[0, -4]),
        ]
    }

    fn rows() -> Array {
        let nan = f64::NAN;
        floats(&[5, 2], &[1.0, -1.0, 1.0, 0.0, 2.0, -1.0, nan, nan, f64::NEG_INFINITY, -0.5])
    }

    const EXPECTED: [i64; 10] = [0, 3, 1, 3, 2, 3, 1, 3, 0, 3];

    #[test]
    fn rows_go_to_the_child_of_the_outcome() {
        let [features, thresholds, children, roots] = forest();
        let y = eval(TreeLeaves { depth: 2 }, &[&rows(), &features, &thresholds, &children, &roots]);
        assert_eq!(y, ints(&[5, 2], &EXPECTED));
    }

    #[test]
    fn the_expansion_is_the_same() {
        let [features, thresholds, children, roots] = forest();
        let operands = [&rows(), &features, &thresholds, &children, &roots];
        let mut b = Builder::new();
        let types = crate::prim::tests::arrays::types(&operands);
        let values: Vec<Value> =
            types.into_iter().enumerate().map(|(i, ty)| b.input(&format!("x{i}"), ty)).collect();
        let y = TreeLeaves { depth: 2 }.expand(&mut b, &values);
        b.ok().expect("operands that fit");
        let mut graph = b.finish();
        graph.add_output(Output::value("y"), y);
        let inputs = operands.iter().enumerate().map(|(i, x)| (format!("x{i}"), (*x).clone())).collect();
        let results = reference::run(&graph, &inputs, &[Output::value("y")]).expect("values");
        assert_eq!(results[&Output::value("y")], ints(&[5, 2], &EXPECTED));
    }

    #[test]
    fn broken_tables_are_refused() {
        let [features, thresholds, children, roots] = forest();
        let fault = |depth, x: &Array, features: &Array, children: &Array| {
            error(TreeLeaves { depth }, &[x, features, &thresholds, children, &roots])
        };
        assert!(fault(1, &rows(), &features, &children).contains("at most 1"));
        assert!(
            fault(9, &floats(&[1, 1], &[0.0]), &features, &children).contains("feature: expected 0 to 0")
        );
        let cycle = ints(&[2, 4], &[0; 8]);
        assert!(fault(1000, &rows(), &features, &cycle).contains("at most 1000"));
        let far = ints(&[2, 4], &[7; 8]);
        assert!(fault(9, &rows(), &features, &far).contains("branch: expected 0 to 1, found 7"));
    }
}
