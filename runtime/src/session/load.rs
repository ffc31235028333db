//! Loading of compiled model files.

use std::path::Path;

use dlbc_backend::{Backend, SessionOptions};

use crate::error::RuntimeError;
use crate::session::Session;

impl Session {
    /// Loads a compiled model file, such as `dlbc compile` writes, for a run on the CPU.
    ///
    /// # Errors
    /// When the file cannot be read, is not a compiled model, or has nodes that the CPU backend cannot run.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("digits.dlbc.onnx");
    /// # let model = dlbc_proto::read_model("../fixtures/digits_cnn/model.onnx".as_ref(), &Default::default())?;
    /// # let compiled = dlbc_compiler::compile(&model, &Default::default())?;
    /// # dlbc_proto::write_model(&path, &dlbc_artifact::write(&compiled.program)?)?;
    /// # let pixels = vec![0.5f32; 64];
    /// use dlbc_runtime::{Request, SessionOptions, Session, Tensor, Tensors};
    ///
    /// let session = Session::load(&path, SessionOptions::default())?;
    /// let digit = Tensor::from_f32(&[1, 1, 8, 8], &pixels);
    /// let inputs = Tensors::from([("input".to_string(), digit)]);
    /// let explanation = session.explain(&inputs, &Request::default())?;
    ///
    /// let track = &explanation.supporting;
    /// let heat = &track.relevance["input"]; // float32, of the input's shape
    /// println!("class {}: {:?}", explanation.targets[0], heat.to_f32());
    /// println!("{} of {} reached the pixels", track.input_sums["input"], track.seed_sum);
    /// # assert_eq!(heat.dims(), [1, 1, 8, 8]);
    /// # assert!((track.input_sums["input"] + track.absorbed - track.seed_sum).abs() < 1e-3);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "cpu")]
    pub fn load(path: impl AsRef<Path>, options: SessionOptions) -> Result<Session, RuntimeError> {
        Session::load_with(path, Box::new(dlbc_cpu::CpuBackend), options)
    }

    /// Loads a compiled model file for a run on a backend.
    ///
    /// # Errors
    /// When the file cannot be read, is not a compiled model, or has nodes that the backend cannot run.
    pub fn load_with(
        path: impl AsRef<Path>,
        backend: Box<dyn Backend>,
        options: SessionOptions,
    ) -> Result<Session, RuntimeError> {
        let path = path.as_ref();
        let failed = |e: dlbc_artifact::ArtifactError| RuntimeError::Load { path: path.into(), source: e };
        let model =
            dlbc_proto::read_model(path, &dlbc_proto::Limits::default()).map_err(|e| failed(e.into()))?;
        if !dlbc_artifact::is_artifact(&model.proto) {
            return Err(RuntimeError::NotCompiled(path.into()));
        }
        Session::new(dlbc_artifact::read(&model).map_err(failed)?, backend, options)
    }
}
