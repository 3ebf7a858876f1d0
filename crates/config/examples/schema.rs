//! Prints the JSON Schema: `cargo run -p tapline-config --example schema > docs/tapline.schema.json`

use std::io::{self, Write};

fn main() -> io::Result<()> {
    io::stdout().write_all(tapline_config::json_schema().as_bytes())
}
