//! Flags of composite, mode and inputs, which `compile`, `run`, `inspect` and `export` share.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use dlbc_compiler::Options;

use super::LimitArgs;
use super::values::shape;
use crate::cli::exit::usage;
use dlbc::explainer::load::{LoadOptions, composite_text};
use dlbc::folder;
use dlbc::notes::Notes;

/// Composite, mode, output and inputs of the relevance.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Relevance")]
pub struct ExplainArgs {
    /// Composite, which assigns a rule to each operator: a name (`dlbc rules` lists them) or a TOML file [default: dlb].
    #[arg(long, value_name = "NAME|FILE.toml")]
    rules: Option<String>,
    /// One relevance track, or two (supporting and opposing) [default: default].
    #[arg(long, value_name = "MODE", value_enum)]
    mode: Option<Mode>,
    /// Tensor to explain: a model output, or any inner tensor by its ONNX name [default: the first output].
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    /// Treat a tensor as an input and leave out the nodes that compute it (repeatable).
    #[arg(long, value_name = "NAME")]
    stop_at: Vec<String>,
    /// Let relevance reach an integer input whose values the model casts to float (repeatable).
    #[arg(long, value_name = "NAME")]
    live: Vec<String>,
    /// Keep relevance from an input, such as a mask (repeatable).
    #[arg(long, value_name = "NAME")]
    no_relevance: Vec<String>,
    #[command(flatten)]
    model: ModelArgs,
}

/// Flags for reading the model.
#[derive(Clone, Debug, Default, Args)]
struct ModelArgs {
    /// Fix the dimensions of an input, as in `x=1,3,224,224`; `?` leaves one open (repeatable).
    #[arg(long, value_name = "NAME=DIMS", value_parser = shape)]
    shape: Vec<(String, Vec<i64>)>,
    /// Weights to read where MODEL is a folder: fp32, fp16, int8, q4 and so on [default: the most exact ones].
    #[arg(long, value_name = "NAME")]
    weights: Option<String>,
}

/// Number of relevance tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// One track.
    Default,
    /// Two tracks: supporting and opposing.
    Contrastive,
}

impl From<Mode> for dlbc_compiler::Mode {
    fn from(mode: Mode) -> dlbc_compiler::Mode {
        match mode {
            Mode::Default => dlbc_compiler::Mode::Default,
            Mode::Contrastive => dlbc_compiler::Mode::Contrastive,
        }
    }
}

impl ExplainArgs {
    /// Returns the name or file of the composite, `dlb` by default.
    pub fn rules(&self) -> &str {
        self.rules.as_deref().unwrap_or("dlb")
    }

    /// Returns one copy for each composite that `--rules` names, separated by commas, or for each of `usual` without the
    /// flag.
    pub fn each(&self, usual: &[&str]) -> Vec<ExplainArgs> {
        let with_rules = |rules: &str| ExplainArgs { rules: Some(rules.trim().into()), ..self.clone() };
        match &self.rules {
            None if usual.is_empty() => vec![self.clone()],
            None => usual.iter().map(|rules| with_rules(rules)).collect(),
            Some(rules) => rules.split(',').map(with_rules).collect(),
        }
    }

    /// Returns whether `--rules` names a composite.
    pub fn names_rules(&self) -> bool {
        self.rules.is_some()
    }

    /// Returns whether the mode is contrastive, which has two tracks.
    pub fn is_contrastive(&self) -> bool {
        self.mode == Some(Mode::Contrastive)
    }

    /// Returns the model file of a path, which may be a folder of models.
    ///
    /// # Errors
    /// Fails as [`folder::model_file`] does.
    pub fn model_file(&self, path: &Path, notes: &dyn Notes) -> anyhow::Result<PathBuf> {
        Ok(folder::model_file(path, self.model.weights.as_deref(), notes)?)
    }

    /// Returns the options of the compiler.
    ///
    /// # Errors
    /// Fails for a composite file that cannot be read and for an input whose shape is given twice.
    pub fn options(&self, limits: &LimitArgs) -> anyhow::Result<Options> {
        let rules_file = match Path::new(self.rules()) {
            file if file.extension().is_some_and(|e| e == "toml") => {
                Some((self.rules().to_string(), composite_text(file)?))
            }
            _ => None,
        };
        let mut options = Options {
            rules: self.rules().into(),
            rules_file,
            mode: self.mode.map_or(dlbc_compiler::Mode::Default, Into::into),
            output: self.output.clone(),
            stop_at: self.stop_at.clone(),
            live: self.live.clone(),
            no_relevance: self.no_relevance.clone(),
            max_tensor_bytes: limits.tensor_bytes(),
            max_nodes: limits.nodes(),
            ..Options::default()
        };
        for (name, dims) in &self.model.shape {
            if options.shapes.insert(name.clone(), dims.clone()).is_some() {
                return Err(usage(format!("invalid `--shape`: input `{name}` is given twice")));
            }
        }
        Ok(options)
    }

    /// Returns the options for loading the model.
    ///
    /// # Errors
    /// Fails as [`ExplainArgs::options`] does.
    pub fn load_options(&self, limits: &LimitArgs) -> anyhow::Result<LoadOptions> {
        Ok(LoadOptions {
            compiler: self.options(limits)?,
            limits: limits.model(),
            forward_only: false,
            settings: self.compile_time(),
            names_rules: self.names_rules(),
        })
    }

    /// Returns the name of the first flag that concerns relevance.
    pub fn relevance_flag(&self) -> Option<&'static str> {
        let flags = [
            ("--rules", self.rules.is_some()),
            ("--mode", self.mode.is_some()),
            ("--output", self.output.is_some()),
            ("--live", !self.live.is_empty()),
            ("--no-relevance", !self.no_relevance.is_empty()),
        ];
        flags.into_iter().find(|(_, is_set)| *is_set).map(|(flag, _)| flag)
    }

    /// Returns the tensor of `--output`.
    pub fn output(&self) -> Option<&str> {
        self.output.as_deref()
    }

    /// Returns the flags on the command line that an artifact cannot obey, because it is compiled already.
    pub fn compile_time(&self) -> Vec<&'static str> {
        let flags = [
            ("--rules", self.rules.is_some()),
            ("--mode", self.mode.is_some()),
            ("--stop-at", !self.stop_at.is_empty()),
            ("--live", !self.live.is_empty()),
            ("--no-relevance", !self.no_relevance.is_empty()),
            ("--shape", !self.model.shape.is_empty()),
        ];
        flags.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect()
    }
}
