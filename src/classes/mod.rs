//! Names of classes, from a file or from the metadata of the model.

mod list;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use dlbc_ops::program::{CLASS_LABELS, Info};

use crate::error::{Error, Result, ResultExt};
use crate::nearest::did_you_mean;
use crate::wording::{plural, size, visible, visible_path};

/// Largest size of a file of class names, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// Metadata keys that may hold class names, in order of preference.
const KEYS: [&str; 9] = [
    "names",
    "id2label",
    "classes",
    "class_names",
    "classes.txt",
    "labels",
    "labels.txt",
    CLASS_LABELS,
    "label2id",
];

/// Number of names that a message about an unknown name lists.
const LISTED: usize = 8;

/// Names of a model's classes, and of the units of an output that stand for them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Classes {
    /// Names by class.
    classes: Arc<BTreeMap<i64, String>>,
    /// Names by unit; equal to the names by class until [`Classes::of_units`] fits them to an output.
    names: Arc<BTreeMap<i64, String>>,
    /// File that the names were read from.
    file: Option<String>,
    /// True if the user named the file, false if it was found beside the model.
    requested: bool,
}

impl Classes {
    /// Reads the names from a file, else from the model's metadata, else from a `classes.txt` beside the model; a model may
    /// lack all of them.
    ///
    /// # Errors
    /// For a file that cannot be read, is too large or has no name.
    pub fn read(file: Option<&Path>, info: &Info, model: &Path) -> Result<Classes> {
        if let Some(path) = file {
            return Ok(Classes::new(of_file(path)?, Some(path.display().to_string()), true));
        }
        if let Some(names) = KEYS.iter().find_map(|key| list::parse(info.metadata.get(*key)?)) {
            return Ok(Classes::new(names, None, false));
        }
        let beside = model.with_file_name("classes.txt");
        match beside.is_file() {
            true => Ok(Classes::new(of_file(&beside)?, Some(beside.display().to_string()), false)),
            false => Ok(Classes::default()),
        }
    }

    fn new(names: BTreeMap<i64, String>, file: Option<String>, requested: bool) -> Classes {
        let classes = Arc::new(names);
        Classes { names: classes.clone(), classes, file, requested }
    }

    /// Returns the file beside the model that the names were read from, if the user did not name it.
    pub fn beside(&self) -> Option<&str> {
        self.file.as_deref().filter(|_| !self.requested && !self.is_empty())
    }

    /// Returns whether no name is known.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Returns the name of a unit.
    pub fn name(&self, unit: i64) -> Option<&str> {
        self.names.get(&unit).map(String::as_str)
    }

    /// Returns the name of a class, whatever its unit.
    pub fn class_name(&self, class: i64) -> Option<&str> {
        self.classes.get(&class).map(String::as_str)
    }

    /// Formats a unit with its name, if it has one: `1 malignant`.
    pub fn title(&self, unit: i64) -> String {
        titled(unit, self.name(unit))
    }

    /// Formats a class with its name, if it has one.
    pub fn class_title(&self, class: i64) -> String {
        titled(class, self.class_name(class))
    }

    /// Fits the names to an output of `units`. A single unit with two classes gets the name of the second. If the number of
    /// names differs from that of the units, names of the model are dropped and names of a requested file stay.
    pub fn of_units(&self, units: usize) -> Classes {
        let covered = self.classes.keys().next_back().map_or(0, |last| last + 1) == units as i64;
        let names = match self.class_name(1) {
            Some(second) if units == 1 && self.classes.len() == 2 => {
                Arc::new(BTreeMap::from([(0, second.to_string())]))
            }
            _ if covered || self.requested => self.classes.clone(),
            _ => Arc::default(),
        };
        Classes { names, ..self.clone() }
    }

    /// Returns the names like [`of_units`](Classes::of_units), but refuses a file whose names are not as many as the
    /// units.
    ///
    /// # Errors
    /// For a requested file with another number of names; the message names the file and both numbers.
    pub fn checked(&self, output: &str, units: usize) -> Result<Classes> {
        let fitted = self.of_units(units);
        let last = fitted.names.keys().next_back().map_or(0, |last| last + 1);
        match &self.file {
            Some(file) if self.requested && last != units as i64 => Err(Error::usage(format!(
                "class names `{}` do not fit output `{}`: expected {}, found {}",
                visible(file),
                visible(output),
                plural(units, "name"),
                self.classes.len()
            ))),
            _ => Ok(fitted),
        }
    }

    /// Finds the class of a name: an exact match, else the only match that ignores case.
    ///
    /// # Errors
    /// For a name that several classes have.
    pub fn find(&self, name: &str) -> Result<Option<i64>> {
        let all = |same: &dyn Fn(&str) -> bool| -> Vec<i64> {
            self.names.iter().filter(|(_, n)| same(n)).map(|(unit, _)| *unit).collect()
        };
        let lower = name.to_lowercase();
        let mut matches = all(&|n| n == name);
        if matches.is_empty() {
            matches = all(&|n| n.to_lowercase() == lower);
        }
        match matches.as_slice() {
            [] => Ok(None),
            [unit] => Ok(Some(*unit)),
            several => {
                let units: Vec<String> = several.iter().map(ToString::to_string).collect();
                let name = visible(name);
                Err(Error::usage(format!(
                    "`{name}` is the name of classes {}: expected an index",
                    units.join(", ")
                )))
            }
        }
    }

    /// Returns a suggestion of names: those most similar to `name`, else the first ones.
    pub fn advice(&self, name: &str) -> String {
        let known = || self.names.values().map(String::as_str);
        if let Some(advice) = did_you_mean(name, known()) {
            return advice;
        }
        let names: Vec<String> = known().take(LISTED).map(|n| format!("`{}`", visible(n))).collect();
        let rest = if self.names.len() > LISTED { ", ..." } else { "" };
        format!("the classes are {}{rest}", names.join(", "))
    }
}

fn of_file(path: &Path) -> Result<BTreeMap<i64, String>> {
    let read = || {
        let file = File::open(path).map_err(|e| Error::usage(e.to_string()))?;
        let mut bytes = vec![];
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|e| Error::invalid(e.to_string()))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Error::limit(format!(
                "the file is larger than {}: expected a class name a line",
                size(MAX_BYTES)
            )));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::invalid("expected UTF-8 with a class name a line"))?;
        let text = text.trim_start_matches('\u{feff}');
        let names = list::parse(text).unwrap_or_else(|| list::lines(text));
        if names.is_empty() { Err(Error::invalid("expected class names, found none")) } else { Ok(names) }
    };
    read().with_context(|| format!("class names `{}`", visible_path(path)))
}

fn titled(number: i64, name: Option<&str>) -> String {
    match name {
        Some(name) if name != number.to_string() => format!("{number} {name}"),
        _ => number.to_string(),
    }
}

/// Classes of these names, for tests.
#[cfg(test)]
pub fn named(names: &[&str]) -> Classes {
    Classes::new(names.iter().enumerate().map(|(i, n)| (i as i64, n.to_string())).collect(), None, false)
}

#[cfg(test)]
mod tests {
    use super::named as classes;
    use super::*;

    fn read(key: &str, value: &str) -> Classes {
        let metadata = [(key.to_string(), value.to_string())].into();
        Classes::read(None, &Info { metadata, ..Info::default() }, "m.onnx".as_ref()).unwrap()
    }

    #[test]
    fn metadata_names_classes() {
        for (key, value) in [
            ("names", "{0: 'no', 1: \"yes\"}"),
            ("id2label", r#"{"1": "yes", "0": "no"}"#),
            ("label2id", r#"{"yes": 1, "no": 0}"#),
            ("classes", "no\nyes\n"),
            (CLASS_LABELS, r#"["no", "yes"]"#),
        ] {
            assert_eq!(read(key, value), classes(&["no", "yes"]), "{key}");
        }
        assert!(read("author", "me").is_empty());
    }

    #[test]
    fn a_file_has_a_name_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("classes.txt");
        let model = folder.path().join("m.onnx");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Classes::read(Some(&path), &Info::default(), &model)
                .map(|c| c.names.values().cloned().collect::<Vec<_>>())
        };
        assert_eq!(
            read("\u{feff}tabby, tabby cat\r\ntiger cat\r\n\n".as_bytes()).unwrap(),
            ["tabby, tabby cat", "tiger cat"]
        );
        assert_eq!(read(br#"{"id2label": {"0": "a", "1": "b"}, "x": 1}"#).unwrap(), ["a", "b"]);
        assert!(read(b"\n \n").is_err() && read(&[0xff, 0xfe]).is_err());
        read(b"a\nb").unwrap();
        let beside = Classes::read(None, &Info::default(), &model).unwrap();
        assert_eq!((beside.name(1), beside.beside().is_some()), (Some("b"), true));
        assert!(beside.of_units(3).is_empty());
        assert!(Classes::read(Some(&folder.path().join("missing")), &Info::default(), &model).is_err());
    }

    #[test]
    fn one_unit_speaks_for_the_second_of_two_classes() {
        let two = classes(&["benign", "malignant"]);
        assert_eq!(two.of_units(1).name(0), Some("malignant"));
        assert_eq!(two.of_units(1).class_title(0), "0 benign");
        assert_eq!(two.of_units(2), two);
        assert!(two.of_units(3).is_empty());
        let file = Classes { file: Some("c.txt".into()), requested: true, ..two.clone() };
        let error = file.checked("y", 3).unwrap_err().to_string();
        assert_eq!(error, "class names `c.txt` do not fit output `y`: expected 3 names, found 2");
    }

    #[test]
    fn names_are_found_whatever_their_case() {
        let all = classes(&["Crane", "crane", "tiger cat", "crane"]);
        assert_eq!(all.find("Crane").unwrap(), Some(0));
        assert_eq!(all.find("TIGER cat").unwrap(), Some(2));
        assert_eq!(all.find("dog").unwrap(), None);
        assert!(all.find("crane").unwrap_err().to_string().contains("`crane` is the name of classes 1, 3"));
        assert_eq!(all.title(2), "2 tiger cat");
        assert_eq!(classes(&["0"]).title(0), "0");
    }
}
