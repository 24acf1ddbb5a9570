//! Both parties from the first request to the opened logits, with random OTs that a dealer made: no base OTs, so that there are many
//! runs a second.

use std::sync::LazyLock;

use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::testing::{Block, Spec, random_checkpoint};
use eqo_protocol::gates::Party;
use eqo_protocol::gates::open::open;
use eqo_protocol::layers::{Client, Server, logit_ring};
use eqo_protocol::ot::{OtKind, Ots};
use eqo_protocol::testing::seeded;
use eqo_protocol::transport::Channel;
use eqo_protocol::{Error, Role};

/// How the random OTs are made.
pub const KIND: OtKind = OtKind::SoftSpoken1;

/// A network with every kind of node, as small as it gets.
pub static CHECKPOINT: LazyLock<Checkpoint> = LazyLock::new(|| {
    let blocks = vec![Block::MaxPool { kernel: 2, stride: 1, padding: 0 }, Block::OptionA];
    random_checkpoint(1, &Spec::new([1, 2, 2], 2, blocks))
});

/// The server's part of a preparation and an inference of one image.
pub fn serve(mut channel: Channel) -> Result<Vec<i64>, Error> {
    let (mut ots, mut rng) = (Ots::dealt(Role::Server, KIND, 1), seeded(1));
    let mut party = Party { role: Role::Server, channel: &mut channel, ots: &mut ots, rng: &mut rng };
    let side = Server::new(CHECKPOINT.graph(), CHECKPOINT.weights());
    let mut preparation = side.begin(1);
    side.prepare(&mut party, &mut preparation, &mut |_| ())?;
    let material = preparation.finish()?;
    let shares = side.infer(&mut party, material, &mut |_| ())?;
    Ok(open(&mut party, |element| logit_ring(CHECKPOINT.graph(), element), &shares)?.unwrap_or_default())
}

/// The client's.
pub fn ask(mut channel: Channel) -> Result<Vec<i64>, Error> {
    let (mut ots, mut rng) = (Ots::dealt(Role::Client, KIND, 1), seeded(2));
    let mut party = Party { role: Role::Client, channel: &mut channel, ots: &mut ots, rng: &mut rng };
    let side = Client { graph: CHECKPOINT.graph() };
    let mut preparation = side.begin(1);
    side.prepare(&mut party, &mut preparation, &mut |_| ())?;
    let material = preparation.finish()?;
    let pixels: Vec<u64> = (0..CHECKPOINT.graph().shape(0).iter().product::<usize>() as u64).collect();
    let shares = side.infer(&mut party, material, &pixels, &mut |_| ())?;
    Ok(open(&mut party, |element| logit_ring(CHECKPOINT.graph(), element), &shares)?.unwrap_or_default())
}
