//! What must not compile, and what the compiler says then: the mistakes that the macros name, and
//! the misuse of handles that types keep out.
//!
//! It stands here and not in `glommio/tests` because each program is compiled with everything that the
//! tests of its crate depend on, which is little here.
//!
//! Each file in `compile_fail/` is a program with its expected messages beside it, chosen so that the
//! oldest supported compiler and newer ones write the same. To accept new ones:
//! `TRYBUILD=overwrite cargo test -p glommio-macros --test compile_fail`, and read the difference.

#[test]
fn mistakes_are_named() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
