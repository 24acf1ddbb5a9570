//! Sessions that go on over a second connection.

use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::testing::random_image;
use eqo_protocol::Error;
use eqo_protocol::ot::OtKind;
use eqo_protocol::session::client::{Client, ClientConfig, connect};
use eqo_protocol::session::server::{Greeting, Return, ServerConfig, Session};
use eqo_protocol::session::{Parking, ParkingConfig};
use eqo_protocol::testing::{Faulty, Wire, faulty_pair};
use eqo_protocol::transport::{Channel, TransportConfig};

use crate::{HEADER, Said, Transcript, channel, over, runtime};

/// Bytes of a ticket, with which greeting and welcome end.
const TICKET: usize = eqo_checkpoints::cost::TICKET_BYTES;

const KIND: OtKind = OtKind::SoftSpoken8;

/// What honest parties say on one connection.
#[derive(Clone, Default)]
pub struct Connection {
    /// The server.
    pub server: Transcript,
    /// The client.
    pub client: Transcript,
}

/// A server and what it keeps of broken connections.
pub struct Server<'c> {
    checkpoint: &'c Checkpoint,
    parking: Parking,
}

impl<'c> Server<'c> {
    /// One that keeps nothing yet.
    pub fn new(checkpoint: &'c Checkpoint) -> Self {
        Self { checkpoint, parking: Parking::new(ParkingConfig::default()) }
    }

    /// Serves a connection to its end.
    ///
    /// # Errors
    /// Those of the session.
    pub fn serve(&self, channel: Channel) -> Result<(), Error> {
        let back = Return { parking: &self.parking, client: b"the client" };
        let mut session = Session::accept_or_resume(
            Greeting::recv(channel)?,
            self.checkpoint,
            &ServerConfig::default(),
            back,
        )?;
        while session.serve()? {}
        Ok(())
    }

    /// Serves a client that says `first` and leaves; the ticket that it could come back with.
    pub fn left_by(&self, first: &[u8]) -> Option<Vec<u8>> {
        let said = Said::new(first.to_vec());
        let answers = said.answers.clone();
        let _ = self.serve(over(said));
        let answers = answers.lock().expect("nobody panics with it");
        let length = u32::from_le_bytes(answers.get(..4)?.try_into().ok()?) as usize;
        answers.get(HEADER + length - TICKET..HEADER + length).map(<[u8]>::to_vec)
    }
}

/// The same words with another ticket in their greeting.
pub fn with_ticket(mut client: Transcript, ticket: &[u8]) -> Transcript {
    if let Some(place) = client.first_mut().and_then(|hello| hello.last_chunk_mut::<TICKET>()) {
        place.copy_from_slice(ticket);
    }
    client
}

/// A client that has heard `first`, with one inference prepared.
///
/// # Errors
/// Those of the session.
pub fn client_after(first: Channel) -> Result<Client, Error> {
    let mut client = connect(first, &ClientConfig { ot: KIND, ..ClientConfig::default() })?;
    client.prepare(1)?;
    Ok(client)
}

/// It comes back, uses what it has prepared, and prepares more.
///
/// # Errors
/// Those of the session.
pub fn come_back(client: &mut Client, checkpoint: &Checkpoint, second: Channel) -> Result<(), Error> {
    client.resume(second)?;
    client.infer(&[random_image(1, checkpoint)])?;
    client.prepare(1)
}

/// What honest parties say on the connection that breaks and on the one after it.
pub fn honest(checkpoint: &Checkpoint) -> [Connection; 2] {
    let server = Server::new(checkpoint);
    let config = TransportConfig::default();
    let mut connections = [Connection::default(), Connection::default()];
    let mut client = None;
    for connection in &mut connections {
        let Faulty { server: at_server, client: at_client, relay } =
            faulty_pair(&Wire::Plaintext, &[], runtime(), config);
        let said = [at_server.said(), at_client.said()];
        let [at_server, at_client] = [at_server, at_client].map(|end| end.open().expect("a pipe opens"));
        std::thread::scope(|scope| {
            scope.spawn(|| server.serve(at_server));
            match client.as_mut() {
                None => client = client_after(at_client).ok(),
                Some(client) => {
                    come_back(client, checkpoint, at_client).expect("the server has kept the session")
                }
            }
            // The connection breaks.
            drop(relay);
        });
        let [server, client] = said.map(|said| said.payloads());
        *connection = Connection { server, client };
    }
    assert!(client.is_some());
    check(checkpoint, &connections);
    connections
}

/// Both parties understand what was recorded.
fn check(checkpoint: &Checkpoint, [first, second]: &[Connection; 2]) {
    let server = Server::new(checkpoint);
    let ticket = server.left_by(&crate::frames(&first.client)).expect("a ticket");
    let end = server.serve(channel(crate::frames(&with_ticket(second.client.clone(), &ticket))));
    let connection = end.as_ref().is_err_and(Error::is_connection);
    assert!(connection, "all is said and the client is gone: {:?}", end.err());
    let mut client = client_after(channel(crate::frames(&first.server))).expect("a session");
    come_back(&mut client, checkpoint, channel(crate::frames(&second.server))).expect("a return");
}
