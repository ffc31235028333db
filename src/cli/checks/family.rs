//! Families of models, and the composites that tell their targets apart.

use dlbc_ops::program::{Info, Mode};

/// Family of models; the book has measurements for each but `Other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Networks on pictures, without attention.
    Pictures,
    /// Networks on token ids, or with attention.
    Transformers,
    /// Networks on rows of features.
    Tables,
    /// Any other network.
    Other,
}

/// Similarity of the maps of two classes (1: identical) under composites with a positive seed, as measured by
/// `dlbc eval --metrics random-logit` on photographs (EfficientNet-Lite0), texts (the sentiment BERT) and tables (wine). The
/// book lists these numbers under "Faithfulness".
const MEASURED: [(&str, [f64; 3]); 9] = [
    ("dlb", [0.99, 1.00, 0.89]),
    ("dlb-v2", [1.00, 1.00, 0.89]),
    ("dlb-v1", [1.00, 1.00, 0.83]),
    ("dlb-v1-literal", [1.00, 1.00, 0.83]),
    ("dlb-values", [0.99, 1.00, 0.89]),
    ("lrp-zplus", [0.99, 0.99, 0.66]),
    ("lrp-alpha1-beta0", [0.99, 0.99, 0.66]),
    ("lrp-flat", [1.00, 1.00, 1.00]),
    ("lrp-w2", [1.00, 0.99, 0.37]),
];

impl Family {
    /// Returns the family of a program.
    pub fn of(info: &Info) -> Family {
        let explained = || info.inputs.iter().filter(|i| i.explained);
        let attention = info.ledger.iter().any(|row| row.op.contains("Attention"));
        if attention || explained().any(|i| !i.ty.dtype.is_float()) {
            return Family::Transformers;
        }
        match explained().map(|i| i.ty.rank()).max() {
            Some(4) => Family::Pictures,
            Some(1 | 2) => Family::Tables,
            _ => Family::Other,
        }
    }

    /// Returns the measured similarity of the maps of two classes under the program's composite; `None` without a
    /// measurement.
    pub fn measured(self, info: &Info) -> Option<f64> {
        let column = match self {
            Family::Pictures => 0,
            Family::Transformers => 1,
            Family::Tables => 2,
            Family::Other => return None,
        };
        let known = MEASURED.iter().find(|(rules, _)| *rules == info.rules && info.mode == Mode::Default);
        known.map(|(_, similarity)| similarity[column])
    }

    /// Returns flags that tell targets apart on this family, as alternatives joined by "or". `difference` is a target such as
    /// `3-5`, if units are known.
    pub fn flags(self, info: &Info, difference: Option<&str>) -> String {
        let difference = difference.map(|d| format!(" --target {d}")).unwrap_or_default();
        let difference = difference.as_str();
        let contrastive = info.mode == Mode::Default && info.rules.starts_with("dlb");
        // Under a composite that tells targets apart, their difference shows more than each alone.
        let other = |rules: &str| match (info.rules == rules, difference.trim()) {
            (false, _) => Some(format!("`--rules {rules}{difference}`")),
            (true, "") => None,
            (true, alone) => Some(format!("`{alone}`")),
        };
        let flags: Vec<String> = match self {
            Family::Pictures => vec![other("epsilon-gamma-box"), other("integrated-gradients")],
            Family::Transformers => vec![other("attnlrp"), other("integrated-gradients")],
            Family::Tables => {
                let mode = contrastive.then(|| "`--mode contrastive`".to_string());
                vec![other("lrp-epsilon"), other("integrated-gradients"), mode]
            }
            Family::Other => vec![other("lrp-epsilon"), other("integrated-gradients")],
        }
        .into_iter()
        .flatten()
        .collect();
        match flags.as_slice() {
            [first, second, third, ..] => format!("{first}, {second} or {third}"),
            _ => flags.join(" or "),
        }
    }
}

#[cfg(test)]
mod tests {
    use dlbc_ops::program::InputInfo;
    use dlbc_ops::tensor::{DType, Dim, TensorType};

    use super::*;

    fn info(dtype: DType, rank: usize, rules: &str) -> Info {
        let ty = TensorType::new(dtype, vec![Dim::known(1); rank]);
        let input = InputInfo { name: "x".into(), ty, explained: true };
        Info { rules: rules.into(), inputs: vec![input], ..Info::default() }
    }

    #[test]
    fn families_by_the_inputs() {
        for (dtype, rank, family) in [
            (DType::F32, 4, Family::Pictures),
            (DType::I64, 2, Family::Transformers),
            (DType::F32, 2, Family::Tables),
            (DType::F32, 3, Family::Other),
        ] {
            assert_eq!(Family::of(&info(dtype, rank, "dlb")), family);
        }
    }

    #[test]
    fn flags_name_another_composite() {
        let dlb = info(DType::F32, 4, "dlb");
        let flags = Family::Pictures.flags(&dlb, Some("285-282"));
        assert!(flags.starts_with("`--rules epsilon-gamma-box --target 285-282` or "), "{flags}");
        assert_eq!(Family::Pictures.measured(&dlb), Some(0.99));
        let table = info(DType::F32, 2, "lrp-epsilon");
        assert_eq!(Family::Tables.flags(&table, None), "`--rules integrated-gradients`");
        assert_eq!(Family::Tables.measured(&table), None);
        let gamma = info(DType::F32, 4, "epsilon-gamma-box");
        assert!(Family::Pictures.flags(&gamma, Some("1-2")).starts_with("`--target 1-2` or "));
    }

    #[test]
    fn measured_composites_exist() {
        for (rules, _) in MEASURED {
            assert!(dlbc_compiler::built_in_source(rules).is_some(), "{rules}");
        }
    }
}
