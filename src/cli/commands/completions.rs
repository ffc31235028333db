//! `dlbc completions`: prints completion scripts.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::cli::args::Args;
use crate::cli::terminal::print;

/// Prints the completion script for a shell.
///
/// # Errors
/// Fails if standard output cannot be written.
pub fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut script = vec![];
    generate(shell, &mut Args::command(), "dlbc", &mut script);
    print(&String::from_utf8_lossy(&script))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_has_a_script() {
        for shell in Shell::value_variants() {
            let mut script = vec![];
            generate(*shell, &mut Args::command(), "dlbc", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("heatmap") && script.contains("dlbc"), "{shell}");
        }
    }
}
