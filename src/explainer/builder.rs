//! From a model file to an explainer, setting by setting.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use dlbc_compiler::{Compiled, Mode};
use dlbc_ops::program::Program;
use dlbc_runtime::{Device, Progress, SessionOptions};

use super::load::{self, LoadOptions, Loaded};
use super::{Explainer, Origin};
use crate::detector::{Declared, DetectorHints, Found, find};
use crate::error::{Error, Result, ResultExt};
use crate::notes::{Collected, Note, Notes};

/// A model to read.
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
    /// Starts from a model file: ONNX, or an artifact of `dlbc compile`.
    pub fn from_onnx(path: impl AsRef<Path>) -> ExplainerBuilder {
        ExplainerBuilder::new(Source::Onnx(path.as_ref().into()))
    }

    /// Starts from the bytes of an ONNX model, which cannot have external data.
    pub fn from_bytes(onnx: impl Into<Vec<u8>>) -> ExplainerBuilder {
        ExplainerBuilder::new(Source::Bytes(onnx.into()))
    }

    /// Starts from an artifact, whose composite and shapes are settled: settings of the compilation are refused.
    pub fn from_artifact(path: impl AsRef<Path>) -> ExplainerBuilder {
        ExplainerBuilder::new(Source::Artifact(path.as_ref().into()))
    }

    /// Starts from a compiled program.
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

    /// Notes a setting that an artifact refuses.
    fn compiled(mut self, setting: &'static str) -> ExplainerBuilder {
        self.load.settings.push(setting);
        self
    }

    /// Sets the composite: which rule for which operator, by name. `dlb` is the default.
    #[must_use]
    pub fn composite(mut self, name: impl Into<String>) -> ExplainerBuilder {
        self.load.compiler.rules = name.into();
        self.compiled("the composite")
    }

    /// Sets a composite of the caller's own, a TOML file.
    #[must_use]
    pub fn composite_file(mut self, path: impl AsRef<Path>) -> ExplainerBuilder {
        self.composite_file = Some(path.as_ref().into());
        self.compiled("the composite")
    }

    /// Sets one track of relevance, or two: supporting and opposing.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> ExplainerBuilder {
        self.load.compiler.mode = mode;
        self.compiled("the mode")
    }

    /// Fixes the dimensions of an input; -1 leaves one open.
    #[must_use]
    pub fn shape(mut self, input: impl Into<String>, dims: &[i64]) -> ExplainerBuilder {
        self.load.compiler.shapes.insert(input.into(), dims.to_vec());
        self.compiled("shapes")
    }

    /// Sets the tensor that is explained: an output, or any tensor inside by its ONNX name. The first output is the default.
    #[must_use]
    pub fn output(mut self, name: impl Into<String>) -> ExplainerBuilder {
        self.load.compiler.output = Some(name.into());
        self
    }

    /// Reads the outputs as boxes of a detector, so that targets may be boxes. Hints that are empty follow from the shapes.
    #[must_use]
    pub fn detector(mut self, hints: DetectorHints) -> ExplainerBuilder {
        self.detector = Some(hints);
        self
    }

    /// Treats a tensor as an input and leaves out its computation.
    #[must_use]
    pub fn stop_at(mut self, tensor: impl Into<String>) -> ExplainerBuilder {
        self.load.compiler.stop_at.push(tensor.into());
        self.compiled("inner inputs")
    }

    /// Lets relevance reach an integer input whose values the model casts to float.
    #[must_use]
    pub fn live(mut self, input: impl Into<String>) -> ExplainerBuilder {
        self.load.compiler.live.push(input.into());
        self.compiled("live inputs")
    }

    /// Keeps relevance from an input, such as a mask.
    #[must_use]
    pub fn no_relevance(mut self, input: impl Into<String>) -> ExplainerBuilder {
        self.load.compiler.no_relevance.push(input.into());
        self.compiled("inputs without relevance")
    }

    /// Sets the place where the program runs.
    #[must_use]
    pub fn device(mut self, device: Device) -> ExplainerBuilder {
        self.device = device;
        self
    }

    /// Sets the number of threads; all cores are the default.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> ExplainerBuilder {
        self.session = self.session.threads(threads);
        self
    }

    /// Sets the bytes of one tensor at most: weight, input or intermediate. 8 GiB are the default.
    #[must_use]
    pub fn max_tensor_bytes(mut self, bytes: u64) -> ExplainerBuilder {
        self.session = self.session.max_tensor_bytes(bytes);
        self.load.compiler.max_tensor_bytes = bytes;
        self.load.limits.max_tensor_bytes = bytes;
        self
    }

    /// Sets the nodes of the model at most, local functions expanded. A million is the default.
    #[must_use]
    pub fn max_nodes(mut self, nodes: usize) -> ExplainerBuilder {
        self.load.compiler.max_nodes = nodes;
        self.load.limits.max_nodes = nodes;
        self
    }

    /// Sets the bytes of the model file and its external data at most. 16 GiB are the default.
    #[must_use]
    pub fn max_model_bytes(mut self, bytes: u64) -> ExplainerBuilder {
        self.load.limits.max_model_bytes = bytes;
        self
    }

    /// Sets a receiver that is told when reading and compiling begin, and how each run proceeds.
    #[must_use]
    pub fn progress(mut self, receiver: impl Fn(Progress) + Send + Sync + 'static) -> ExplainerBuilder {
        let receiver: Receiver = Arc::new(receiver);
        let of_runs = receiver.clone();
        self.session = self.session.progress(move |progress| of_runs(progress));
        self.progress = Some(receiver);
        self
    }

    /// Reads and compiles the model, with all stages, and opens no device.
    ///
    /// # Errors
    /// For a model that is invalid, has operators that are not supported, or is compiled already.
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
    /// For a model that is invalid or above a limit, operators, rules and settings that are not supported, and a device that
    /// is absent.
    pub fn build(mut self) -> Result<Explainer> {
        self.read_composite()?;
        let mut found: Option<Found> = None;
        let (hints, output) = (self.detector.clone(), self.load.compiler.output.clone());
        let choose = |outputs: &[Declared]| match &hints {
            None => Ok(output.clone()),
            Some(hints) => {
                let found = found.insert(find(outputs, hints, output.as_deref())?);
                Ok(Some(found.explained(hints).to_string()))
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
        let origin = Origin { path, notes, detector: found.map(|f| f.detector), max_tensor_bytes };
        let device = self.device;
        let explain = || {
            let device = device.open_shared()?;
            Explainer::new(loaded.program, loaded.split, &device, &self.session)
        };
        Ok(explain().context("the device cannot run the model")?.with_origin(origin))
    }

    fn read_composite(&mut self) -> Result<()> {
        if let Some(path) = &self.composite_file {
            self.load.compiler.rules_file = Some((path.display().to_string(), load::composite_text(path)?));
        }
        Ok(())
    }

    /// Keeps the notes, and takes the receiver of progress.
    fn notes(&mut self) -> Following {
        Following { collected: Collected::default(), progress: self.progress.take() }
    }
}

/// Notes that are kept, and progress that goes to the receiver.
struct Following {
    collected: Collected,
    progress: Option<Receiver>,
}

impl Notes for Following {
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
