//! Max pooling: matches of masked values, level by level, every winner under a mask of its own.
//!
//! What meets in a level has client shares that are known offline: the input's mask, or the mask that the client drew for an
//! earlier winner. So all matches are prepared without an image. Online, a winner's share minus its mask goes to the server; the
//! winners of the last level are widened to the ring of their readers first, as activations of a convolution are.

use eqo_checkpoints::graph::{CheckedGraph, MaxPool, NodeId};
use eqo_checkpoints::layout::Tournament;
use rand::Rng;

use super::Shares;
use crate::Error;
use crate::gates::Party;
use crate::gates::larger::{self, Larger};
use crate::gates::mask::{add_masked, send_masked};
use crate::gates::widen::{Widening, Wraps};
use crate::ot::{ChosenOts, OfferedOts};
use crate::ring::mask;

/// One max pooling of a graph for a batch.
pub(super) struct Pooling {
    tournament: Tournament,
    /// One for each level.
    matches: Vec<Larger>,
    widening: Widening,
}

/// The client's, after the first step.
pub(super) struct ClientDrawn {
    matches: Vec<larger::ClientDrawn>,
    wraps: ChosenOts,
}

/// The client's, after the second step.
pub(super) struct ClientChosen {
    pooling: Pooling,
    input: Shares,
    /// With the masks of the winners.
    matches: Vec<(larger::ClientPrepared, Shares)>,
    wraps: ChosenOts,
}

/// The client's prepared pooling; serves once.
pub(super) struct ClientReady {
    pooling: Pooling,
    input: Shares,
    matches: Vec<(larger::ClientPrepared, Shares)>,
    wraps: Wraps,
}

/// The server's, after the first step.
pub(super) struct ServerDrawn {
    matches: Vec<larger::ServerDrawn>,
    wraps: OfferedOts,
}

/// The server's, after the second step.
pub(super) struct ServerOffered {
    pooling: Pooling,
    matches: Vec<larger::ServerPrepared>,
    wraps: OfferedOts,
}

/// The server's prepared pooling; serves once.
pub(super) struct ServerReady {
    pooling: Pooling,
    matches: Vec<larger::ServerPrepared>,
    wraps: Wraps,
}

impl Pooling {
    pub(super) fn new(graph: &CheckedGraph, id: NodeId, pool: &MaxPool, batch: usize) -> Self {
        let [channels, height, width] = graph.shape(id);
        // A checked graph pools activations only.
        let bits = graph.activation_bits(id).unwrap_or(1);
        let tournament = Tournament::new(pool, graph.shape(pool.input));
        let matches = tournament.matches().into_iter();
        let matches = matches.map(|count| Larger::new(bits, count * channels * batch)).collect();
        let elements = channels * height * width * batch;
        let widening = Widening { elements, narrow: bits + 1, wide: graph.extension_bits(id) };
        Self { tournament, matches, widening }
    }

    pub(super) fn client_draw(&self, party: &mut Party) -> Result<ClientDrawn, Error> {
        let matches = self.matches.iter().map(|gate| gate.client_draw(party)).collect::<Result<_, _>>()?;
        Ok(ClientDrawn { matches, wraps: self.widening.client_draw(party)? })
    }

    pub(super) fn server_draw(&self, party: &mut Party) -> Result<ServerDrawn, Error> {
        let matches = self.matches.iter().map(|gate| gate.server_draw(party)).collect::<Result<_, _>>()?;
        Ok(ServerDrawn { matches, wraps: self.widening.server_draw(party)? })
    }

    /// `input` are the client's shares of what is pooled.
    pub(super) fn client_choose(
        self,
        party: &mut Party,
        drawn: ClientDrawn,
        input: &[u64],
    ) -> Result<ClientChosen, Error> {
        let input = self.narrow(input);
        let (mut drawn_matches, mut matches) = (drawn.matches.into_iter(), Vec::new());
        self.tournament.play(&input, |level, left, right| {
            let Some(drawn) = drawn_matches.next() else { unreachable!("every level is drawn") };
            let prepared = self.matches[level].client_choose(party, drawn, &difference(&left, &right))?;
            let masks = Shares::new((0..left.len()).map(|_| party.rng.next_u64() & self.mask()).collect());
            let winners = masks.to_vec();
            matches.push((prepared, masks));
            Ok::<_, Error>(winners)
        })?;
        Ok(ClientChosen { pooling: self, input, matches, wraps: drawn.wraps })
    }

    pub(super) fn server_offer(self, party: &mut Party, drawn: ServerDrawn) -> Result<ServerOffered, Error> {
        let matches = self.matches.iter().zip(drawn.matches);
        let matches =
            matches.map(|(gate, drawn)| gate.server_offer(party, drawn)).collect::<Result<_, _>>()?;
        Ok(ServerOffered { pooling: self, matches, wraps: drawn.wraps })
    }

    /// w: the ring of the matches.
    fn ring(&self) -> u8 {
        self.widening.narrow
    }

    fn mask(&self) -> u64 {
        mask(u32::from(self.ring()))
    }

    fn narrow(&self, shares: &[u64]) -> Shares {
        Shares::new(shares.iter().map(|share| share & self.mask()).collect())
    }

    fn is_last(&self, level: usize) -> bool {
        level + 1 == self.matches.len()
    }
}

impl ClientChosen {
    pub(super) fn correct(self, party: &mut Party) -> Result<ClientReady, Error> {
        let Self { pooling, input, matches, wraps } = self;
        let wraps = pooling.widening.client_correct(party, wraps)?;
        Ok(ClientReady { pooling, input, matches, wraps })
    }
}

impl ServerOffered {
    pub(super) fn correct(self, party: &mut Party) -> Result<ServerReady, Error> {
        let Self { pooling, matches, wraps } = self;
        let wraps = pooling.widening.server_correct(party, wraps)?;
        Ok(ServerReady { pooling, matches, wraps })
    }
}

impl ClientReady {
    /// The client's shares of the pooled activations, in the ring of their readers.
    pub(super) fn run(self, party: &mut Party) -> Result<Shares, Error> {
        let Self { pooling, input, matches, wraps } = self;
        let mut matches = matches.into_iter();
        let largest = pooling.tournament.play(&input, |level, left, _| {
            let Some((prepared, masks)) = matches.next() else { unreachable!("every level is prepared") };
            let lost = pooling.matches[level].client_run(party, prepared)?;
            let winners = difference(&left, &lost);
            if pooling.is_last(level) {
                return Ok::<_, Error>(winners.to_vec());
            }
            send_masked(party, pooling.ring(), &winners, &masks)?;
            Ok(masks.to_vec())
        })?;
        let largest = pooling.narrow(&largest).to_vec();
        Ok(Shares::new(pooling.widening.run(party, wraps, largest)?))
    }
}

impl ServerReady {
    /// The server's shares of the pooled activations from those of what is pooled.
    pub(super) fn run(self, party: &mut Party, input: &[u64]) -> Result<Shares, Error> {
        let Self { pooling, matches, wraps } = self;
        let mut matches = matches.into_iter();
        let largest = pooling.tournament.play(&pooling.narrow(input), |level, left, right| {
            let Some(prepared) = matches.next() else { unreachable!("every level is prepared") };
            let lost = pooling.matches[level].server_run(party, prepared, &difference(&left, &right))?;
            let mut winners = difference(&left, &lost);
            if !pooling.is_last(level) {
                add_masked(party, pooling.ring(), &mut winners)?;
            }
            Ok::<_, Error>(winners.to_vec())
        })?;
        let largest = pooling.narrow(&largest).to_vec();
        Ok(Shares::new(pooling.widening.run(party, wraps, largest)?))
    }
}

fn difference(left: &[u64], right: &[u64]) -> Shares {
    Shares::new(left.iter().zip(right).map(|(left, right)| left.wrapping_sub(*right)).collect())
}
