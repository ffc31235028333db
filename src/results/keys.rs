//! Keys of result files. Several start with the names of program outputs; the keys are a format of their own.

use dlbc_ops::program::TrackKind;

/// Beginning of the keys of a target's tensors where a run explains several: `target/TARGET/KEY`.
const TARGET: &str = "target/";

/// Beginning of the keys of a picture's tensors where their shapes differ: `picture/NAME/KEY`.
const PICTURE: &str = "picture/";

/// Beginning of the keys of model outputs.
const OUTPUT: &str = "output/";

/// Beginnings of the keys of relevance, of each track.
const RELEVANCE: [&str; 3] = ["relevance/", "relevance_pos/", "relevance_neg/"];

/// First words of the keys whose tensors are sums, which add up over pictures.
const SUMS: [&str; 3] = ["audit", "layers", "heads"];

/// Returns the key of a model output.
pub fn output(name: &str) -> String {
    format!("{OUTPUT}{name}")
}

/// Returns the key of the relevance of a tensor, net of both tracks in contrastive mode.
pub fn relevance(tensor: &str) -> String {
    format!("{}{tensor}", RELEVANCE[0])
}

/// Returns the key of the relevance of a tensor on a track.
pub fn relevance_of(track: TrackKind, tensor: &str) -> String {
    format!("{}{tensor}", track.relevance())
}

/// Returns the key of a sum of the ledger: `start`, `inputs` or `absorbed`.
pub fn ledger_sum(track: TrackKind, sum: &str) -> String {
    format!("{}{sum}", track.ledger())
}

/// Returns the key of the ledger of a module; `suffix` is that of the track, empty or `_neg`.
pub fn module(suffix: &str, scope: &str) -> String {
    format!("layers{suffix}/{scope}")
}

/// Returns the key of the relevance of the heads of an attention; `suffix` is that of the track, empty or `_neg`.
pub fn heads(suffix: &str, node: &str) -> String {
    format!("heads{suffix}/{node}")
}

/// Returns the beginning of the keys of a target, where a run explains several.
pub fn of_target(target: &str) -> String {
    format!("{TARGET}{target}/")
}

/// Returns the key of a tensor of a picture, where the shapes of pictures differ.
pub fn of_picture(picture: &str, key: &str) -> String {
    format!("{PICTURE}{picture}/{key}")
}

/// Returns a key without its target.
fn without_target(key: &str) -> &str {
    key.strip_prefix(TARGET).and_then(|rest| rest.split_once('/')).map_or(key, |(_, rest)| rest)
}

/// Returns whether a key names relevance, of any target and track.
pub fn is_relevance(key: &str) -> bool {
    starts_with_relevance(without_target(key))
}

/// Returns whether a text starts like a key of relevance of any track.
pub fn starts_with_relevance(text: &str) -> bool {
    RELEVANCE.iter().any(|prefix| text.starts_with(prefix))
}

/// Returns whether a key names a model output.
pub fn is_output(key: &str) -> bool {
    key.starts_with(OUTPUT)
}

/// Returns whether a key names a sum that adds up over pictures.
pub fn is_sum(key: &str) -> bool {
    SUMS.iter().any(|word| key.contains(word))
}

/// Returns the name of a tensor, with its target and track where they are not those of every result.
pub fn title(key: &str) -> String {
    key.strip_prefix(RELEVANCE[0]).unwrap_or(key).to_string()
}

/// Returns the name of the input or tensor that a key is about.
pub fn tensor_of(key: &str) -> &str {
    let rest = without_target(key);
    rest.split_once('/').map_or(rest, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_relevance() {
        for key in ["relevance/x", "relevance_neg/x", "target/1-7/relevance/a/b", "target/-1/relevance_pos/x"]
        {
            assert!(is_relevance(key), "{key}");
        }
        for key in
            ["output/relevance/x", "audit/start", "target/1/audit/start", "target/relevance/x", "layers/m"]
        {
            assert!(!is_relevance(key), "{key}");
        }
        assert_eq!(title("relevance/relevance/x"), "relevance/x");
        assert_eq!(title("target/1/relevance/x"), "target/1/relevance/x");
        assert_eq!(tensor_of("target/1-7/relevance/a/b"), "a/b");
        assert_eq!(tensor_of("relevance_neg/x"), "x");
    }

    #[test]
    fn keys_are_those_of_the_format() {
        assert_eq!(output("y"), "output/y");
        assert_eq!(
            (relevance("x"), relevance_of(TrackKind::Opposing, "x")),
            ("relevance/x".into(), "relevance_neg/x".into())
        );
        assert_eq!(ledger_sum(TrackKind::Single, "start"), "audit/start");
        assert_eq!((module("_neg", "m"), heads("", "n")), ("layers_neg/m".into(), "heads/n".into()));
        assert_eq!(format!("{}{}", of_target("1"), relevance("x")), "target/1/relevance/x");
        assert_eq!(of_picture("cat", "output/y"), "picture/cat/output/y");
    }
}
