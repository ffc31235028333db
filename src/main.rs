//! The program `dlbc`: parses the arguments, runs the command, and ends with its error and exit code.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cli;

use std::process::ExitCode;

use clap::Parser;

use cli::args::{self, Args, Command};
use cli::commands::{compile, completions, diff, eval, export, inspect, rules, run};
use cli::exit::{self, Code, Verdict};
use cli::guard;
use cli::terminal::{Console, report};

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(e) => {
            let e = args::plain(e);
            // A closed pipe while the help is printed is not an error.
            let _ = e.print();
            return ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(Code::Usage as u8));
        }
    };
    match guard::contained(move || dispatch(args)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            let Verdict { code, internal } = exit::verdict(&error);
            report(if internal { "internal error" } else { "error" }, &exit::describe(&error));
            if let Some(help) = exit::help(&error) {
                report("help", &help);
            }
            ExitCode::from(code as u8)
        }
        Err(panic) => {
            dlbc::results::discard_pending();
            report("internal error", &panic);
            ExitCode::from(Code::Other as u8)
        }
    }
}

fn dispatch(args: Args) -> anyhow::Result<()> {
    let console = Console { quiet: args.quiet };
    let limits = match &args.command {
        Command::Compile(args) => Some(&args.limits),
        Command::Run(args) => Some(&args.limits),
        Command::Inspect(args) => Some(&args.limits),
        Command::Export(args) => Some(&args.limits),
        Command::Diff(args) => Some(&args.run.limits),
        Command::Eval(args) => Some(&args.limits),
        Command::Rules(_) | Command::Completions(_) => None,
    };
    guard::on_interrupt();
    if let Some(timeout) = limits.and_then(|l| l.timeout()) {
        guard::on_timeout(timeout)?;
    }
    match args.command {
        Command::Compile(mut args) => {
            args.model = args.explain.model_file(&args.model, &console)?;
            compile::compile(&args, console)
        }
        Command::Run(mut args) => {
            args.model = args.explain.model_file(&args.model, &console)?;
            run::run(&args, console)
        }
        Command::Inspect(mut args) => {
            args.model = args.explain.model_file(&args.model, &console)?;
            inspect::inspect(&args)
        }
        Command::Export(mut args) => {
            args.model = args.explain.model_file(&args.model, &console)?;
            export::export(&args, console)
        }
        Command::Diff(args) => diff::diff(*args, console),
        Command::Eval(mut args) => {
            args.model = args.explain.model_file(&args.model, &console)?;
            eval::eval(&args, console)
        }
        Command::Rules(args) => rules::rules(args.name.as_deref(), args.json),
        Command::Completions(args) => completions::completions(args.shell),
    }
}
