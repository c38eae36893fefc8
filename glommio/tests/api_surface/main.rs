//! Every public item by name and signature, a file for each part of the crate.
//!
//! Whether this compiles is the test: an item that is gone, or whose signature or traits have
//! changed, is a compile error here before it is one in somebody's application.
#![deny(unfulfilled_lint_expectations)]
#![allow(
    clippy::type_complexity,
    reason = "signatures are written out to be compared"
)]

/// Demands that each path is a function of exactly the given type.
macro_rules! signatures {
    ($($path:expr => $signature:ty;)*) => {
        $(const _: $signature = $path;)*
    };
}

/// Demands that each type has all of its traits.
macro_rules! implements {
    ($($subject:ty: $($bound:path),+;)*) => {
        $($(const _: fn() = || {
            fn demand<T: ?Sized + $bound>() {}
            demand::<$subject>();
        };)+)*
    };
}

/// Demands that each type lacks all of its traits: were one there, two implementations of
/// `Ambiguous` would fit and the call could not be resolved.
macro_rules! lacks {
    ($($subject:ty: $($bound:path),+;)*) => {
        $($(const _: fn() = || {
            trait Ambiguous<A> {
                fn resolve() {}
            }
            impl<T: ?Sized> Ambiguous<()> for T {}
            impl<T: ?Sized + $bound> Ambiguous<u8> for T {}
            <$subject as Ambiguous<_>>::resolve();
        };)+)*
    };
}

type Outcome<T> = glommio::Result<T, ()>;

/// Accepts a value of exactly the given type.
#[allow(dead_code, reason = "called by functions that never run")]
fn typed<T>(_: T) {}

mod channels_shared;
mod controllers;
mod extras;
mod future;
mod local_channels;
mod net_resolve;
mod net_tcp;
mod net_udp;
mod net_unix;
mod process;
mod root;
mod signal;
mod state_channels;
mod sync;
mod timer;
