//! Branches that `select!` does not understand.

use glommio::select;

async fn nothing() {
    select! {}
}

async fn only_else() {
    select! {
        else => (),
    }
}

async fn without_future() {
    select! {
        x => x,
    }
}

async fn without_handler() {
    select! {
        _ = ready(1),
    }
}

async fn with_an_empty_handler() {
    select! {
        _ = ready(1) =>
    }
}

async fn condition_in_the_wrong_place() {
    select! {
        x if true = ready(1) => x,
    }
}

async fn without_comma() {
    select! {
        x = ready(1) => x + 1
        x = ready(2) => x,
    }
}

async fn else_before_the_end() {
    select! {
        else => 0,
        x = ready(2) => x,
    }
}

async fn else_without_handler() {
    select! {
        x = ready(2) => x,
        else
    }
}

async fn biased_at_the_end() {
    select! {
        x = ready(2) => x,
        biased;
    }
}

async fn too_many() {
    macro_rules! branches {
        ($($name:ident)*) => {
            select! { $($name = ready(1) => (),)* }
        };
    }
    branches! {
        a b c d e f g h i j k l m n o p q r s t u v w x y z
        a b c d e f g h i j k l m n o p q r s t u v w x y z
        a b c d e f g h i j k l m
    }
}

fn main() {}
