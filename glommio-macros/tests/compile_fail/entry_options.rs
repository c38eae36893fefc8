//! Options that `#[glommio::main]` and `#[glommio::test]` do not take.

#[glommio::main(threads = 4)]
async fn unknown() {}

#[glommio::main(name = "a", name = "b")]
async fn twice() {}

#[glommio::main(cpu = 0, placement = glommio::Placement::Unbound)]
async fn placed_twice() {}

#[glommio::main(name)]
async fn without_value() {}

#[glommio::main(ring_depth =, name = "a")]
async fn without_value_in_the_middle() {}

#[glommio::main("worker")]
async fn no_option() {}

#[glommio::main(name = "a" cpu = 0)]
async fn without_comma() {}

#[glommio::test(cores = 1)]
async fn unknown_in_a_test() {}

fn main() {}
