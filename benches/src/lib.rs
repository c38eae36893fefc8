//! Benchmarks of the glommio runtime.
