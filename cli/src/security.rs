//! From options to TLS, or to plaintext where that is harmless.

use std::collections::BTreeSet;
use std::net::ToSocketAddrs;

use eqo_protocol::transport::{self, Channel, Fingerprint, Security, TlsClient, TlsServer, TransportConfig};
use tokio::runtime::Handle;

use crate::args::CredentialArgs;
use crate::exit::{Failure, Kind};

/// How a server that listens on `address` talks to its clients.
pub(crate) fn server(
    args: &CredentialArgs,
    allow: &[Fingerprint],
    address: &str,
) -> Result<Security, Failure> {
    let Some(files) = args.files() else {
        allow_plaintext(args, address)?;
        return Ok(Security::Plaintext);
    };
    let allowed = (!allow.is_empty()).then(|| allow.iter().copied().collect::<BTreeSet<_>>());
    Ok(Security::Tls(TlsServer::new(&files, allowed)?))
}

/// Connects to the server at `address`, whose certificate must be for `name`, or for the address's host.
pub(crate) fn connect(
    args: &CredentialArgs,
    (address, name): (&str, Option<&str>),
    runtime: &Handle,
    config: TransportConfig,
) -> Result<Channel, Failure> {
    let Some(files) = args.files() else {
        allow_plaintext(args, address)?;
        return Ok(transport::connect(address, runtime, config)?);
    };
    let tls = TlsClient::new(&files, name.unwrap_or_else(|| host(address)))?;
    Ok(transport::connect_tls(address, &tls, runtime, config)?)
}

fn allow_plaintext(args: &CredentialArgs, address: &str) -> Result<(), Failure> {
    if !args.insecure_plaintext {
        let next = "make certificates with `eqo cert` and pass --tls-cert, --tls-key and --tls-ca, or --insecure-plaintext \
                    between two processes of one machine";
        return Err(Failure::new(
            Kind::Usage,
            format!("{address}: expected certificates, found none; {next}"),
        ));
    }
    let local = address.to_socket_addrs().map(|mut found| found.all(|address| address.ip().is_loopback()));
    match local {
        // An address that can't be resolved fails where it is used, with the system's reason.
        Ok(true) | Err(_) => Ok(()),
        Ok(false) => {
            let next = "use TLS: make certificates with `eqo cert`";
            let found = "an address that others can reach";
            Err(Failure::new(
                Kind::Usage,
                format!(
                    "{address}: expected an address of this machine for --insecure-plaintext, found {found}; {next}"
                ),
            ))
        }
    }
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
