//! Parsers for the values of flags.

use std::str::FromStr;

use dlbc::nearest::suggested;

/// Parses an input's shape, `NAME=1,3,224,224`; -1 or `?` leaves a dimension open.
pub fn shape(text: &str) -> Result<(String, Vec<i64>), String> {
    let (name, dims) = text.split_once('=').ok_or("expected NAME=1,3,224,224")?;
    let dim = |d: &str| match d.trim() {
        "?" | "-1" => Ok(-1),
        d => match d.parse::<i64>() {
            Ok(n) if n >= 0 => Ok(n),
            _ => Err(format!("invalid dimension `{d}`: expected a whole number, or ? for an open one")),
        },
    };
    let dims = if dims.is_empty() { vec![] } else { dims.split(',').map(dim).collect::<Result<_, _>>()? };
    if name.is_empty() { Err("expected NAME=1,3,224,224".into()) } else { Ok((name.into(), dims)) }
}

/// Parses a finite number.
pub fn finite(text: &str) -> Result<f64, String> {
    text.trim()
        .parse()
        .ok()
        .filter(|v: &f64| v.is_finite())
        .ok_or_else(|| "expected a finite number".to_string())
}

/// Parses a finite number other than zero.
pub fn nonzero(text: &str) -> Result<f64, String> {
    finite(text).and_then(|v| if v == 0.0 { Err("expected a number other than 0".into()) } else { Ok(v) })
}

/// Parses a finite number above zero.
pub fn positive_number(text: &str) -> Result<f64, String> {
    finite(text).and_then(|v| if v > 0.0 { Ok(v) } else { Err("expected a number above 0".into()) })
}

/// Parses a number of bytes: `1000`, `512MiB`, `2G`.
pub fn bytes(text: &str) -> Result<u64, String> {
    let bad = || "expected a size such as 1000, 512MiB or 2GiB".to_string();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(bad()),
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift)).ok_or_else(bad)
}

/// Device of `--device`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The device that the runtime chooses.
    Auto,
    /// The processor.
    Cpu,
    /// Reference kernels in float64 on the processor, slow.
    Reference,
    /// An NVIDIA GPU by number.
    Cuda(u32),
}

impl FromStr for Device {
    type Err = String;
    fn from_str(text: &str) -> Result<Device, String> {
        let cuda = text.strip_prefix("cuda");
        match (text, cuda) {
            ("auto", _) => Ok(Device::Auto),
            ("cpu", _) => Ok(Device::Cpu),
            ("reference", _) => Ok(Device::Reference),
            (_, Some("")) => Ok(Device::Cuda(0)),
            (_, Some(rest)) => match rest.strip_prefix(':').and_then(|n| n.parse().ok()) {
                Some(n) => Ok(Device::Cuda(n)),
                None => Err("expected a GPU by number, such as cuda:0".into()),
            },
            ("gpu", _) => Err("expected auto, cpu, cuda, cuda:1 or reference; a GPU is `cuda`".into()),
            _ => {
                let known = ["auto", "cpu", "cuda", "reference"];
                Err(suggested("expected auto, cpu, cuda, cuda:1 or reference", text, known))
            }
        }
    }
}

/// Tensors whose relevance is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The model's inputs.
    Inputs,
    /// Every tensor that carries relevance.
    All,
    /// The model's inputs and the named tensors.
    Names(Vec<String>),
}

impl FromStr for Keep {
    type Err = String;
    fn from_str(text: &str) -> Result<Keep, String> {
        match text {
            "inputs" => Ok(Keep::Inputs),
            "all" => Ok(Keep::All),
            _ => {
                let names: Vec<String> = text.split(',').filter(|n| !n.is_empty()).map(Into::into).collect();
                if names.is_empty() {
                    Err("expected inputs, all or names of tensors".into())
                } else {
                    Ok(Keep::Names(names))
                }
            }
        }
    }
}

/// Parses a whole number above 0.
pub(super) fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "expected a whole number above 0".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(bytes("1000"), Ok(1000));
        assert_eq!(bytes("2GiB"), Ok(2 << 30));
        assert_eq!(bytes("512m"), Ok(512 << 20));
        for text in ["", "-1", "1.5G", "GiB", "1X", "99999999T"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn devices_and_shapes() {
        assert_eq!("auto".parse(), Ok(Device::Auto));
        assert_eq!("cuda:2".parse(), Ok(Device::Cuda(2)));
        assert!("cuda2".parse::<Device>().is_err());
        assert_eq!(shape("x=1,?,224"), Ok(("x".into(), vec![1, -1, 224])));
        assert_eq!(shape("s="), Ok(("s".into(), vec![])));
        assert!(shape("x").is_err() && shape("=1").is_err() && shape("x=-2").is_err());
    }
}
