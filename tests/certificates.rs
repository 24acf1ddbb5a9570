//! Certificates of one authority, as people make them.

use std::fs;
use std::path::Path;

use eqo_protocol::transport::Credentials;
use serde_json::Value;
use tempfile::TempDir;

use crate::{Server, json_of, tiny_checkpoint};

/// A folder that `eqo cert` filled; it ends with the value.
pub struct Certificates {
    folder: TempDir,
    made: Value,
}

impl Certificates {
    /// For a server of localhost and 127.0.0.1, and these clients.
    pub fn new(clients: &[&str]) -> Self {
        Self::of_server(&["localhost", "127.0.0.1"], clients)
    }

    /// For a server of these names.
    pub fn of_server(names: &[&str], clients: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("the system has room");
        let mut arguments = vec!["cert", "--json", "--out", folder.path().to_str().expect("it is UTF-8")];
        names.iter().for_each(|name| arguments.extend(["--server", name]));
        clients.iter().for_each(|client| arguments.extend(["--client", client]));
        let made = json_of(arguments);
        Self { folder, made }
    }

    /// Where they are.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The fingerprint that `eqo cert` told: 0 is the server's certificate, the clients' follow.
    pub fn fingerprint(&self, index: usize) -> &str {
        self.made["certificates"][index]["fingerprint"].as_str().expect("one for each party")
    }

    /// What a file of them holds.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).expect("it was made")
    }

    /// A party's files.
    pub fn of(&self, party: &str) -> Credentials {
        let file = |name: &str| self.path().join(name);
        Credentials {
            certificate: file(&format!("{party}.pem")),
            key: file(&format!("{party}.key")),
            authority: file("ca.pem"),
        }
    }

    /// The options that name a party's files.
    pub fn options(&self, party: &str) -> Vec<String> {
        let Credentials { certificate, key, authority } = self.of(party);
        let named = [("--tls-cert", certificate), ("--tls-key", key), ("--tls-ca", authority)];
        named.into_iter().flat_map(|(name, file)| [name.to_owned(), file.display().to_string()]).collect()
    }

    /// Serves the tiny checkpoint as this party.
    pub fn serve(&self, party: &str, more: &[&str]) -> Server {
        let files = self.options(party);
        let options: Vec<&str> = files.iter().map(String::as_str).chain(more.iter().copied()).collect();
        Server::start(&tiny_checkpoint(), &options)
    }
}
