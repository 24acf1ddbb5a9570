//! What may serve only once can't serve twice: every type below is taken by value and can't be copied. Each claim has a
//! twin that compiles and differs by nothing but the second use, so that it fails for no other reason.
//!
//! # OTs with chosen choices
//!
//! ```
//! # use eqo_protocol::{Error, ot::{ChosenOts, CotShape, OfferedOts, Ots}, transport::Channel};
//! fn once(ots: &mut Ots, channel: &mut Channel, offered: OfferedOts, chosen: ChosenOts) -> Result<(), Error> {
//!     ots.offered_messages(offered, &[], |_, _| ())?;
//!     ots.cot_recv(channel, chosen, |_| CotShape { lanes: 1, bits: 8 }, |_, _| ())
//! }
//! ```
//!
//! ```compile_fail
//! # use eqo_protocol::{Error, ot::{ChosenOts, CotShape, OfferedOts, Ots}, transport::Channel};
//! fn twice(ots: &mut Ots, channel: &mut Channel, offered: OfferedOts, chosen: ChosenOts) -> Result<(), Error> {
//!     ots.offered_messages(offered, &[], |_, _| ())?;
//!     ots.offered_messages(offered, &[], |_, _| ())?;
//!     ots.cot_recv(channel, chosen, |_| CotShape { lanes: 1, bits: 8 }, |_, _| ())
//! }
//! ```
//!
//! ```compile_fail
//! # use eqo_protocol::{Error, ot::{ChosenOts, CotShape, OfferedOts, Ots}, transport::Channel};
//! fn twice(ots: &mut Ots, channel: &mut Channel, offered: OfferedOts, chosen: ChosenOts) -> Result<(), Error> {
//!     ots.offered_messages(offered, &[], |_, _| ())?;
//!     ots.cot_recv(channel, chosen, |_| CotShape { lanes: 1, bits: 8 }, |_, _| ())?;
//!     ots.cot_recv(channel, chosen, |_| CotShape { lanes: 1, bits: 8 }, |_, _| ())
//! }
//! ```
//!
//! # Prepared requantizations
//!
//! ```
//! # use eqo_protocol::{Error, gates::Party};
//! # use eqo_protocol::gates::requantize::{ClientPrepared, Requantization, ServerPrepared};
//! fn once(gate: &Requantization, party: &mut Party, server: ServerPrepared, client: ClientPrepared) -> Result<(), Error> {
//!     gate.server_run(party, server, &[])?;
//!     gate.client_run(party, client).map(drop)
//! }
//! ```
//!
//! ```compile_fail
//! # use eqo_protocol::{Error, gates::Party};
//! # use eqo_protocol::gates::requantize::{ClientPrepared, Requantization, ServerPrepared};
//! fn twice(gate: &Requantization, party: &mut Party, server: ServerPrepared, client: ClientPrepared) -> Result<(), Error> {
//!     gate.server_run(party, server, &[])?;
//!     gate.server_run(party, server, &[])?;
//!     gate.client_run(party, client).map(drop)
//! }
//! ```
//!
//! ```compile_fail
//! # use eqo_protocol::{Error, gates::Party};
//! # use eqo_protocol::gates::requantize::{ClientPrepared, Requantization, ServerPrepared};
//! fn twice(gate: &Requantization, party: &mut Party, server: ServerPrepared, client: ClientPrepared) -> Result<(), Error> {
//!     gate.server_run(party, server, &[])?;
//!     gate.client_run(party, client)?;
//!     gate.client_run(party, client).map(drop)
//! }
//! ```
//!
//! # Prepared matches
//!
//! ```
//! # use eqo_protocol::{Error, gates::Party};
//! # use eqo_protocol::gates::larger::{ClientPrepared, Larger, ServerPrepared};
//! fn once(gate: &Larger, party: &mut Party, server: ServerPrepared, client: ClientPrepared) -> Result<(), Error> {
//!     gate.server_run(party, server, &[])?;
//!     gate.client_run(party, client).map(drop)
//! }
//! ```
//!
//! ```compile_fail
//! # use eqo_protocol::{Error, gates::Party};
//! # use eqo_protocol::gates::larger::{ClientPrepared, Larger, ServerPrepared};
//! fn twice(gate: &Larger, party: &mut Party, server: ServerPrepared, client: ClientPrepared) -> Result<(), Error> {
//!     gate.server_run(party, server, &[])?;
//!     gate.client_run(party, client)?;
//!     gate.client_run(party, client).map(drop)
//! }
//! ```
//!
//! # Prepared inferences
//!
//! ```
//! # use eqo_protocol::{Error, gates::Party, layers::{Client, ClientMaterial, Server, ServerMaterial}};
//! fn once(server: Server, client: Client, party: &mut Party, material: (ServerMaterial, ClientMaterial)) -> Result<(), Error> {
//!     server.infer(party, material.0, &mut |_| ())?;
//!     client.infer(party, material.1, &[], &mut |_| ()).map(drop)
//! }
//! ```
//!
//! ```compile_fail
//! # use eqo_protocol::{Error, gates::Party, layers::{Client, ClientMaterial, Server, ServerMaterial}};
//! fn twice(server: Server, client: Client, party: &mut Party, material: (ServerMaterial, ClientMaterial)) -> Result<(), Error> {
//!     server.infer(party, material.0, &mut |_| ())?;
//!     server.infer(party, material.0, &mut |_| ())?;
//!     client.infer(party, material.1, &[], &mut |_| ()).map(drop)
//! }
//! ```
//!
//! ```compile_fail
//! # use eqo_protocol::{Error, gates::Party, layers::{Client, ClientMaterial, Server, ServerMaterial}};
//! fn twice(server: Server, client: Client, party: &mut Party, material: (ServerMaterial, ClientMaterial)) -> Result<(), Error> {
//!     server.infer(party, material.0, &mut |_| ())?;
//!     client.infer(party, material.1, &[], &mut |_| ())?;
//!     client.infer(party, material.1, &[], &mut |_| ()).map(drop)
//! }
//! ```
//!
//! # Preparations
//!
//! One that a broken connection interrupted is gone on with, or reopened, by value: it becomes one prepared inference.
//!
//! ```
//! # use eqo_protocol::{Error, layers::{ClientMaterial, ClientPreparation, ServerMaterial, ServerPreparation}};
//! fn once(server: ServerMaterial, client: ClientPreparation) -> Result<(ServerPreparation, ClientMaterial), Error> {
//!     Ok((server.reopen(), client.finish()?))
//! }
//! ```
//!
//! ```compile_fail
//! # use eqo_protocol::{Error, layers::{ClientMaterial, ClientPreparation, ServerMaterial, ServerPreparation}};
//! fn twice(server: ServerMaterial, client: ClientPreparation) -> Result<(ServerPreparation, ClientMaterial), Error> {
//!     client.finish()?;
//!     Ok((server.reopen(), client.finish()?))
//! }
//! ```
//!
//! ```compile_fail
//! # use eqo_protocol::{Error, layers::{Server, ServerMaterial, ServerPreparation}, gates::Party};
//! fn twice(server: Server, party: &mut Party, material: ServerMaterial) -> Result<ServerPreparation, Error> {
//!     server.infer(party, material, &mut |_| ())?;
//!     Ok(material.reopen())
//! }
//! ```
//!
//! # Copies
//!
//! ```
//! # use eqo_protocol::{gates::requantize::*, layers::*, ot::*};
//! fn movable<T: Send>() {}
//! # fn every() {
//! movable::<(OfferedOts, ChosenOts, BitTriples, ServerPrepared, ClientPrepared, ServerMaterial, ClientMaterial)>();
//! movable::<(ServerPreparation, ClientPreparation)>();
//! # }
//! ```
//!
//! ```compile_fail
//! # use eqo_protocol::ot::OfferedOts;
//! fn copy(one: &OfferedOts) -> OfferedOts { one.clone() }
//! ```
//!
//! ```compile_fail
//! # use eqo_protocol::ot::ChosenOts;
//! fn copy(one: &ChosenOts) -> ChosenOts { one.clone() }
//! ```
//!
//! ```compile_fail
//! # use eqo_protocol::ot::BitTriples;
//! fn copy(one: &BitTriples) -> BitTriples { one.clone() }
//! ```
//!
//! ```compile_fail
//! # use eqo_protocol::gates::requantize::ServerPrepared;
//! fn copy(one: &ServerPrepared) -> ServerPrepared { one.clone() }
//! ```
//!
//! ```compile_fail
//! # use eqo_protocol::layers::ServerMaterial;
//! fn copy(one: &ServerMaterial) -> ServerMaterial { one.clone() }
//! ```
//!
//! ```compile_fail
//! # use eqo_protocol::layers::ClientMaterial;
//! fn copy(one: &ClientMaterial) -> ClientMaterial { one.clone() }
//! ```
//!
//! ```compile_fail
//! # use eqo_protocol::layers::ServerPreparation;
//! fn copy(one: &ServerPreparation) -> ServerPreparation { one.clone() }
//! ```
//!
//! ```compile_fail
//! # use eqo_protocol::layers::ClientPreparation;
//! fn copy(one: &ClientPreparation) -> ClientPreparation { one.clone() }
//! ```
