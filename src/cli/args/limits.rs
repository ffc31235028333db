//! Limits on the size of a model and its inputs, and on time.

use std::time::Duration;

use clap::Args;

use super::values::bytes;

/// Limits on a model and its inputs; beyond them a command ends with exit code 7.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Maximum size of the model file with its external data [default: 16GiB].
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    max_model_bytes: Option<u64>,
    /// Maximum size of one tensor: weight, input or intermediate [default: 8GiB].
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    max_tensor_bytes: Option<u64>,
    /// Maximum number of nodes of the model, local functions expanded [default: 1000000].
    #[arg(long, value_name = "N")]
    max_nodes: Option<usize>,
    /// Maximum time of the whole command, in seconds [default: no limit].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// Small limits for a model of unknown origin: 1GiB, 512MiB, 50000 nodes, 300 seconds; the flags above override them.
    #[arg(long, conflicts_with = "allow_links")]
    untrusted: bool,
    /// Follow symbolic and hard links to external data, as download caches have them.
    #[arg(long)]
    allow_links: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let value = super::values::finite(text)?;
    if value <= 0.0 {
        return Err("expected a number above 0".into());
    }
    Duration::try_from_secs_f64(value).map_err(|_| "expected a smaller number".to_string())
}

impl LimitArgs {
    /// Returns the flag's value or, without the flag, the `strict` default for untrusted models, else `usual`.
    fn pick<T>(&self, flag: Option<T>, strict: T, usual: T) -> T {
        flag.unwrap_or(if self.untrusted { strict } else { usual })
    }

    /// Returns the limits for reading the model file.
    pub fn model(&self) -> dlbc_proto::Limits {
        let usual = dlbc_proto::Limits::default();
        dlbc_proto::Limits {
            max_model_bytes: self.pick(self.max_model_bytes, 1 << 30, usual.max_model_bytes),
            max_tensor_bytes: self.tensor_bytes(),
            max_nodes: self.nodes(),
            allow_links: self.allow_links,
            ..usual
        }
    }

    /// Returns the largest allowed size of one tensor, in bytes.
    pub fn tensor_bytes(&self) -> u64 {
        self.pick(self.max_tensor_bytes, 512 << 20, 8 << 30)
    }

    /// Returns the largest allowed number of nodes.
    pub fn nodes(&self) -> usize {
        self.pick(self.max_nodes, 50_000, 1_000_000)
    }

    /// Returns the time limit of the whole command; `None` without a limit.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout.or(self.untrusted.then_some(Duration::from_secs(300)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untrusted_is_strict_and_a_flag_decides() {
        let strict = LimitArgs { untrusted: true, max_nodes: Some(7), ..LimitArgs::default() };
        assert_eq!((strict.tensor_bytes(), strict.nodes()), (512 << 20, 7));
        assert_eq!(strict.timeout(), Some(Duration::from_secs(300)));
        assert_eq!(LimitArgs::default().model(), dlbc_proto::Limits::default());
        assert_eq!(LimitArgs::default().timeout(), None);
    }
}
