//! Notes: what an operation did beyond the letter of a request, and what a caller should look at.

use std::any::Any;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::remedy::Remedy;

/// Importance of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something was done beyond the letter of the request, such as a resized picture.
    Note,
    /// Something that the caller should look at.
    Warning,
}

/// A note on an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Importance of the note.
    pub level: Level,
    /// The note in words.
    pub text: String,
    /// Setting of the call that chooses otherwise, where there is one.
    pub remedy: Option<Remedy>,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.level {
            Level::Note => "note",
            Level::Warning => "warning",
        };
        write!(f, "{word}: {}", self.text)
    }
}

/// A receiver of notes, at the time when they arise.
pub trait Notes {
    /// Receives a note.
    fn receive(&self, note: Note);

    /// Called when something starts that may take seconds; the result is dropped when it ends.
    fn start(&self, _activity: &str) -> Box<dyn Any> {
        Box::new(())
    }
}

impl dyn Notes + '_ {
    /// Says what was done beyond the letter of the request.
    pub fn note(&self, text: impl Into<String>) {
        self.receive(Note { level: Level::Note, text: text.into(), remedy: None });
    }

    /// Says what was done beyond the letter of the request, and which setting chooses otherwise.
    pub fn note_with(&self, text: impl Into<String>, remedy: Remedy) {
        self.receive(Note { level: Level::Note, text: text.into(), remedy: Some(remedy) });
    }

    /// Says what the caller should look at.
    pub fn warn(&self, text: impl Into<String>) {
        self.receive(Note { level: Level::Warning, text: text.into(), remedy: None });
    }
}

/// Forgets notes, as where the same were received before; warnings are forgotten too.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Notes for Silent {
    fn receive(&self, _: Note) {}
}

/// Keeps notes in the order in which they arise.
#[derive(Debug, Default)]
pub struct Collected(Mutex<Vec<Note>>);

impl Collected {
    /// Returns the notes so far and forgets them.
    pub fn take(&self) -> Vec<Note> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Notes for Collected {
    fn receive(&self, note: Note) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_keep_their_order() {
        let collected = Collected::default();
        let notes: &dyn Notes = &collected;
        notes.note("resized");
        notes.warn("odd");
        let texts: Vec<String> = collected.take().iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["note: resized", "warning: odd"]);
        assert!(collected.take().is_empty());
    }
}
