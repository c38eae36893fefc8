//! Types that do not go together in `select!`.

use std::future::ready;

use glommio::select;

// The compiler's messages show line numbers, which are best of one width.

async fn condition_that_is_none() {
    select! {
        _ = ready(1), if 1 => {}
    }
}

async fn handlers_of_different_types() {
    let _ = select! {
        _ = ready(1) => 1,
        _ = ready(1) => "one",
    };
}

fn main() {}
