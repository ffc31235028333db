//! Report of an evaluation: a table, JSON, and the missed bounds.

use std::collections::BTreeMap;
use std::fmt::Write;

use dlbc_ops::program::Mode;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::args::EvalArgs;
use crate::cli::terminal::{Align, Table};
use dlbc::eval::{
    Better, Case, Fill, Metric, Outcome, Plan, Prepared, deviation, no_better_than_random, other_unit,
};
use dlbc::wording::{json_text, number, plural, visible};

/// Results and settings of an evaluation.
pub struct Report {
    metrics: Vec<Metric>,
    /// Outcomes of the composites, followed by those of the controls.
    pub outcomes: Vec<Outcome>,
    settings: Vec<(&'static str, Value)>,
    samples: Vec<Value>,
    model: Value,
}

impl Report {
    /// Creates the report.
    pub fn new(
        args: &EvalArgs,
        prepared: &Prepared,
        plan: &Plan,
        metrics: &[Metric],
        outcomes: Vec<Outcome>,
    ) -> Report {
        let sample = |(number, case): (usize, &Case)| {
            json!({
                "name": case.name,
                "target": case.target,
                "answer": prepared.model.answer(&case.units, case.target),
                "features": case.features.count(),
                "other": other_unit(case, number, plan),
            })
        };
        let info = &prepared.info;
        let hashes: BTreeMap<&String, &String> =
            info.hashes.iter().map(|(file, hash)| (file, hash)).collect();
        Report {
            metrics: metrics.to_vec(),
            outcomes,
            settings: settings(args, prepared, plan, metrics),
            samples: prepared.cases.iter().enumerate().map(sample).collect(),
            model: json!({
                "model": info.model,
                "hashes": hashes,
                "explained": info.explained,
                "device": prepared.device,
                "version": env!("CARGO_PKG_VERSION"),
            }),
        }
    }

    /// Formats the report as a table and a list of settings.
    pub fn text(&self) -> String {
        let mut columns = vec![("composite", Align::Left)];
        columns.extend(self.metrics.iter().map(|m| (m.title(), Align::Right)));
        let mut table = Table::new(&columns);
        let arrow = |m: &Metric| match m.better() {
            Better::Higher => "higher".to_string(),
            Better::Lower => "lower".to_string(),
            Better::Neither => String::new(),
        };
        let better = std::iter::once("better".to_string()).chain(self.metrics.iter().map(arrow));
        table.row(better.collect::<Vec<_>>());
        // No minus before a zero.
        let shown = |v: f64| format!("{:.3}", if v.abs() < 5e-4 { 0.0 } else { v });
        let chances: Vec<Vec<Metric>> = self.outcomes.iter().map(|o| self.no_better_than_random(o)).collect();
        let marked: Vec<Metric> = chances.concat();
        for (outcome, chance) in self.outcomes.iter().zip(&chances) {
            // Cells without a mark are padded, so that the digits of a column line up.
            let mark = |m: &Metric| match (chance.contains(m), marked.contains(m)) {
                (true, _) => "*",
                (false, true) => " ",
                (false, false) => "",
            };
            let cell = |m: &Metric| {
                outcome.mean(*m).map_or_else(|| "-".into(), |mean| format!("{}{}", shown(mean), mark(m)))
            };
            let contrast = if outcome.mode == Mode::Contrastive { ", contrastive" } else { "" };
            let cells =
                std::iter::once(format!("{}{contrast}", outcome.rules)).chain(self.metrics.iter().map(cell));
            table.row(cells.collect::<Vec<_>>());
        }
        let mut out = format!("{}, mean of {}\n\n", self.title(), plural(self.samples.len(), "sample"));
        out.push_str(&table.text(0));
        if !marked.is_empty() {
            out.push_str("* no better than random\n");
        }
        out.push('\n');
        let width = self.settings.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in &self.settings {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_string);
            let _ = writeln!(out, "{name:width$}  {}", visible(&value));
        }
        out
    }

    /// Returns the metrics in which a composite does not beat the random control; empty for a control.
    fn no_better_than_random(&self, outcome: &Outcome) -> Vec<Metric> {
        let random = self.outcomes.iter().find(|o| o.control && o.rules == "random");
        match random {
            Some(random) if !outcome.control => no_better_than_random(&outcome.scores, &random.scores),
            _ => vec![],
        }
    }

    fn title(&self) -> String {
        let field = |key: &str| self.model[key].as_str().unwrap_or_default().to_string();
        format!(
            "model    {} ({}), output {}",
            visible(&field("model")),
            field("device"),
            visible(&field("explained"))
        )
    }

    /// Formats the report as one JSON object; `all` adds the scores of every sample and the curves.
    ///
    /// # Errors
    /// Never for these types.
    pub fn json(&self, all: bool) -> anyhow::Result<String> {
        #[derive(Serialize)]
        struct Score<'a> {
            mean: Option<f64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            samples: Option<&'a Vec<f64>>,
        }
        let result = |o: &Outcome| {
            let score = |(m, samples)| (m, Score { mean: o.mean(m), samples: Some(samples).filter(|_| all) });
            let scores: BTreeMap<String, Score> = o
                .scores
                .iter()
                .map(|(m, s)| score((*m, s)))
                .map(|(m, s): (Metric, _)| (m.to_string(), s))
                .collect();
            let mut result = json!({
                "rules": o.rules,
                "control": o.control,
                "scores": scores,
                "randomisation": o.stages,
            });
            if !o.control {
                result["rules_hash"] = json!(o.rules_hash);
                result["mode"] = json!(o.mode.name());
                let chance = self.no_better_than_random(o);
                result["no_better_than_random"] =
                    json!(chance.iter().map(ToString::to_string).collect::<Vec<_>>());
                let residuals = o.ledger_sums.iter().map(|b| ((b[0] - b[1] - b[2]) / b[0]).abs());
                result["residual"] = json!(residuals.fold(0.0, f64::max));
            }
            if all {
                result["curves"] = json!(o.curves);
            }
            result
        };
        let metrics: BTreeMap<String, Value> =
            (self.metrics.iter()).map(|m| (m.to_string(), json!({ "better": m.better().word() }))).collect();
        let settings: serde_json::Map<String, Value> =
            self.settings.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
        let whole = json!({
            "model": self.model,
            "metrics": metrics,
            "settings": settings,
            "samples": self.samples,
            "results": self.outcomes.iter().map(result).collect::<Vec<_>>(),
        });
        Ok(json_text(&whole)? + "\n")
    }

    /// Returns a message for each bound that a composite misses. NaN misses every bound.
    pub fn missed(&self, args: &EvalArgs) -> Vec<String> {
        let under = args.fail_under.iter().map(|b| (b, true));
        let bounds = under.chain(args.fail_over.iter().map(|b| (b, false)));
        let mut missed = vec![];
        for (bound, is_minimum) in bounds {
            for outcome in self.outcomes.iter().filter(|o| !o.control) {
                let mean = outcome.mean(bound.metric).unwrap_or(f64::NAN);
                let passes = if is_minimum { mean >= bound.value } else { mean <= bound.value };
                if !passes {
                    let side = if is_minimum { "below" } else { "above" };
                    let (rules, metric, value) = (visible(&outcome.rules), bound.metric, bound.value);
                    missed.push(format!("`{rules}`: {metric} {mean:.4} is {side} {value}"));
                }
            }
        }
        missed
    }
}

/// Returns the settings that the scores depend on, with their names.
fn settings(
    args: &EvalArgs,
    prepared: &Prepared,
    plan: &Plan,
    metrics: &[Metric],
) -> Vec<(&'static str, Value)> {
    let cases = &prepared.cases;
    let Some(case) = cases.first() else { return vec![] };
    let has = |any: &[Metric]| any.iter().any(|m| metrics.contains(m));
    let range = |count: &dyn Fn(&Case) -> usize| {
        let all = || cases.iter().map(count);
        match (all().min(), all().max()) {
            (Some(min), Some(max)) if min != max => json!(format!("{min} to {max}")),
            (min, _) => json!(min),
        }
    };
    let answer = if prepared.model.softmax { "softmax of the outputs" } else { "the output as it is" };
    let mut all = vec![
        ("target", json!(args.target.to_string())),
        ("features", json!(case.features.word)),
        ("features a sample", range(&|c| c.features.count())),
        ("answer", json!(answer)),
        ("start", json!("the output's value; of derivatives and of contrasts one")),
        ("order", json!("by relevance with its sign; equal ones in their order")),
        ("normalisation", json!("over the largest magnitude of each map; max-sensitivity: none")),
    ];
    if has(&[Metric::Morf, Metric::Lerf, Metric::Gap, Metric::Deletion, Metric::FaithfulnessCorrelation])
        || has(&[Metric::RegionPerturbation])
    {
        all.push(("baseline", json!(prepared.fill.to_string())));
    }
    if has(&[Metric::Morf, Metric::Lerf, Metric::Gap, Metric::Deletion, Metric::Insertion]) {
        all.push(("features a step", range(&|c| plan.step(c))));
    }
    if has(&[Metric::Insertion]) {
        let start = match (prepared.start, case.features.grid) {
            (Fill::Blur, Some(grid)) => {
                format!("blur, Gaussian of {} pixels", number(deviation(grid), 3))
            }
            (start, _) => start.to_string(),
        };
        all.push(("insertion into", json!(start)));
    }
    if let (true, Some(grid)) = (has(&[Metric::RegionPerturbation]), case.features.grid) {
        all.push(("patch", json!(plan.patch(grid))));
        all.push(("regions", json!(plan.regions)));
    }
    if has(&[Metric::FaithfulnessCorrelation]) {
        all.push(("subsets", json!(plan.runs)));
        all.push(("features a subset", range(&|c| plan.subset(c))));
    }
    if has(&[Metric::MaxSensitivity]) {
        let unit = if case.scale.is_some() { ", in deviations of each column" } else { "" };
        all.push(("noise", json!(format!("uniform up to {}{unit}", number(plan.radius, 6)))));
        all.push(("draws", json!(plan.draws)));
    }
    if has(&[Metric::Randomisation]) {
        all.push(("stages of randomisation", json!(plan.stages)));
    }
    all.push(("seed", json!(plan.seed)));
    all
}
