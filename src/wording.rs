//! Formatting for messages: names with invisible characters escaped, numbers, sizes.

use std::borrow::Cow;
use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

/// Returns whether a character could deceive a terminal or a reader: controls, bidirectional marks, invisible ones.
fn is_deceiving(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Escapes deceiving characters of `text` as `\u{..}`.
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, is_deceiving)
}

/// Returns a path as text, escaped like [`visible`].
pub fn visible_path(path: &Path) -> String {
    visible(&path.display().to_string()).into_owned()
}

/// Escapes deceiving characters like [`visible`], except line breaks.
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && is_deceiving(c))
}

fn escaped(text: &str, wanted: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&wanted) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if wanted(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// Formats JSON on one line, with deceiving characters escaped as `\uXXXX`.
pub fn json_text(value: &impl Serialize) -> serde_json::Result<String> {
    let text = serde_json::to_string(value)?;
    if !text.contains(is_deceiving) {
        return Ok(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_deceiving(c) {
            // Outside strings there are only ASCII characters, none of them a control.
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Ok(out)
}

/// Formats a number with at most `digits` significant digits, in its shortest form.
pub fn number(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    if value == 0.0 {
        return "0".into();
    }
    let digits = digits.max(1);
    let scientific = format!("{value:.*e}", digits - 1);
    let exponent: i32 = scientific.rsplit('e').next().and_then(|e| e.parse().ok()).unwrap_or(0);
    if exponent < -4 || exponent >= digits.max(6) as i32 {
        let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        return format!("{}e{exponent}", trimmed(mantissa));
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    trimmed(&format!("{value:.decimals$}")).into()
}

fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// Formats a size in bytes with a unit.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return plural(bytes as usize, "byte");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Formats a count with its noun: `1 node`, `2 nodes`.
pub fn plural(count: usize, word: &str) -> String {
    let ending = match word.ends_with(['s', 'x']) {
        _ if count == 1 => "",
        true => "es",
        false => "s",
    };
    format!("{count} {word}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_bidirectional_marks_are_spelled_out() {
        assert_eq!(visible("conv1/weight é"), "conv1/weight é");
        assert_eq!(visible("a\u{1b}[2Jb\u{202e}c\n"), "a\\u{1b}[2Jb\\u{202e}c\\u{a}");
        assert_eq!(visible_lines("a\nb\r"), "a\nb\\u{d}");
    }

    #[test]
    fn json_stays_json() {
        let text = json_text(&"a\u{202e}\u{7f}\u{e0001}\n").unwrap();
        assert_eq!(text, r#""a\u202e\u007f\udb40\udc01\n""#);
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), "a\u{202e}\u{7f}\u{e0001}\n");
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (100.0, "100"),
            (-1.5, "-1.5"),
            (0.000123456, "0.00012346"),
            (1.0e-7, "1e-7"),
            (123456.7, "123457"),
            (12345678.0, "1.2346e7"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(number(value, 5), text);
        }
        assert_eq!(
            (size(1), size(1023), size(1536), size(5 << 30)),
            ("1 byte".into(), "1023 bytes".into(), "1.5 KiB".into(), "5.0 GiB".into())
        );
    }
}
