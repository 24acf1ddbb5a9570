//! The graph as canonical JSON: what the file holds, what the server sends and what both parties hash.

use super::{CheckedGraph, Graph};
use crate::Error;

/// Longest graph, in bytes of JSON, that is read; ResNet-50 takes less than one million.
pub const MAX_GRAPH_JSON: usize = 1 << 24;

impl Graph {
    /// Reads a graph from JSON, for example from a peer. Structure is checked by [`Graph::check`].
    ///
    /// # Errors
    /// [`Error::File`] when the JSON is too long, malformed, or has unknown, missing or duplicate fields.
    pub fn from_json(json: &[u8]) -> Result<Self, Error> {
        if json.len() > MAX_GRAPH_JSON {
            let expected = format!("at most {MAX_GRAPH_JSON} bytes of JSON");
            return Err(Error::file("graph", "size", expected, json.len(), NEXT));
        }
        serde_json::from_slice(json)
            .map_err(|error| Error::file("graph", "JSON", "a graph of format version 1", error, NEXT))
    }

    /// Canonical JSON: fields in the order of their declaration, no white space. Equal graphs give equal bytes.
    pub fn to_json(&self) -> String {
        // Serialization fails for maps with other keys than strings and for failing writers; a graph has neither.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl CheckedGraph {
    /// BLAKE3 of [`Graph::to_json`]; both parties compare it before anything else.
    pub fn graph_hash(&self) -> [u8; 32] {
        *blake3::hash(self.graph().to_json().as_bytes()).as_bytes()
    }
}

const NEXT: &str =
    "Export the checkpoint again with `eqo quantize`, or update both parties to one version of eqo.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Spec, random_checkpoint};

    #[test]
    fn json_round_trips_and_hashes_tell_graphs_apart() {
        let mut hashes = std::collections::BTreeSet::new();
        for seed in 0..20 {
            let checkpoint = random_checkpoint(seed, &Spec::random(seed));
            let graph = checkpoint.graph().graph();
            assert_eq!(&Graph::from_json(graph.to_json().as_bytes()).unwrap(), graph);
            hashes.insert(checkpoint.graph().graph_hash());
        }
        assert_eq!(hashes.len(), 20);
    }

    #[test]
    fn unknown_and_duplicate_fields_are_refused_and_named() {
        let json = random_checkpoint(1, &Spec::every_kind()).graph().graph().to_json();
        let unknown = json.replacen("\"name\"", "\"shoe\":1,\"name\"", 1);
        let duplicate = json.replacen("\"name\"", "\"name\":\"x\",\"name\"", 1);
        for (broken, word) in [(unknown, "shoe"), (duplicate, "duplicate")] {
            let error = Graph::from_json(broken.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn oversized_json_is_refused_before_parsing() {
        let error = Graph::from_json(&vec![b' '; MAX_GRAPH_JSON + 1]).unwrap_err().to_string();
        assert!(error.contains("size"), "{error}");
    }
}
