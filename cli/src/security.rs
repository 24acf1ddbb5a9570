//! From options to TLS, or to plaintext where that is harmless.

use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs};

use eqo_protocol::Error;
use eqo_protocol::transport::{self, Channel, Fingerprint, Security, TlsClient, TlsServer, TransportConfig};
use tokio::runtime::Handle;

use crate::args::CredentialArgs;
use crate::exit::{Failure, Kind};

/// How a server that listens on `address` talks to its clients, and the address to listen on.
pub(crate) fn server(
    args: &CredentialArgs,
    allow: &[Fingerprint],
    address: &str,
) -> Result<(Security, String), Failure> {
    let Some(files) = args.files() else {
        let local = plaintext_addresses(args, address)?;
        return Ok((Security::Plaintext, local[0].to_string()));
    };
    let allowed = (!allow.is_empty()).then(|| allow.iter().copied().collect::<BTreeSet<_>>());
    Ok((Security::Tls(TlsServer::new(&files, allowed)?), address.to_owned()))
}

/// What connects to the server at `address`, whose certificate must be for `name`, or for the address's host: at first, and again
/// when a connection breaks.
pub(crate) fn dialer(
    args: &CredentialArgs,
    (address, name): (&str, Option<&str>),
    runtime: &Handle,
    config: TransportConfig,
) -> Result<Box<Dialer>, Failure> {
    let runtime = runtime.clone();
    if let Some(files) = args.files() {
        let tls = TlsClient::new(&files, name.unwrap_or_else(|| host(address)))?;
        let address = address.to_owned();
        return Ok(Box::new(move || transport::connect_tls(&address, &tls, &runtime, config)));
    }
    let local = plaintext_addresses(args, address)?;
    let (last, others) = local.split_last().ok_or_else(|| unresolved(address, "no address"))?;
    let (last, others) = (last.to_string(), others.to_vec());
    Ok(Box::new(move || {
        let found =
            others.iter().find_map(|other| transport::connect(&other.to_string(), &runtime, config).ok());
        found.map_or_else(|| transport::connect(&last, &runtime, config), Ok)
    }))
}

/// Makes connections.
pub(crate) type Dialer = dyn FnMut() -> Result<Channel, Error>;

/// What `address` stands for: at least one address, all of this machine. They are used as they were checked, so that a name can't
/// mean something else later.
fn plaintext_addresses(args: &CredentialArgs, address: &str) -> Result<Vec<SocketAddr>, Failure> {
    if !args.insecure_plaintext {
        let next = "make certificates with `eqo cert` and pass --tls-cert, --tls-key and --tls-ca, or --insecure-plaintext \
                    between two processes of one machine";
        return Err(Failure::new(
            Kind::Usage,
            format!("{address}: expected certificates, found none; {next}"),
        ));
    }
    let found: Vec<SocketAddr> =
        address.to_socket_addrs().map_err(|error| unresolved(address, &error))?.collect();
    if found.is_empty() {
        return Err(unresolved(address, "no address"));
    }
    match found.iter().find(|address| !address.ip().is_loopback()) {
        None => Ok(found),
        Some(other) => Err(Failure::new(
            Kind::Usage,
            format!(
                "{address}: expected an address of this machine for --insecure-plaintext, found {other}, which others can \
                 reach; use TLS: make certificates with `eqo cert`"
            ),
        )),
    }
}

fn unresolved(address: &str, found: impl std::fmt::Display) -> Failure {
    let next = "give host:port of this machine, such as 127.0.0.1:7000";
    Failure::new(Kind::Peer, format!("{address}: expected an address, found: {found}; {next}"))
}

/// `host` of `host:port`, without the brackets of an IPv6 address.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_what_stands_before_the_port() {
        for (address, expected) in [
            ("a.example:7000", "a.example"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("[::1]:7000", "::1"),
            ("bare", "bare"),
        ] {
            assert_eq!(host(address), expected);
        }
    }
}
