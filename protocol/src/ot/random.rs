//! Random OTs hashed to pads: what IKNP calls its output.

use zeroize::Zeroizing;

use super::{Ots, Secrets};
use crate::Error;

impl Ots {
    /// Takes `count` random OTs as their sender: the pads of choice 0, then those of choice 1, in the OTs' order. The peer calls
    /// [`random_recv`](Self::random_recv) at the same point of the protocol.
    ///
    /// # Errors
    /// [`Error::Exhausted`] if fewer than `count` OTs are left as sender.
    ///
    /// # Communication cost
    /// None.
    pub fn random_send(&mut self, count: usize) -> Result<[Secrets; 2], Error> {
        let drawn = self.sender.draw(count)?;
        let delta = *self.sender.delta;
        let pads = |offset| self.sender.hash.keys(&drawn.q, offset, drawn.first_serial);
        Ok([pads(0), pads(delta)])
    }

    /// Takes `count` random OTs as their receiver: the random choices, and the pad of each choice.
    ///
    /// # Errors
    /// [`Error::Exhausted`] if fewer than `count` OTs are left as receiver.
    ///
    /// # Communication cost
    /// None.
    pub fn random_recv(&mut self, count: usize) -> Result<(Zeroizing<Vec<bool>>, Secrets), Error> {
        let drawn = self.receiver.draw(count)?;
        let pads = self.receiver.hash.keys(&drawn.t, 0, drawn.first_serial);
        Ok((Zeroizing::new(drawn.choices().collect()), pads))
    }
}

#[cfg(test)]
mod tests {
    use super::super::OtKind;
    use super::super::tests::with_ots;

    #[test]
    fn the_receiver_gets_the_pad_of_its_choice_and_the_other_differs() {
        let (sent, (choices, received), _) = with_ots(
            OtKind::SoftSpoken2,
            700,
            |_, mut ots| ots.random_send(700),
            |_, mut ots| ots.random_recv(700),
        );
        for (i, choice) in choices.iter().enumerate() {
            assert_eq!(sent[usize::from(*choice)][i], received[i]);
            assert_ne!(sent[usize::from(!*choice)][i], received[i]);
        }
    }
}
