//! Parts of texts that do not reach the model: truncated, dropped by the tokenizer, or unknown to it.

use tokenizers::Encoding;
use unicode_width::UnicodeWidthChar;

use super::texts::{Loss, Texts};
use crate::error::{Error, Result};
use crate::notes::Notes;
use crate::wording::{plural, visible};

/// Largest number of texts and parts that a note quotes.
const QUOTED: usize = 3;

/// Largest number of characters of a quotation.
const QUOTE: usize = 24;

impl Loss {
    /// Compares the untruncated encoding of a text with the one that the model receives. `unknown` is the id of the unknown token.
    pub fn new(text: &str, untruncated: &Encoding, encoded: &Encoding, unknown: Option<u32>) -> Loss {
        let mut covered = vec![false; text.len()];
        let count = |e: &Encoding| e.get_attention_mask().iter().filter(|m| **m == 1).count();
        for (start, end) in untruncated.get_offsets() {
            covered[(*start).min(text.len())..(*end).min(text.len())].fill(true);
        }
        let tokens =
            encoded.get_ids().iter().zip(encoded.get_offsets()).zip(encoded.get_special_tokens_mask());
        let unknown = tokens.filter(|((id, _), special)| **special == 0 && Some(**id) == unknown);
        Loss {
            tokens: count(untruncated),
            cut: count(untruncated).saturating_sub(count(encoded)),
            dropped: dropped(text, &covered),
            unknown: unknown
                .filter_map(|((_, (start, end)), _)| text.get(*start..*end))
                .map(str::to_string)
                .collect(),
        }
    }
}

/// Returns the stretches of characters that no token covers. Spaces, control characters and marks without width are ignored.
fn dropped(text: &str, covered: &[bool]) -> Vec<String> {
    let mut parts: Vec<String> = vec![];
    let mut open = false;
    for (at, c) in text.char_indices() {
        let uncovered = !covered[at];
        let counts = !c.is_whitespace() && c.width().unwrap_or(0) > 0;
        match (uncovered && counts, parts.last_mut().filter(|_| open)) {
            (true, Some(part)) => part.push(c),
            (true, None) => parts.push(c.into()),
            _ => {}
        }
        open = uncovered && (counts || open && !c.is_whitespace());
    }
    parts
}

impl Texts {
    /// Refuses texts without anything to explain.
    ///
    /// # Errors
    /// When a text is empty or has no token; the error names the first such text.
    pub fn refuse_empty(&self) -> Result<()> {
        for (i, text) in self.texts.iter().enumerate() {
            if text.trim().is_empty() {
                return Err(Error::invalid(format!(
                    "{} is empty: expected at least one token",
                    self.names[i]
                )));
            }
            if self.tokens[i].iter().all(|t| t.padding) {
                let text = quoted(text);
                return Err(Error::invalid(format!(
                    "{} has no token: the tokenizer `{}` knows no part of {text}",
                    self.names[i],
                    self.tokenizer.display()
                )));
            }
        }
        Ok(())
    }

    /// Notes the parts of the texts that do not reach the model.
    pub fn note_losses(&self, notes: &dyn Notes) {
        let all = || self.losses.iter().enumerate();
        let cut: Vec<(usize, &Loss)> = all().filter(|(_, loss)| loss.cut > 0).collect();
        for (i, loss) in cut.iter().take(QUOTED) {
            let remaining = loss.tokens - loss.cut;
            notes.note(format!(
                "{} is cut to {remaining} tokens: the model sees {remaining} of {} tokens; the rest is left out",
                self.names[*i], loss.tokens
            ));
        }
        if cut.len() > QUOTED {
            notes.note(format!("{} more are cut likewise", plural(cut.len() - QUOTED, "text")));
        }
        let nothing = |i: usize| !self.tokens[i].iter().any(|t| t.is_of_text() && !t.unknown);
        for (i, _) in all().filter(|(i, _)| nothing(*i)).take(QUOTED) {
            let known = self.tokens[i].iter().filter(|t| !t.padding).map(|t| visible(&t.text));
            let mut known: Vec<String> = known.map(Into::into).collect();
            known.dedup();
            notes.note(format!(
                "nothing of {} became a token of the vocabulary: the tokenizer knows no part of {}; {} is left",
                self.names[i],
                quoted(&self.texts[i]),
                known.join(" ")
            ));
        }
        self.note_parts(
            notes,
            "no part of any token",
            |i, loss| if nothing(i) { &[] } else { &loss.dropped },
        );
        self.note_parts(
            notes,
            "unknown to the tokenizer",
            |i, loss| if nothing(i) { &[] } else { &loss.unknown },
        );
    }

    /// Emits one note for a kind of lost parts in all texts.
    fn note_parts<'a>(
        &'a self,
        notes: &dyn Notes,
        verb: &str,
        parts: impl Fn(usize, &'a Loss) -> &'a [String],
    ) {
        let losses = self.losses.iter().enumerate();
        let all: Vec<(usize, &String)> =
            losses.flat_map(|(i, loss)| parts(i, loss).iter().map(move |p| (i, p))).collect();
        if all.is_empty() {
            return;
        }
        let mut listed: Vec<String> = all
            .iter()
            .take(QUOTED)
            .map(|(i, part)| format!("{} of {}", quoted(part), self.names[*i]))
            .collect();
        if all.len() > QUOTED {
            listed.push(plural(all.len() - QUOTED, "more part"));
        }
        notes.note(format!("{verb}, so the model does not see it: {}", listed.join(", ")));
    }
}

/// Quotes the beginning of a text.
fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(QUOTE).collect();
    if short.len() < text.len() {
        short.push_str("..");
    }
    format!("`{}`", visible(&short))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_without_a_token() {
        let text = "a \u{1f60d}\u{1f60d} b \u{200b}c\u{e9}";
        let mut covered = vec![true; text.len()];
        covered[1..12].fill(false);
        covered[text.len() - 2..].fill(false);
        assert_eq!(dropped(text, &covered), ["\u{1f60d}\u{1f60d}", "b", "\u{e9}"]);
    }
}
