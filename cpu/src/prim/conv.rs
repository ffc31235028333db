//! Convolutions with a computed weight.

use dlbc_ops::graph::Value;
use dlbc_ops::prim::{Conv, ConvGeometry, ConvTranspose, Transform, Window};
use tract_onnx::tract_core::ops;

use super::contract::*;
use crate::columns::Taps;
use crate::fold::Fold;

impl CpuPrimitive for Conv {
    fn wire(&self, w: &mut Wiring<'_>, at: &At) -> TractResult<Option<OutletId>> {
        let weight = w.transformed(at.operands[1], self.w)?;
        let bias = at.operands.get(2).map(|b| w.transformed(*b, Transform::Id)).transpose()?;
        let x = at.input(w, 0);
        let (input, output) = (w.dims(at.operands[0])[2..].to_vec(), w.dims(at.v)[2..].to_vec());
        let window = &self.geometry.window;
        let after: Vec<i64> = (0..input.len()).map(|i| window.reach_after(i, input[i], output[i])).collect();
        w.conv(&at.name, &self.geometry, x, weight, bias, &after).map(Some)
    }
}

impl CpuPrimitive for ConvTranspose {
    fn wire(&self, w: &mut Wiring<'_>, at: &At) -> TractResult<Option<OutletId>> {
        w.conv_transpose(&at.name, at.v, &at.operands, &self.geometry, self.w).map(Some)
    }
}

impl Wiring<'_> {
    fn conv(
        &mut self,
        name: &str,
        geometry: &ConvGeometry,
        x: OutletId,
        weight: OutletId,
        bias: Option<OutletId>,
        after: &[i64],
    ) -> TractResult<OutletId> {
        let channels = self.model.outlet_fact(x)?.shape.as_concrete().map_or(0, |d| d[1]);
        let outputs = self.model.outlet_fact(weight)?.shape.as_concrete().map_or(0, |d| d[0]);
        let pool_spec = spec(&geometry.window, after, (channels, outputs));
        let bias = match bias {
            Some(bias) => bias,
            None => {
                let name = self.unique(&format!("{name}.bias"));
                self.model.add_const(name, tensor0(0f32).into_arc_tensor())?
            }
        };
        let op = ops::cnn::Conv {
            pool_spec,
            kernel_fmt: ops::cnn::KernelFormat::OIHW,
            group: geometry.groups,
            q_params: None,
        };
        self.wire(name, op, &[x, weight, bias])
    }

    /// Adds the adjoint of a convolution with a computed weight: a matrix product to windows, and their summation.
    fn conv_transpose(
        &mut self,
        name: &str,
        v: Value,
        operands: &[Value],
        geometry: &ConvGeometry,
        transform: Transform,
    ) -> TractResult<OutletId> {
        let s = self.values[&operands[0]];
        let (s_dims, dims) = (self.dims(operands[0]), self.dims(v));
        let w = &geometry.window;
        // s [n, o, …] → [n, g, o/g, positions]; w [o, c/g, …] → [g, o/g, c/g·taps]; product [n, g, c/g·taps, positions].
        let groups = geometry.groups;
        let weight_dims = self.dims(operands[1]);
        let (o, q) = (weight_dims[0] / groups, weight_dims[1..].iter().product::<usize>());
        let positions: usize = s_dims[2..].iter().product();
        let weight = self.transformed(operands[1], transform)?;
        let tract_dims = |d: &[usize]| d.iter().map(ToDim::to_dim).collect::<TVec<_>>();
        let weight_shape = tract_dims(&[groups, o, q]);
        let weight = self.reshape(&format!("{name}.matrix"), weight, weight_dims, weight_shape)?;
        let s = self.reshape(
            &format!("{name}.columns"),
            s,
            s_dims.clone(),
            tract_dims(&[s_dims[0], groups, o, positions]),
        )?;
        let op = ops::einsum::EinSum {
            axes: "goq,ngop->ngqp".parse()?,
            operating_dt: DatumType::F32,
            q_params: None,
        };
        let columns = self.wire(&format!("{name}.product"), op, &[weight, s])?;
        let fold = Fold { taps: Taps::new(w.clone(), &dims[2..], &s_dims[2..]), dims };
        self.wire(name, fold, &[columns])
    }
}

/// Converts a window to tract's description; `channels` are those of the input and of the output.
fn spec(window: &Window, after: &[i64], channels: (usize, usize)) -> ops::cnn::PoolSpec {
    let after = after.iter().map(|a| usize::try_from(*a).unwrap_or(0)).collect();
    ops::cnn::PoolSpec {
        data_format: ops::nn::DataFormat::NCHW,
        kernel_shape: window.kernel.iter().copied().collect(),
        padding: ops::cnn::PaddingSpec::Explicit(window.before.iter().copied().collect(), after),
        dilations: Some(window.dilations.iter().copied().collect()),
        strides: Some(window.strides.iter().copied().collect()),
        input_channels: channels.0,
        output_channels: channels.1,
    }
}
