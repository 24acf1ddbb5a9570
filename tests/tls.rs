//! Certificates from `eqo cert`: honest parties talk, everybody else is refused with a reason.

#![allow(clippy::unwrap_used, reason = "a broken assumption ends the test")]

use e2e::{Certificates, Ran, Server, image_folder, json_of, run_eqo, tiny_checkpoint};

/// For two clients.
fn certificates() -> Certificates {
    Certificates::new(&["alice", "bob"])
}

/// `eqo infer` of one image with these options.
fn infer(server: &Server, options: &[String]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let image = image_folder(folder.path(), &tiny_checkpoint(), 1).remove(0);
    let arguments = ["infer", "--json", "--timeout", "10", "--server", &server.address].map(String::from);
    let image = [image.display().to_string()];
    run_eqo(arguments.iter().chain(options).chain(&image))
}

#[test]
fn a_client_with_a_certificate_is_answered_and_one_without_takes_no_session() {
    let ours = certificates();
    let server = ours.serve("server", &["--sessions", "1", "--concurrent", "1"]);
    // Connected and silent.
    let _idle: Vec<_> = (0..3).map(|_| std::net::TcpStream::connect(&server.address).unwrap()).collect();
    infer(&server, &["--insecure-plaintext".into()]).refused(4, &[]);
    let ran = infer(&server, &ours.options("alice"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let (code, said) = server.wait();
    assert!(code == 0 && said.contains("no TLS handshake"), "{said}");
}

#[test]
fn only_clients_on_the_list_are_answered() {
    let ours = certificates();
    let alice = ours.fingerprint(1);
    let server = ours.serve("server", &["--sessions", "1", "--allow", alice]);
    infer(&server, &ours.options("bob")).refused(4, &["its refusal", "CertificateUnknown"]);
    assert_eq!(infer(&server, &ours.options("alice")).code, 0);
    let (_, said) = server.wait();
    let bob = ours.fingerprint(2);
    assert!(said.contains("isn't on the list") && said.contains(bob), "{said}");
}

#[test]
fn parties_of_different_authorities_refuse_each_other() {
    let (ours, theirs) = (certificates(), certificates());
    let server = ours.serve("server", &["--sessions", "1"]);
    infer(&server, &theirs.options("alice")).refused(4, &["didn't sign"]);
}

#[test]
fn a_server_of_another_name_is_refused_unless_it_is_asked_for() {
    let ours = Certificates::of_server(&["models.example"], &["client"]);
    let server = ours.serve("server", &["--sessions", "1"]);
    infer(&server, &ours.options("client")).refused(4, &["another name"]);
    let mut options = ours.options("client");
    options.extend(["--tls-name".into(), "models.example".into()]);
    let ran = infer(&server, &options);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

#[test]
fn a_clients_certificate_serves_nobody() {
    let ours = certificates();
    let server = ours.serve("alice", &[]);
    let mut options = ours.options("bob");
    options.extend(["--tls-name".into(), "alice".into()]);
    infer(&server, &options).refused(4, &["the other kind of party"]);
}

#[test]
fn plaintext_needs_to_be_asked_for_and_an_address_of_this_machine() {
    let tiny = tiny_checkpoint();
    let serve = |options: &[&str]| run_eqo(["serve", tiny.to_str().unwrap()].iter().chain(options));
    serve(&["--listen", "127.0.0.1:0"]).refused(2, &["--insecure-plaintext", "eqo cert"]);
    serve(&["--listen", "0.0.0.0:0", "--insecure-plaintext"])
        .refused(2, &["0.0.0.0:0", "address of this machine"]);
    run_eqo(["infer", "--server", "127.0.0.1:1", "a.png"]).refused(2, &["--insecure-plaintext"]);
    run_eqo(["infer", "--server", "127.0.0.1:1", "--tls-cert", "a.pem", "a.png"]).refused(2, &["--tls-key"]);
}

#[cfg(unix)]
#[test]
fn keys_are_readable_by_their_owner_only_and_nothing_is_overwritten() {
    use std::os::unix::fs::PermissionsExt;

    let ours = certificates();
    for key in ["ca.key", "server.key", "alice.key"] {
        let mode = std::fs::metadata(ours.path().join(key)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
    let again = json_of([
        "cert",
        "--json",
        "--out",
        ours.path().to_str().unwrap(),
        "--client",
        "alice",
        "--client",
        "carol",
    ]);
    let [alice, carol] = [1, 2].map(|index| &again["certificates"][index]);
    assert_eq!(alice["fingerprint"], ours.fingerprint(1));
    assert_eq!((&alice["new"], &carol["new"]), (&false.into(), &true.into()));
    // The old authority signed the new certificate.
    let server = ours.serve("server", &["--sessions", "1"]);
    assert_eq!(infer(&server, &ours.options("carol")).code, 0);
    run_eqo(["cert", "--out", ours.path().to_str().unwrap(), "--client", "../up"]).refused(2, &["../up"]);
    std::fs::remove_file(ours.path().join("alice.key")).unwrap();
    run_eqo(["cert", "--out", ours.path().to_str().unwrap(), "--client", "alice"]).refused(3, &["alice.pem"]);
    let missing = ["--tls-cert", "a.pem", "--tls-key", "a.key", "--tls-ca", "ca.pem", "a.png"];
    run_eqo(["infer", "--server", "127.0.0.1:1"].iter().chain(&missing)).refused(3, &["a.pem", "eqo cert"]);
}

#[test]
fn what_is_kept_is_checked_and_a_key_of_another_authority_signs_nothing() {
    let ours = certificates();
    let out = ours.path().to_str().unwrap();
    let cert = |more: &[&str]| run_eqo(["cert", "--out", out].iter().chain(more));
    assert_eq!(cert(&[]).code, 0, "no name is asked for, and the server has two");
    assert_eq!(cert(&["--server", "127.0.0.1"]).code, 0);
    cert(&["--server", "elsewhere"])
        .refused(3, &["server.pem", "another name than elsewhere", "a new one is made"]);
    let other = certificates();
    for file in ["alice.pem", "alice.key"] {
        std::fs::copy(other.path().join(file), ours.path().join(file)).unwrap();
    }
    cert(&["--client", "alice"]).refused(3, &["alice.pem", "didn't sign"]);
    std::fs::copy(other.path().join("ca.key"), ours.path().join("ca.key")).unwrap();
    cert(&["--client", "dave"]).refused(3, &["ca.key", "the key of another certificate"]);
    assert!(!ours.path().join("dave.pem").exists());
}
