//! How many cases a test with made-up input tries, and which.

use proptest::{prelude::ProptestConfig, test_runner::RngSeed};

/// So many cases, or as many as `PROPTEST_CASES` says, and the same ones in each run: what a change breaks
/// must fail for whoever made it, and not by chance for somebody else. `PROPTEST_RNG_SEED` gives others.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    let is_set = |variable| std::env::var_os(variable).is_some();
    let mut config = ProptestConfig::default();
    if !is_set("PROPTEST_CASES") {
        config.cases = cases;
    }
    if !is_set("PROPTEST_RNG_SEED") {
        config.rng_seed = RngSeed::Fixed(448);
    }
    config
}
