//! Reference kernels.
