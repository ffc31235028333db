//! dlbc
