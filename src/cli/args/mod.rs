//! The command line: one struct a command, the documentation of a flag beside its field.

mod chosen;
mod device;
mod diff;
mod eval;
mod export;
mod limits;
mod model;
mod picture;
mod plain;
mod run;
mod scene;
mod start;
mod targets;
mod text;
mod values;
mod words;

pub use device::DeviceArgs;
pub use diff::DiffArgs;
pub use eval::EvalArgs;
pub use export::ExportArgs;
pub use limits::LimitArgs;
pub use model::ExplainArgs;
pub use picture::PictureArgs;
pub use plain::plain;
pub use run::{Color, RunArgs};
pub use start::Start;
pub use targets::TargetArgs;
pub use text::TextArgs;
pub use values::{Device, Keep};

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::cli::commands::rules::ADVICE;

/// Explains what a neural network's answer rests on: relevance for any ONNX model.
#[derive(Debug, Parser)]
#[command(
    name = "dlbc",
    version,
    about,
    max_term_width = 110,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Args {
    /// Command to run.
    #[command(subcommand)]
    pub command: Command,
    /// Leave out notes and progress; warnings and errors stay.
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// Commands of the program.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compile a model and the relevance of its inputs into one artifact.
    #[command(after_help = COMPILE_EXAMPLE)]
    Compile(Box<CompileArgs>),
    /// Run a model and explain its answer.
    #[command(after_help = format!("{RUN_EXAMPLE}\n\nWhich `--rules`:\n{ADVICE}"))]
    Run(Box<RunArgs>),
    /// Show each node of a model with its rule, and everything that is not supported.
    #[command(after_help = INSPECT_EXAMPLE)]
    Inspect(Box<InspectArgs>),
    /// Write model and relevance as one plain ONNX model that any runtime executes.
    #[command(after_help = EXPORT_EXAMPLE)]
    Export(Box<ExportArgs>),
    /// Compare the relevance of two results, or of two models on the same inputs.
    #[command(after_help = DIFF_EXAMPLE)]
    Diff(Box<DiffArgs>),
    /// Measure how far explanations can be trusted: metrics of several composites beside random controls.
    #[command(after_help = EVAL_EXAMPLE)]
    Eval(Box<EvalArgs>),
    /// List the composites, or print one.
    #[command(after_help = RULES_EXAMPLE)]
    Rules(RulesArgs),
    /// Print a completion script for a shell.
    #[command(after_help = COMPLETIONS_EXAMPLE)]
    Completions(CompletionsArgs),
}

const COMPILE_EXAMPLE: &str = "Example:
  dlbc compile fixtures/digits_cnn/model.onnx -o digits.dlbc.onnx --emit relevance";
const RUN_EXAMPLE: &str = "Examples:
  dlbc run fixtures/digits_cnn/model.onnx --image fixtures/digits_cnn/digit.png --heatmap digit-relevance.png
  dlbc run fixtures/digits_cnn/model.onnx --inputs fixtures/digits_cnn/input.npz --out relevance.npz --ledger
  dlbc run fixtures/tabular_mlp/model.onnx --csv fixtures/tabular_mlp/rows.csv --row 3 --heatmap row.png
  dlbc run fixtures/scenes/segmenter.onnx --image fixtures/scenes/picture.png --mean 0 --std 1 --task segmentation --class 2
  dlbc run fixtures/scenes/detector.onnx --image fixtures/scenes/picture.png --mean 0 --std 1 --box best --heatmap box.png";
const INSPECT_EXAMPLE: &str = "Example:
  dlbc inspect fixtures/digits_cnn/model.onnx";
const EXPORT_EXAMPLE: &str = "Examples:
  dlbc export fixtures/digits_cnn/model.onnx -o digits-explained.onnx
  dlbc export fixtures/digits_cnn/model.onnx -o digits-1-not-7.onnx --target 1-7 --rules lrp-epsilon";
const DIFF_EXAMPLE: &str = "Examples:
  dlbc diff before.npz after.npz --min-rank 0.99
  dlbc diff model.onnx model-v2.onnx --inputs samples.npz --rules attnlrp";
const EVAL_EXAMPLE: &str = "Examples:
  dlbc eval fixtures/digits_cnn/model.onnx --inputs fixtures/digits_cnn/input.npz --rules dlb,lrp-epsilon --plot curves.png
  dlbc eval fixtures/tabular_mlp/model.onnx --csv fixtures/tabular_mlp/rows.csv --rules lrp-epsilon --fail-under gap=0.1";
const RULES_EXAMPLE: &str = "Examples:
  dlbc rules
  dlbc rules lrp-epsilon > mine.toml";
const COMPLETIONS_EXAMPLE: &str = "Example:
  dlbc completions bash > ~/.local/share/bash-completion/completions/dlbc";

/// `dlbc compile`.
#[derive(Debug, ClapArgs)]
pub struct CompileArgs {
    /// The model, an ONNX file.
    #[arg(value_name = "MODEL.onnx")]
    pub model: PathBuf,
    /// Artifact to write [default: `MODEL.dlbc.onnx` beside the model].
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Composite, mode and inputs of the relevance.
    #[command(flatten)]
    pub explain: ExplainArgs,
    /// Rows that the Shapley values of trees are taken against, kept in the artifact: a .npz by input name, a .npy or a .csv
    /// [default: each run has its own].
    #[arg(long, value_name = "FILE", help_heading = "Relevance")]
    pub background: Option<PathBuf>,
    /// Print a stage of the compilation on standard output.
    #[arg(long, value_enum)]
    pub emit: Option<Emit>,
    /// Print the graph after the named pass (`import` for the graph as read).
    #[arg(long, value_name = "PASS", hide = true)]
    pub dump_after: Option<String>,
    /// Limits on the size of the model.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Stage that `dlbc compile --emit` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Emit {
    /// The relevance graph, one line for each rule.
    Relevance,
    /// The lowered graph: forward and reverse in primitives.
    Lowered,
    /// The model with its rules as Graphviz text.
    Dot,
    /// The model's nodes, rules and program as JSON.
    Json,
}

/// `dlbc inspect`.
#[derive(Debug, ClapArgs)]
pub struct InspectArgs {
    /// The model, an ONNX file or an artifact of `dlbc compile`.
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Composite, mode and inputs of the relevance.
    #[command(flatten)]
    pub explain: ExplainArgs,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    pub json: bool,
    /// Limits on the size of the model.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// `dlbc completions`.
#[derive(Debug, ClapArgs)]
pub struct CompletionsArgs {
    /// Shell to complete for.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// `dlbc rules`.
#[derive(Debug, ClapArgs)]
pub struct RulesArgs {
    /// Composite to print [default: list all].
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use dlbc_runtime::{Position, SeedValue};

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Args::command().get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            assert!(help.contains("\n  dlbc "), "{}", command.get_name());
        }
    }

    #[test]
    fn the_examples_parse() {
        for text in [
            COMPILE_EXAMPLE,
            RUN_EXAMPLE,
            INSPECT_EXAMPLE,
            EXPORT_EXAMPLE,
            DIFF_EXAMPLE,
            EVAL_EXAMPLE,
            COMPLETIONS_EXAMPLE,
        ] {
            for line in text.lines().skip(1) {
                let words = line.split('>').next().unwrap_or_default().split_whitespace();
                Args::try_parse_from(words).unwrap();
            }
        }
    }

    fn title(args: &RunArgs) -> String {
        let targets = args.target.targets(&Default::default()).unwrap();
        targets.into_iter().map(|t| t.name).collect::<Vec<_>>().join(",")
    }

    fn run_args(extra: &[&str]) -> Result<Box<RunArgs>, clap::Error> {
        match Args::try_parse_from(["dlbc", "run", "m.onnx"].iter().chain(extra))?.command {
            Command::Run(args) => Ok(args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn negative_values_need_no_equals_sign() {
        let args = run_args(&[
            "--target",
            "-1",
            "--position",
            "-2",
            "--image",
            "x.png",
            "--mean",
            "-0.5,1",
            "--multiplier",
            "-3",
        ])
        .unwrap();
        assert_eq!(title(&args), "-1");
        assert_eq!((args.target.position.clone(), args.target.multiplier()), (Some(Position::At(-2)), -3.0));
        assert_eq!(args.picture.mean, Some(vec![-0.5, 1.0]));
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let args = run_args(&[]).unwrap();
        assert_eq!((title(&args).as_str(), args.target.total()), ("argmax", 100.0));
        assert_eq!((args.target.start(), args.repeat), (&Start::Units(SeedValue::One), None));
        assert_eq!((args.on.device, args.keep), (Device::Auto, Keep::Inputs));
        assert_eq!(args.explain.rules(), "dlb");
    }

    #[test]
    fn tasks_and_thresholds_choose_the_target() {
        let title = |extra: &[&str]| title(&run_args(extra).unwrap());
        assert_eq!(title(&["--task", "bbox-regression"]), "all");
        assert_eq!(title(&["--task", "bbox-regression", "--target", "2"]), "2");
        assert_eq!(title(&["--task", "binary-segmentation"]), "above 0.5");
        assert_eq!(title(&["--threshold", "-1"]), "above -1");
        for extra in [
            &["--task", "multi-class", "--threshold", "0.5"][..],
            &["--threshold", "0.5", "--target", "1"],
            &["--start", "start.npy", "--target", "1"],
            &["--start", "start.npy", "--multiplier", "1"],
            &["--start", "start.npy", "--task", "binary-segmentation"],
            &["--task", "binary-segmentation", "--position", "0"],
        ] {
            let refused = run_args(extra).unwrap().target.check().unwrap_err();
            assert!(refused.to_string().contains("has no effect"), "{extra:?}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for extra in [
            &["--repeat", "0"][..],
            &["--threads", "0"],
            &["--device", "tpu"],
            &["--multiplier", "nan"],
            &["--std", "0"],
            &["--row", "1"],
            &["--input", "x="],
            &["--shape", "x=1,two"],
            &["--mode", "other"],
            &["--scaler", "0"],
            &["--scaler", "1", "--multiplier", "1"],
            &["--threshold", "high"],
            &["--task", "guessing"],
        ] {
            assert_eq!(run_args(extra).unwrap_err().exit_code(), 2, "{extra:?}");
        }
    }
}
