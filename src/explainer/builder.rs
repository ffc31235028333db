//! Builder of an explainer.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use dlbc_compiler::{Compiled, Mode};
use dlbc_ops::program::Program;
use dlbc_runtime::{Device, Progress, SessionOptions};

use super::load::{self, LoadOptions, Loaded};
use super::{Explainer, Origin};
use crate::detector::{DeclaredOutput, DetectorHints, DetectorOutputs, find_outputs};
use crate::error::{Error, Result, ResultExt};
use crate::notes::{Collected, Note, Notes};

/// The source of the model.
enum Source {
    Onnx(PathBuf),
    Artifact(PathBuf),
    Bytes(Vec<u8>),
    Program(Box<Program>),
}

/// A receiver of progress.
type Receiver = Arc<dyn Fn(Progress) + Send + Sync>;

/// Settings of an [`Explainer`]. Each method sets one; [`ExplainerBuilder::build`] reads and compiles the model.
pub struct ExplainerBuilder {
    source: Source,
    load: LoadOptions,
    composite_file: Option<PathBuf>,
    detector: Option<DetectorHints>,
    device: Device,
    session: SessionOptions,
    progress: Option<Receiver>,
}

impl Explainer {
    /// Builds an explainer of a model file: ONNX, or an artifact of `dlbc compile`.
    pub fn from_onnx(path: impl AsRef<Path>) -> ExplainerBuilder {
        ExplainerBuilder::new(Source::Onnx(path.as_ref().into()))
    }

    /// Builds an explainer of the bytes of an ONNX model, which cannot have external data.
    pub fn from_bytes(onnx: impl Into<Vec<u8>>) -> ExplainerBuilder {
        ExplainerBuilder::new(Source::Bytes(onnx.into()))
    }

    /// Builds an explainer of an artifact. Its composite and shapes are fixed, so [`ExplainerBuilder::build`] refuses settings of
    /// the compilation.
    pub fn from_artifact(path: impl AsRef<Path>) -> ExplainerBuilder {
        ExplainerBuilder::new(Source::Artifact(path.as_ref().into()))
    }

    /// Builds an explainer of a compiled program.
    pub fn from_program(program: Program) -> ExplainerBuilder {
        ExplainerBuilder::new(Source::Program(Box::new(program)))
    }
}

impl ExplainerBuilder {
    fn new(source: Source) -> ExplainerBuilder {
        ExplainerBuilder {
            source,
            load: LoadOptions::default(),
            composite_file: None,
            detector: None,
            device: Device::default(),
            session: SessionOptions::default(),
            progress: None,
        }
    }

    /// Records the name of a setting of the compilation, for the refusal of an artifact.
    fn record(mut self, setting: &'static str) -> ExplainerBuilder {
        self.load.settings.push(setting);
        self
    }

    /// Sets a built-in composite, which assigns rules to operators, by name. The default is `dlb`.
    #[must_use]
    pub fn composite(mut self, name: impl Into<String>) -> ExplainerBuilder {
        self.load.compiler.rules = name.into();
        self.load.names_rules = true;
        self.record("the composite")
    }

    /// Sets a custom composite from a TOML file.
    #[must_use]
    pub fn composite_file(mut self, path: impl AsRef<Path>) -> ExplainerBuilder {
        self.composite_file = Some(path.as_ref().into());
        self.load.names_rules = true;
        self.record("the composite")
    }

    /// Sets the mode: one track of relevance, or a supporting and an opposing track.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> ExplainerBuilder {
        self.load.compiler.mode = mode;
        self.record("the mode")
    }

    /// Fixes the dimensions of an input; -1 leaves a dimension symbolic.
    #[must_use]
    pub fn shape(mut self, input: impl Into<String>, dims: &[i64]) -> ExplainerBuilder {
        self.load.compiler.shapes.insert(input.into(), dims.to_vec());
        self.record("shapes")
    }

    /// Sets the explained tensor: an output, or any intermediate tensor by its ONNX name. The default is the first output.
    #[must_use]
    pub fn output(mut self, name: impl Into<String>) -> ExplainerBuilder {
        self.load.compiler.output = Some(name.into());
        self
    }

    /// Compiles the model without relevance: the explainer predicts and explains nothing, whatever the model is. The relevance of
    /// an artifact stays.
    #[must_use]
    pub fn forward_only(mut self) -> ExplainerBuilder {
        self.load.forward_only = true;
        self
    }

    /// Reads the outputs as boxes of a detector, so that targets may be boxes. Empty hints are inferred from the outputs' shapes.
    #[must_use]
    pub fn detector(mut self, hints: DetectorHints) -> ExplainerBuilder {
        self.detector = Some(hints);
        self
    }

    /// Treats an intermediate tensor as an input of the model and removes its computation.
    #[must_use]
    pub fn stop_at(mut self, tensor: impl Into<String>) -> ExplainerBuilder {
        self.load.compiler.stop_at.push(tensor.into());
        self.record("inner inputs")
    }

    /// Lets relevance reach an integer input whose values the model casts to float.
    #[must_use]
    pub fn live(mut self, input: impl Into<String>) -> ExplainerBuilder {
        self.load.compiler.live.push(input.into());
        self.record("live inputs")
    }

    /// Excludes an input, such as a mask, from relevance.
    #[must_use]
    pub fn no_relevance(mut self, input: impl Into<String>) -> ExplainerBuilder {
        self.load.compiler.no_relevance.push(input.into());
        self.record("inputs without relevance")
    }

    /// Sets the device that runs the program.
    #[must_use]
    pub fn device(mut self, device: Device) -> ExplainerBuilder {
        self.device = device;
        self
    }

    /// Sets the number of threads. The default is one per core.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> ExplainerBuilder {
        self.session = self.session.threads(threads);
        self
    }

    /// Sets the largest size of a tensor in bytes, be it a weight, an input or an intermediate. The default is 8 GiB.
    #[must_use]
    pub fn max_tensor_bytes(mut self, bytes: u64) -> ExplainerBuilder {
        self.session = self.session.max_tensor_bytes(bytes);
        self.load.compiler.max_tensor_bytes = bytes;
        self.load.limits.max_tensor_bytes = bytes;
        self
    }

    /// Sets the largest number of nodes of the model, with local functions expanded. The default is a million.
    #[must_use]
    pub fn max_nodes(mut self, nodes: usize) -> ExplainerBuilder {
        self.load.compiler.max_nodes = nodes;
        self.load.limits.max_nodes = nodes;
        self
    }

    /// Sets the largest size of the model file with its external data, in bytes. The default is 16 GiB.
    #[must_use]
    pub fn max_model_bytes(mut self, bytes: u64) -> ExplainerBuilder {
        self.load.limits.max_model_bytes = bytes;
        self
    }

    /// Sets a callback that is called when reading and compiling begin, and at each step of a run.
    #[must_use]
    pub fn progress(mut self, receiver: impl Fn(Progress) + Send + Sync + 'static) -> ExplainerBuilder {
        let receiver: Receiver = Arc::new(receiver);
        let run_receiver = receiver.clone();
        self.session = self.session.progress(move |progress| run_receiver(progress));
        self.progress = Some(receiver);
        self
    }

    /// Reads and compiles the model without opening a device, and returns the results of all stages.
    ///
    /// # Errors
    /// When the model is invalid, has unsupported operators, or is compiled already.
    pub fn compile(mut self) -> Result<Compiled> {
        self.read_composite()?;
        let notes = self.notes();
        let model = match &self.source {
            Source::Onnx(path) | Source::Artifact(path) => load::read(path, &self.load.limits, &notes)?,
            Source::Bytes(bytes) => dlbc_proto::decode(bytes, &self.load.limits)?,
            Source::Program(_) => return Err(Error::usage("expected an ONNX model, found a compiled model")),
        };
        if dlbc_artifact::is_artifact(&model.proto) {
            return Err(Error::usage("expected an ONNX model, found a compiled model"));
        }
        load::compile(&model, &self.load.compiler, &notes)
    }

    /// Reads and compiles the model, and opens the device.
    ///
    /// # Errors
    /// When the model is invalid or above a limit, an operator, rule or setting is not supported, or the device is absent.
    pub fn build(mut self) -> Result<Explainer> {
        self.read_composite()?;
        let mut detector: Option<DetectorOutputs> = None;
        let (hints, output) = (self.detector.clone(), self.load.compiler.output.clone());
        let choose = |outputs: &[DeclaredOutput]| match &hints {
            None => Ok(output.clone()),
            Some(hints) => {
                let detector = detector.insert(find_outputs(outputs, hints, output.as_deref())?);
                Ok(Some(detector.explained(hints).to_string()))
            }
        };
        let notes = self.notes();
        let (loaded, path) = match self.source {
            Source::Onnx(path) => (load::load_for(&path, &self.load, choose, &notes)?, Some(path)),
            Source::Artifact(path) => {
                let model = load::read(&path, &self.load.limits, &notes)?;
                if !dlbc_artifact::is_artifact(&model.proto) {
                    return Err(Error::usage("expected a compiled model, found an ONNX model"));
                }
                (load::load_model(model, Instant::now(), &self.load, choose, &notes)?, Some(path))
            }
            Source::Bytes(bytes) => {
                let model = dlbc_proto::decode(&bytes, &self.load.limits)?;
                (load::load_model(model, Instant::now(), &self.load, choose, &notes)?, None)
            }
            Source::Program(program) => {
                load::check_artifact(&program, &self.load)?;
                let program = *program;
                (Loaded { program, split: None, load_seconds: 0.0, compile_seconds: 0.0 }, None)
            }
        };
        let notes = notes.collected.take();
        let max_tensor_bytes = self.session.max_tensor_bytes;
        let origin = Origin { path, notes, detector: detector.map(|d| d.detector), max_tensor_bytes };
        let device = self.device;
        let explain = || {
            let device = device.open_shared()?;
            Explainer::new(loaded.program, loaded.split, &device, &self.session)
        };
        Ok(explain().context("the device cannot run the model")?.with_origin(origin))
    }

    /// Reads the file of a custom composite.
    fn read_composite(&mut self) -> Result<()> {
        if let Some(path) = &self.composite_file {
            self.load.compiler.rules_file = Some((path.display().to_string(), load::composite_text(path)?));
        }
        Ok(())
    }

    /// Returns the receiver of notes for reading and compiling.
    fn notes(&mut self) -> BuildNotes {
        BuildNotes { collected: Collected::default(), progress: self.progress.take() }
    }
}

/// A receiver that collects notes and forwards the begin of reading and compiling as progress.
struct BuildNotes {
    collected: Collected,
    progress: Option<Receiver>,
}

impl Notes for BuildNotes {
    fn receive(&self, note: Note) {
        self.collected.receive(note);
    }

    fn start(&self, activity: &str) -> Box<dyn Any> {
        let progress = match activity {
            load::READING => Some(Progress::Reading),
            load::COMPILING => Some(Progress::Compiling),
            _ => None,
        };
        if let (Some(receiver), Some(progress)) = (&self.progress, progress) {
            receiver(progress);
        }
        Box::new(())
    }
}
