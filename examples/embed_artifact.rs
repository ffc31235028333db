//! Runs an artifact with the crate `dlbc_runtime` alone, without the compiler and without readers of pictures and texts.
//! `dlbc compile` or `Explainer::save_artifact` writes artifacts.

use dlbc_runtime::{InputInfo, Request, Session, SessionOptions, Tensor, Tensors};

fn main() -> Result<(), dlbc_runtime::RuntimeError> {
    let session = Session::load("fixtures/artifacts/mlp_epsilon.dlbc.onnx", SessionOptions::default())?;
    // Symbolic dimensions become 1.
    let input = |info: &InputInfo| {
        let dims: Vec<usize> = info.ty.shape.0.iter().map(|d| d.as_known().unwrap_or(1) as usize).collect();
        let values: Vec<f32> = (0..dims.iter().product()).map(|i| (i as f32 * 0.7).sin()).collect();
        (info.name.clone(), Tensor::from_f32(&dims, &values))
    };
    let inputs: Tensors = session.inputs().iter().map(input).collect();
    let explanation = session.explain(&inputs, &Request::default())?;
    for name in inputs.keys() {
        println!("{name}: {:?}", explanation.net(name).map(|map| map.to_f32()));
    }
    Ok(())
}
