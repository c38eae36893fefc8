//! Procedural macros of the glommio runtime. None is public yet: `#[glommio::main]`,
//! `#[glommio::test]` and `select!` will live here.
