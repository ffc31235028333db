//! Notes: choices that an operation made for the caller, and warnings.

use std::any::Any;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::remedy::Remedy;

/// Importance of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Choice that the operation made, such as resizing a picture.
    Note,
    /// Warning that the caller should look at.
    Warning,
}

/// Note on an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Importance of the note.
    pub level: Level,
    /// Text of the note.
    pub text: String,
    /// Setting of the call that changes the choice, if there is one.
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

/// Receiver of notes, called as they arise.
pub trait Notes {
    /// Receives a note.
    fn receive(&self, note: Note);

    /// Receives the start of a step that may take seconds; the returned value is dropped when the step ends.
    fn start(&self, _activity: &str) -> Box<dyn Any> {
        Box::new(())
    }
}

impl dyn Notes + '_ {
    /// Notes a choice that the operation made.
    pub fn note(&self, text: impl Into<String>) {
        self.receive(Note { level: Level::Note, text: text.into(), remedy: None });
    }

    /// Notes a choice that the operation made, and the setting that changes it.
    pub fn note_with(&self, text: impl Into<String>, remedy: Remedy) {
        self.receive(Note { level: Level::Note, text: text.into(), remedy: Some(remedy) });
    }

    /// Warns the caller.
    pub fn warn(&self, text: impl Into<String>) {
        self.receive(Note { level: Level::Warning, text: text.into(), remedy: None });
    }
}

/// Receiver that drops all notes and warnings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Notes for Silent {
    fn receive(&self, _: Note) {}
}

/// Receiver that collects notes in the order in which they arise.
#[derive(Debug, Default)]
pub struct Collected(Mutex<Vec<Note>>);

impl Collected {
    /// Takes the notes received so far.
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
