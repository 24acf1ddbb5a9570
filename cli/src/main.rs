//! The `eqo` command.
fn main() {}
