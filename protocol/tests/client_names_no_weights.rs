//! The client's modules can't reach the server's weights (DESIGN §1): they don't even name them.

use std::fs;
use std::path::Path;

#[test]
fn client_code_names_neither_weights_nor_checkpoints_nor_the_server_side() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in [
        "session/client.rs",
        "layers/client.rs",
        "layers/linear.rs",
        "layers.rs",
        "gates/requantize/client.rs",
        "gates/requantize.rs",
    ] {
        let text = fs::read_to_string(source.join(file)).unwrap_or_default();
        assert!(!text.is_empty(), "{file} is missing");
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code.filter(|line| !line.starts_with("pub use") && !line.starts_with("mod ")) {
            for name in ["Weights", "weights::", "Checkpoint", "ServerMaterial", "server::"] {
                assert!(!line.contains(name), "{file}: {line}");
            }
        }
    }
}
