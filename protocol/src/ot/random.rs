//! Random OTs hashed to pads: what IKNP calls its output.

use super::{Block, Ots};
use crate::Error;

impl Ots {
    /// Takes random OTs as their sender, as many as both slices are long: `pads[b][j]` becomes the pad of choice b of OT j.
    /// The peer calls [`random_recv`](Self::random_recv) for as many at the same point of the protocol.
    ///
    /// # Errors
    /// [`Error::Config`] if the slices differ in length, [`Error::Exhausted`] if fewer OTs are left as sender.
    ///
    /// # Communication cost
    /// None.
    pub fn random_send(&mut self, pads: [&mut [Block]; 2]) -> Result<(), Error> {
        let [zeros, ones] = pads;
        check_lengths(zeros.len(), ones.len())?;
        let delta = *self.sender.delta;
        self.sender.spend(zeros.len(), |hash, q, first_serial| {
            hash.keys(q, 0, first_serial, zeros);
            hash.keys(q, delta, first_serial, ones);
        })
    }

    /// Takes random OTs as their receiver, as many as both slices are long: the random choices, and the pad of each.
    ///
    /// # Errors
    /// [`Error::Config`] if the slices differ in length, [`Error::Exhausted`] if fewer OTs are left as receiver.
    ///
    /// # Communication cost
    /// None.
    pub fn random_recv(&mut self, choices: &mut [bool], pads: &mut [Block]) -> Result<(), Error> {
        check_lengths(choices.len(), pads.len())?;
        self.receiver.spend(pads.len(), |hash, t, first_serial| {
            choices.iter_mut().zip(t).for_each(|(choice, t)| *choice = t & 1 == 1);
            hash.keys(t, 0, first_serial, pads);
        })
    }
}

fn check_lengths(one: usize, other: usize) -> Result<(), Error> {
    if one == other {
        return Ok(());
    }
    Err(Error::Config {
        what: "random OTs",
        expected: format!("two slices of {one}"),
        found: other.to_string(),
        next: "give slices of one length",
    })
}

#[cfg(test)]
mod tests {
    use super::super::OtKind;
    use super::super::tests::with_ots;

    #[test]
    fn the_receiver_gets_the_pad_of_its_choice_and_the_other_differs() {
        let (mut zeros, mut ones) = (vec![0; 700], vec![0; 700]);
        let (mut choices, mut received) = (vec![false; 700], vec![0; 700]);
        with_ots(
            OtKind::SoftSpoken2,
            700,
            |_, mut ots| ots.random_send([&mut zeros, &mut ones]),
            |_, mut ots| ots.random_recv(&mut choices, &mut received),
        );
        for (choice, (pad, (zero, one))) in choices.iter().zip(received.iter().zip(zeros.iter().zip(&ones))) {
            let (chosen, other) = if *choice { (one, zero) } else { (zero, one) };
            assert!(pad == chosen && pad != other);
        }
    }
}
