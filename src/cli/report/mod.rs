//! Texts, tables, notes and drawings of the commands.

pub mod difference;
pub mod evaluation;
pub mod experts;
pub mod features;
pub mod forward;
pub mod modules;
pub mod pictures;
pub mod provenance;
pub mod reading;
pub mod several;
pub mod stages;
pub mod start;
pub mod summary;
pub mod tokens;
