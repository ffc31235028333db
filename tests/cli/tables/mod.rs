//! Tables and class names.

use std::fs;

use dlbc_proto::write::metadata;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::command::*;

mod classes;
mod inputs;
mod rows;
mod trees;
