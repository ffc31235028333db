//! Builder of the primitives that an export adds to a program.

use dlbc_ops::graph::{Graph, Origin, PrintOp, Value};
use dlbc_ops::prim::Prim;
use dlbc_ops::program::SEED;
use dlbc_ops::tensor::{Array, DType, Tensor, TensorType};

/// Adds primitives to a graph.
pub(crate) struct PrimBuilder<'a> {
    pub(crate) graph: &'a mut Graph<Prim>,
}

impl PrimBuilder<'_> {
    /// Adds a primitive whose type is inferred.
    ///
    /// # Errors
    /// When the operands do not fit.
    pub(crate) fn add(&mut self, prim: impl Into<Prim>, inputs: &[Value]) -> Result<Value, String> {
        let prim = prim.into();
        let types: Vec<TensorType> = inputs.iter().map(|v| self.graph.ty(*v).clone()).collect();
        let ty = prim.infer(&types).map_err(|e| format!("seed, {e}"))?;
        let name = format!("{SEED}/{}", prim.name());
        Ok(self.graph.add_value(prim, &name, ty, Origin::onnx(SEED, "seed"), inputs))
    }

    /// Adds a constant.
    pub(crate) fn constant(&mut self, t: Tensor) -> Value {
        let ty = t.ty();
        self.graph.add_value(Prim::Const(t), &format!("{SEED}/value"), ty, Origin::onnx(SEED, "seed"), &[])
    }

    /// Adds a scalar constant.
    pub(crate) fn scalar(&mut self, dtype: DType, value: f64) -> Value {
        self.constant(Array::F(ndarray::arr0(value).into_dyn()).to_tensor(dtype))
    }
}
