//! Leaves of decision trees.

use std::sync::Mutex;

use dlbc_ops::prim::{Forest, TreeLeaves};

use super::contract::*;
use crate::parallel;

/// Rows that a thread takes at once.
const ROWS: usize = 16;

impl CpuPrimitive for TreeLeaves {
    fn fast(&self, x: &Operands<'_>) -> TractResult<Option<Tensor>> {
        if !(x.is_float(0) && x.is_float(2)) {
            return Ok(None);
        }
        let (rows, width) = (x.float(0)?, x.shape(0)[1]);
        let [features, children, roots] = [1, 3, 4].map(|i| x.inputs[i].try_as_plain_ram());
        let (features, children, roots) = (features?, children?, roots?);
        let roots = roots.as_slice::<i64>()?;
        let forest = Forest {
            features: features.as_slice::<i64>()?,
            thresholds: x.float(2)?,
            children: children.as_slice::<i64>()?,
        };
        let mut leaves = vec![0i64; x.dims.iter().product()];
        let fault = Mutex::new(None);
        parallel::chunks(&mut leaves, ROWS * roots.len(), |chunk, leaves| {
            for (i, leaf) in leaves.iter_mut().enumerate() {
                let row = chunk * ROWS + i / roots.len();
                match forest.leaf(&rows[row * width..][..width], roots[i % roots.len()], self.depth) {
                    Ok(index) => *leaf = index,
                    Err(e) => {
                        if let Ok(mut fault) = fault.lock() {
                            fault.get_or_insert(e);
                        }
                        return;
                    }
                }
            }
        });
        match fault.into_inner() {
            Ok(None) => Tensor::from_shape(x.dims, &leaves).map(Some),
            // The reference kernel finds the first fault, and its error names the node.
            _ => Ok(None),
        }
    }
}
