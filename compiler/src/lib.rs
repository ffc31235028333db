//! dlbc-compiler
