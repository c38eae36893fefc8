//! Functions that `#[glommio::main]` and `#[glommio::test]` cannot run.

#[glommio::main]
fn sync() {}

#[glommio::main]
async fn with_arguments(first: u8, _second: &str) -> u8 {
    first
}

#[glommio::main]
async fn generic<T: Default>() -> T {
    T::default()
}

#[glommio::main]
async fn with_a_where_clause()
where
    String: Clone,
{
}

#[glommio::main]
async unsafe fn promises_something() {}

#[glommio::main]
async extern "C" fn of_another_language() {}

#[glommio::main]
struct NoFunction;

#[glommio::main]
const NO_FUNCTION_EITHER: u8 = 0;

trait Without {
    #[glommio::main]
    async fn body();
}

#[glommio::test]
fn sync_test() {}

#[glommio::test]
#[test]
async fn test_of_a_test() {}

fn main() {}
