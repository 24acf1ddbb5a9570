//! Whether messages look uniform, and whether two sets of them look alike.
//!
//! Three statistics see different faults: the most biased bit sees one bit that isn't masked, the sum over all bits a weak
//! bias everywhere, the histogram of bytes a relation between neighbouring bits. All of them are brought to standard normal
//! scores, of which a million pass [`LIMIT`] by chance less than once in a million times. Seeds are fixed anyway, so that the tests can't flake.

use super::transcript::Message;

/// The largest score that chance may explain: 1 in 10^13 passes it.
const LIMIT: f64 = 7.5;

/// The messages at one place of the protocol, one for each run.
pub(crate) struct Place<'m> {
    runs: Vec<&'m [u8]>,
    bits: usize,
}

/// The messages of runs of the same protocol, by place.
///
/// # Panics
/// If the runs differ in the order or in the lengths of their messages.
pub(crate) fn places(messages: &[Message], runs: usize) -> Vec<Place<'_>> {
    assert!(messages.len().is_multiple_of(runs), "every run has as many messages");
    if messages.is_empty() {
        return Vec::new();
    }
    let each = messages.len() / runs;
    let lengths = |run: &[Message]| run.iter().map(Vec::len).collect::<Vec<_>>();
    let first = lengths(&messages[..each]);
    assert!(messages.chunks(each).all(|run| lengths(run) == first), "every run has the same lengths");
    (0..each)
        .map(|at| Place::new(messages.iter().skip(at).step_by(each).map(Vec::as_slice).collect()))
        .collect()
}

impl<'m> Place<'m> {
    pub(crate) fn new(runs: Vec<&'m [u8]>) -> Self {
        // The last byte is padded with zeros.
        let last = runs.iter().fold(0, |last, run| last | run[run.len() - 1]);
        let bits = runs[0].len() * 8 - (last.leading_zeros() as usize).min(7);
        Self { runs, bits }
    }

    /// How often each bit is one.
    fn ones(&self) -> Vec<u32> {
        let mut ones = vec![0; self.bits.next_multiple_of(8)];
        for run in &self.runs {
            for (ones, byte) in ones.as_chunks_mut::<8>().0.iter_mut().zip(*run) {
                ones.iter_mut().enumerate().for_each(|(bit, ones)| *ones += u32::from(byte >> bit & 1));
            }
        }
        ones.truncate(self.bits);
        ones
    }

    /// The largest of the three scores for "all bits are uniform".
    pub(crate) fn bias(&self) -> f64 {
        let runs = self.runs.len() as f64;
        let squares = self.ones().into_iter().map(|ones| (2.0 * f64::from(ones) - runs).powi(2) / runs);
        let squares: Vec<f64> = squares.collect();
        worst(&squares).max(self.byte_bias())
    }

    /// The largest of the scores for "both have the same bits".
    pub(crate) fn difference(&self, other: &Self) -> f64 {
        assert_eq!(self.bits, other.bits, "messages of the same length");
        let (n, m) = (self.runs.len() as f64, other.runs.len() as f64);
        let square = |(a, b): (u32, u32)| {
            let (a, b) = (f64::from(a), f64::from(b));
            let mean = (a + b) / (n + m);
            let variance = mean * (1.0 - mean) * (1.0 / n + 1.0 / m);
            if variance > 0.0 { (a / n - b / m).powi(2) / variance } else { 0.0 }
        };
        let squares: Vec<f64> = self.ones().into_iter().zip(other.ones()).map(square).collect();
        worst(&squares)
    }

    /// The score of the histogram of all whole bytes, if there are enough to fill it.
    fn byte_bias(&self) -> f64 {
        let mut counts = [0_u64; 256];
        let whole = self.bits / 8;
        self.runs.iter().flat_map(|run| &run[..whole]).for_each(|&byte| counts[usize::from(byte)] += 1);
        let mean = (self.runs.len() * whole) as f64 / 256.0;
        if mean < 8.0 {
            return 0.0;
        }
        chi_square_score(counts.iter().map(|&count| (count as f64 - mean).powi(2) / mean).sum(), 255.0)
    }
}

/// From the squared scores of all bits to that of the most biased bit and that of their sum.
fn worst(squares: &[f64]) -> f64 {
    let most = squares.iter().copied().fold(0.0, f64::max).sqrt();
    most.max(chi_square_score(squares.iter().sum(), squares.len() as f64))
}

/// The standard normal score of a chi-square statistic (Wilson and Hilferty, PNAS 1931).
fn chi_square_score(statistic: f64, freedom: f64) -> f64 {
    let spread = 2.0 / (9.0 * freedom);
    ((statistic / freedom).cbrt() - (1.0 - spread)) / spread.sqrt()
}

/// # Panics
/// If the messages of a place don't look uniform.
pub(crate) fn assert_uniform(messages: &[Message], runs: usize, who: &str) {
    for (at, place) in places(messages, runs).iter().enumerate() {
        let score = place.bias();
        assert!(score < LIMIT, "{who}: message {at} of {} bits is biased by {score:.1}", place.bits);
    }
}

/// What a party receives, together with what it sent or ends with: no two messages of the same length, one of each kind, may
/// tell more together than alone. Of messages that cross, the XOR is what the parties open, so this sees an opened bit
/// that no mask protects.
///
/// # Panics
/// If the XOR of two messages of a run isn't uniform.
pub(crate) fn assert_unrelated(sent: &[Message], received: &[Message], runs: usize, what: &str) {
    if let Some((score, at)) = relation(sent, received, runs) {
        panic!("{what}: messages {at:?} of the two parties are related: {score:.1}");
    }
}

/// Whether [`assert_unrelated`] would panic.
pub(crate) fn notices_relation(sent: &[Message], received: &[Message], runs: usize) -> bool {
    relation(sent, received, runs).is_some()
}

/// The first XOR that isn't uniform: its score and its two messages.
fn relation(sent: &[Message], received: &[Message], runs: usize) -> Option<(f64, (usize, usize))> {
    let (sent, received) = (places(sent, runs), places(received, runs));
    let pairs =
        sent.iter().enumerate().flat_map(|one| received.iter().enumerate().map(move |two| (one, two)));
    pairs.filter(|((_, one), (_, two))| one.bits == two.bits).find_map(|((i, one), (j, two))| {
        let xor = |(a, b): (&&[u8], &&[u8])| a.iter().zip(*b).map(|(a, b)| a ^ b).collect();
        let sums: Vec<Message> = one.runs.iter().zip(&two.runs).map(xor).collect();
        let sums = Place { runs: sums.iter().map(Vec::as_slice).collect(), bits: one.bits };
        Some((sums.bias(), (i, j))).filter(|(score, _)| *score > LIMIT)
    })
}

/// # Panics
/// If two sets of runs differ in the order or lengths of their messages, or in the frequencies of their bits.
pub(crate) fn assert_alike(one: &[Message], other: &[Message], runs: usize, who: &str) {
    let (one, other) = (places(one, runs), places(other, runs));
    assert_eq!(one.len(), other.len(), "{who}: as many messages");
    for (at, (one, other)) in one.iter().zip(&other).enumerate() {
        let score = one.difference(other);
        assert!(
            score < LIMIT,
            "{who}: message {at} of {} bits tells the secrets apart: {score:.1}",
            one.bits
        );
    }
}

/// Whether the statistics see something in these messages.
pub(crate) fn notices_bias(messages: &[Message], runs: usize) -> bool {
    places(messages, runs).iter().any(|place| place.bias() > LIMIT)
}

/// Whether they tell these two sets apart.
pub(crate) fn tells_apart(one: &[Message], other: &[Message], runs: usize) -> bool {
    places(one, runs).iter().zip(&places(other, runs)).any(|(one, other)| one.difference(other) > LIMIT)
}
