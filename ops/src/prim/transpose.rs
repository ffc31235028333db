//! Permutation of axes.

use super::contract::*;
use super::reference::layout::{Table, pick_array, strides, whole};

/// Permutation of the axes: axis `i` of the result is axis `perm[i]` of the operand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transpose {
    /// Permutation of `0..rank`.
    pub perm: Vec<usize>,
}

impl Builder {
    /// Adds a permutation of axes; returns `x` for the identity.
    pub fn transpose(&mut self, x: Value, perm: &[usize]) -> Value {
        if perm.iter().enumerate().all(|(i, p)| i == *p) && perm.len() == self.ty(x).rank() {
            return x;
        }
        self.add(Transpose { perm: perm.to_vec() }, &[x])
    }
}

fields!(Transpose { perm: Permutation });

impl Primitive for Transpose {
    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        let (x, perm) = (&x[0], &self.perm);
        let mut sorted = perm.clone();
        sorted.sort_unstable();
        if sorted != (0..x.rank()).collect::<Vec<_>>() {
            let expected = format!("a permutation of {} axes", x.rank());
            return Err(OpError::mismatch("perm", expected, format!("{perm:?}")));
        }
        Ok(x.with_shape(perm.iter().map(|p| x.dim(*p).clone()).collect::<Shape>()))
    }

    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        let from = x[0].dims();
        let strides = strides(from);
        let tables: Vec<Table> = self.perm.iter().map(|axis| whole(from[*axis], strides[*axis])).collect();
        pick_array(x[0], &tables, 0.0, dims)
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        let mut inverse = vec![0; self.perm.len()];
        self.perm.iter().enumerate().for_each(|(i, p)| inverse[*p] = i);
        let v = d.b.transpose(d.r, &inverse);
        d.set(0, v);
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        let perm = [0].into_iter().chain(self.perm.iter().map(|p| p + 1)).collect();
        Ok(t.apply_to_first(Transpose { perm }))
    }

    fn is_zero(&self, x: &Knowledge<'_>) -> bool {
        x.is_zero(0)
    }

    fn is_non_negative(&self, x: &Signs<'_>) -> bool {
        x.first()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prim::tests::arrays::{assert_close, elements, eval, floats, indices, ints, random};

    #[test]
    fn a_matrix_is_transposed() {
        let x = ints(&[2, 3], &[1, 2, 3, 4, 5, 6]);
        assert_eq!(eval(Transpose { perm: vec![1, 0] }, &[&x]), ints(&[3, 2], &[1, 4, 2, 5, 3, 6]));
    }

    proptest! {
        #[test]
        fn transpose_permutes_every_index(
            perm in Just(vec![0usize, 1, 2, 3]).prop_shuffle(),
            dims in prop::collection::vec(0usize..4, 4),
            seed in any::<u64>(),
        ) {
            let x = random(&dims, seed);
            let v = elements(&x);
            let y = eval(Transpose { perm: perm.clone() }, &[&x]);
            let direct = |i: &Vec<usize>| {
                let mut source = [0; 4];
                (0..4).for_each(|axis| source[perm[axis]] = i[axis]);
                v[source]
            };
            assert_close(&y, &floats(y.dims(), &indices(y.dims()).iter().map(direct).collect::<Vec<_>>()));
        }
    }
}
