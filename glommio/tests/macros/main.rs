//! The macros of the crate's root, as their users see them. What they say about mistakes is in
//! `compile_fail.rs`.

mod entry;
mod select;
