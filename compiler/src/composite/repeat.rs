//! The `[repeat]` table of a composite: runs whose mean is the result.

use dlbc_ops::program::{Baseline, Repeat};
use serde::Deserialize;

use super::model::Quantity;
use super::words::names;

/// More runs than this are a mistake.
const MOST: usize = 100_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    kind: String,
    steps: Option<usize>,
    baseline: Option<Start>,
    samples: Option<usize>,
    noise: Option<f64>,
    seed: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Start {
    Value(f64),
    Named(String),
}

/// Reads a table.
pub(super) fn read(mut table: Table, quantity: Quantity) -> Result<Repeat, String> {
    if quantity != Quantity::Gradient {
        return Err("a mean over runs is one of derivatives: `passes = \"gradient\"` expected".into());
    }
    let count = |given: Option<usize>, what: &str, default: usize| match given.unwrap_or(default) {
        n if (1..=MOST).contains(&n) => Ok(n),
        n => Err(format!("{what} is a number from 1 to {MOST}, found {n}")),
    };
    let repeat = match table.kind.as_str() {
        "integrated-gradients" => Repeat::IntegratedGradients {
            steps: count(table.steps.take(), "steps", 32)?,
            baseline: baseline(table.baseline.take())?,
        },
        "smoothgrad" => Repeat::SmoothGrad {
            samples: count(table.samples.take(), "samples", 32)?,
            noise: match table.noise.take().unwrap_or(0.1) {
                noise if noise >= 0.0 && noise.is_finite() => noise,
                noise => return Err(format!("noise is a number from 0 on, found {noise}")),
            },
            seed: table.seed.take().unwrap_or(0),
        },
        other => {
            let known = names(["integrated-gradients", "smoothgrad"].into_iter());
            return Err(format!("kind is one of {known}, found `{other}`"));
        }
    };
    let Table { kind, steps, baseline, samples, noise, seed } = table;
    let given = [
        ("steps", steps.is_some()),
        ("baseline", baseline.is_some()),
        ("samples", samples.is_some()),
        ("noise", noise.is_some()),
        ("seed", seed.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((name, _)) => Err(format!("`{kind}` has no parameter `{name}`")),
        None => Ok(repeat),
    }
}

fn baseline(given: Option<Start>) -> Result<Baseline, String> {
    const KNOWN: [(&str, Baseline); 4] = [
        ("scaler", Baseline::Scaler),
        ("least", Baseline::Smallest),
        ("greatest", Baseline::Largest),
        ("mean", Baseline::Mean),
    ];
    match given {
        None => Ok(Baseline::Scaler),
        Some(Start::Value(value)) if value.is_finite() => Ok(Baseline::Value(value)),
        Some(Start::Value(value)) => Err(format!("baseline is a finite number or a name, found {value}")),
        Some(Start::Named(name)) => {
            let found = KNOWN.iter().find(|(known, _)| *known == name).map(|(_, b)| *b);
            let known = names(KNOWN.iter().map(|k| k.0));
            found.ok_or_else(|| format!("baseline is a number or one of {known}, found `{name}`"))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Repeat, String> {
        read(toml::from_str(text).map_err(|e| e.message().to_string())?, Quantity::Gradient)
    }

    #[test]
    fn tables_are_read_and_mistakes_named() {
        let text = "kind = \"integrated-gradients\"\nsteps = 8\nbaseline = \"least\"";
        assert_eq!(parsed(text), Ok(Repeat::IntegratedGradients { steps: 8, baseline: Baseline::Smallest }));
        let smooth = Repeat::SmoothGrad { samples: 32, noise: 0.1, seed: 0 };
        assert_eq!(parsed("kind = \"smoothgrad\""), Ok(smooth));
        for (text, message) in [
            ("kind = \"other\"", "kind is one of `integrated-gradients`, `smoothgrad`, found `other`"),
            ("kind = \"smoothgrad\"\nsteps = 3", "`smoothgrad` has no parameter `steps`"),
            ("kind = \"smoothgrad\"\nsamples = 0", "samples is a number from 1 to 100000, found 0"),
            ("kind = \"smoothgrad\"\nnoise = -1", "noise is a number from 0 on, found -1"),
            (
                "kind = \"integrated-gradients\"\nbaseline = \"grey\"",
                "baseline is a number or one of `scaler`, `least`, `greatest`, `mean`, found `grey`",
            ),
        ] {
            assert_eq!(parsed(text), Err(message.into()), "{text}");
        }
        let relevance = read(toml::from_str("kind = \"smoothgrad\"").unwrap(), Quantity::Relevance);
        assert!(relevance.unwrap_err().contains("passes = \"gradient\""));
    }
}
