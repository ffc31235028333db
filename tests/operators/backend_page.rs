//! The page of the book about the standard's test cases.

use std::collections::BTreeMap;

use super::backend_suite::{Case, INTERPRETED, SETTINGS, Setting, Verdict};

/// Writes the page from the verdicts on each case, one for each setting.
pub fn page(cases: &[Case], verdicts: &[Vec<Verdict>]) -> String {
    let mut page = String::from(HEAD);
    let mut kinds: Vec<&str> = vec![];
    for case in cases {
        if !kinds.contains(&case.kind.as_str()) {
            kinds.push(&case.kind);
        }
    }
    let first: Vec<(&Case, &Verdict)> = cases.iter().zip(verdicts.iter().map(|v| &v[0])).collect();
    for kind in &kinds {
        page += &row(kind, first.iter().filter(|(case, _)| case.kind == *kind).map(|(_, v)| *v));
    }
    page += &row("all", first.iter().map(|(_, v)| *v));
    let mut by_reason = |title: &str, reason: fn(&Verdict) -> Option<&String>| {
        let mut counts: BTreeMap<&String, (usize, &str)> = BTreeMap::new();
        for (case, verdict) in &first {
            if let Some(reason) = reason(verdict) {
                counts.entry(reason).or_insert((0, &case.name)).0 += 1;
            }
        }
        page += title;
        for (reason, (count, example)) in counts {
            page += &format!("| {reason} | {count} | `{example}` |\n");
        }
    };
    by_reason(REFUSED, |v| if let Verdict::Refused(reason) = v { Some(reason) } else { None });
    by_reason(SKIPPED, |v| if let Verdict::Skipped(reason) = v { Some(reason) } else { None });
    page += &OTHERS.replace("INTERPRETED", &INTERPRETED.to_string());
    for (i, setting) in SETTINGS.iter().enumerate() {
        page += &row(&setting.title(), verdicts.iter().map(|v| &v[i]));
    }
    page += CANCELLING;
    for (i, setting) in SETTINGS.iter().enumerate() {
        page += &cancelling(setting, cases, verdicts.iter().map(|v| &v[i]));
    }
    page
}

/// Writes a row of counts.
fn row<'a>(title: &str, verdicts: impl Iterator<Item = &'a Verdict>) -> String {
    let mut counts = [0; 5];
    for verdict in verdicts {
        let column = match verdict {
            Verdict::Explained => 0,
            Verdict::Cancelling => 1,
            Verdict::Forward => 2,
            Verdict::Refused(_) => 3,
            Verdict::Skipped(_) => 4,
            Verdict::Wrong(fault) => unreachable!("the test fails before: {fault}"),
        };
        counts[column] += 1;
    }
    let [explained, cancelling, forward, refused, skipped] = counts;
    format!("| {title} | {explained} | {cancelling} | {forward} | {refused} | {skipped} |\n")
}

/// Writes the cases of a setting whose shares cancel.
fn cancelling<'a>(setting: &Setting, cases: &[Case], verdicts: impl Iterator<Item = &'a Verdict>) -> String {
    let pairs = cases.iter().zip(verdicts).filter(|(_, v)| **v == Verdict::Cancelling);
    let names: Vec<String> = pairs.map(|(case, _)| format!("`{}`", case.name)).collect();
    if names.is_empty() {
        return String::new();
    }
    format!("\n{}: {}.\n", setting.title(), names.join(", "))
}

const HEAD: &str = "\
# Test cases of the standard

After this page you know how many test cases of the ONNX standard dlbc reproduces. The package `onnx` 1.23.2 holds them
(`onnx.backend.test`); a test of the project runs them and writes this page. Each case is explained by the composite `dlb` on the
CPU: its outputs must be the recorded ones, the relevance finite, and the ledger closed. A case whose output depends on no float
input, or holds NaN, is run without an explanation. Where a case passes axes, shapes or weights as inputs, constants may take their place, as
real models have them. No case gives wrong numbers.

A refusal names the operators:

```console
$ dlbc inspect fixtures/operators/refused_Einsum.onnx
...
```

| kind | explained | explained, shares cancel | run | refused | left out |
| --- | ---: | ---: | ---: | ---: | ---: |
";

const REFUSED: &str = "
## Refused

A refusal is exit code 4, or 3 for NaN and infinities in inputs.

| reason | cases | first case |
| --- | ---: | --- |
";

const SKIPPED: &str = "
## Left out

`data` stands for cases whose inputs or outputs are sequences, strings, or numbers of 8 bits or fewer that NumPy does not have.

| reason | cases | first case |
| --- | ---: | --- |
";

const OTHERS: &str = "
## Other composites and devices

The same cases under two more composites, and with the CUDA kernels on an interpreter, which takes the cases of at most
INTERPRETED elements of inputs and outputs. The whole networks (`light`) run in the first setting only.

| setting | explained | explained, shares cancel | run | refused | left out |
| --- | ---: | ---: | ---: | ---: | ---: |
";

const CANCELLING: &str = "
Shares cancel where a rule divides by a sum near 0: shares of both signs are then much larger than what they sum to, and the
ledger closes in float64 arithmetic but not in float32. Such cases:
";
