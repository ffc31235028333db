//! dlbc-runtime
