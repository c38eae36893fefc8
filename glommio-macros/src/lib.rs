//! Procedural macros of the glommio runtime. Use them through `glommio`, which re-exports and
//! documents them.
//!
//! - `entry`: `#[glommio::main]` and `#[glommio::test]`; `options` is what stands in their parentheses
//! - `select`: `glommio::select!`
//!
//! What they expand to is kept small: it calls `glommio::macro_support`, which is hidden and may
//! change with every release, as this crate may.
#![allow(
    missing_docs,
    reason = "documented where the crate glommio re-exports them"
)]

mod entry;
mod options;
mod select;

use entry::Entry;
use proc_macro::TokenStream;

#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    Entry::Main.expand(options.into(), item.into()).into()
}

#[proc_macro_attribute]
pub fn test(options: TokenStream, item: TokenStream) -> TokenStream {
    Entry::Test.expand(options.into(), item.into()).into()
}

/// What `glommio::select!` calls, with its `$crate` in front.
#[proc_macro]
pub fn select(input: TokenStream) -> TokenStream {
    select::expand(input.into()).into()
}
