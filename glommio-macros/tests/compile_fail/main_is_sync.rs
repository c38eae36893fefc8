#[glommio::main]
fn main() {
    println!("not async");
}
