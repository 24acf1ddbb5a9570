//! Who a party is, and where its randomness comes from.

use std::convert::Infallible;

use rand::rngs::SysRng;
use rand::{Rng, SeedableRng, TryCryptoRng, TryRng};
use rand_chacha::ChaCha20Rng;

use crate::Error;

/// The two parties. The server owns the weights, the client owns the image and learns the result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Holds the weights.
    Server,
    /// Holds the image.
    Client,
}

impl Role {
    /// The other party.
    pub fn peer(self) -> Self {
        match self {
            Self::Server => Self::Client,
            Self::Client => Self::Server,
        }
    }
}

/// A party's secret randomness: ChaCha20, seeded by the operating system. Seeds chosen by hand exist only in
/// `testing`.
pub struct PartyRng(ChaCha20Rng);

impl PartyRng {
    /// Seeds from the operating system.
    ///
    /// # Errors
    /// [`Error::Io`] if the system has no randomness to give.
    pub fn from_os() -> Result<Self, Error> {
        ChaCha20Rng::try_from_rng(&mut SysRng).map(Self).map_err(|source| Error::Io {
            action: "read the system's randomness".into(),
            source: std::io::Error::other(source.to_string()),
            next: "without it no private run is possible; check /dev/urandom and the sandbox's system calls",
        })
    }

    /// Reproducible randomness for tests and benchmarks; never for a run that should stay private.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed))
    }
}

impl TryRng for PartyRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

impl TryCryptoRng for PartyRng {}
