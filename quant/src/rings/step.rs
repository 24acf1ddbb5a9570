//! One channel on its way to a narrower ring: by up to a half its weights become smaller; beyond that, or where requantization
//! alone needs more (`bits + shift + 2`), or where smaller weights round to the same codes, the finest weight step becomes
//! coarser. That halves every number in the accumulator, and loses a bit of the finest taps only.

use eqo_checkpoints::graph::{Conv, Output};
use eqo_train::qat::Narrowing;

use super::{Proven, conv_of};

/// Rounding may enlarge a code that its factor made smaller.
const MARGIN: f64 = 0.995;
/// Least that a channel is multiplied by in all, and most bits by which its finest step becomes coarser: little would be left.
const LEAST: f32 = 1.0 / 16.0;
const MOST: i32 = 12;

/// What was done to a channel so far.
#[derive(Clone, Copy)]
pub(super) struct Channel {
    total: Narrowing,
    /// Width of its own part of the accumulator before the last factor, if that was the last thing done.
    before: Option<f64>,
}

/// What is done to a channel next.
pub(super) struct Step {
    pub(super) own: Narrowing,
    /// Whether the layer that it adds must become coarser too.
    pub(super) source: bool,
}

/// A channel's accumulator, all in its own steps.
struct Found {
    /// Most and least of the convolution, without what it adds.
    own: (f64, f64),
    /// The part that it adds.
    added: (f64, f64),
    /// What requantization subtracts and adds at most.
    margins: (f64, f64),
    /// Bits that requantization alone is beyond the ring.
    excess: i32,
    /// Whether its finest weights, and what it adds, decide its step.
    decides: (bool, bool),
}

impl Default for Channel {
    fn default() -> Self {
        Self { total: Narrowing::NONE, before: None }
    }
}

impl Channel {
    /// For a channel that needs more than `limit` bits; `None` if nothing makes it narrower.
    pub(super) fn step(&mut self, proven: &Proven, at: (usize, usize), limit: u8) -> Option<Step> {
        let found = Found::new(proven, at, limit)?;
        let width = found.own.1 - found.own.0;
        let stalled = self.before.take().is_some_and(|before| width >= before);
        let factor = found.factor(limit);
        let small = (0.5..1.0).contains(&factor) && found.excess <= 0;
        if small && !stalled {
            self.before = Some(width);
            return Some(Step { own: self.smaller((factor * MARGIN) as f32)?, source: false });
        }
        let (weights, added) = found.decides;
        if !weights && !added {
            return None;
        }
        let undone = if stalled { 1.0 / self.total.factor } else { 1.0 };
        self.total.factor *= undone;
        let coarser = if weights { self.coarser(found.excess.max(1))? } else { Narrowing::NONE };
        Some(Step { own: Narrowing { factor: undone, ..coarser }, source: added })
    }

    /// A coarser step, unless that would be beyond [`MOST`].
    pub(super) fn coarser(&mut self, bits: i32) -> Option<Narrowing> {
        self.total.coarser += bits;
        (self.total.coarser <= MOST).then_some(Narrowing { factor: 1.0, coarser: bits })
    }

    fn smaller(&mut self, factor: f32) -> Option<Narrowing> {
        self.total.factor *= factor;
        (self.total.factor >= LEAST).then_some(Narrowing { factor, coarser: 0 })
    }
}

impl Found {
    fn new(proven: &Proven, (id, out): (usize, usize), limit: u8) -> Option<Self> {
        let conv = conv_of(&proven.graph.nodes()[id].op)?;
        let (low, high) = proven.ranges[id].bounds[out];
        let added = added(proven, conv, out);
        let (margins, excess, free) = match &conv.output {
            Output::Accumulator => ((0.0, 1.0), 0, true),
            Output::Activation { bits, shifts } => {
                let (bits, shift) = (i32::from(*bits), i32::from(shifts[out]));
                let margins = (2.0_f64.powi(bits + shift), 2.0_f64.powi(shift - 1) + 1.0);
                // No accumulator is coarser than half a step of its activation.
                (margins, bits + shift + 2 - i32::from(limit), shift > 1)
            }
        };
        let finest =
            |position: usize| !conv.exponents(position).is_empty() && conv.tap_shift(position, out) == 0;
        let weights = free && (0..conv.positions()).any(finest);
        let adds = free && conv.shortcut.as_ref().is_some_and(|shortcut| shortcut.shifts[out] == 0);
        let own = (low as f64 - added.0, high as f64 - added.1);
        Some(Self { own, added, margins, excess, decides: (weights, adds) })
    }

    /// What the convolution's part would have to be multiplied by.
    fn factor(&self, limit: u8) -> f64 {
        let half = 2.0_f64.powi(i32::from(limit) - 1);
        let room = |room: f64, extreme: f64| if extreme > 0.0 { room / extreme } else { f64::INFINITY };
        let below = room(half - self.margins.0 + self.added.0, -self.own.0);
        below.min(room(half - self.margins.1 - self.added.1, self.own.1))
    }
}

/// Least and most of what a shortcut adds to a channel.
fn added(proven: &Proven, conv: &Conv, out: usize) -> (f64, f64) {
    let Some(shortcut) = &conv.shortcut else { return (0.0, 0.0) };
    let bounds = &proven.ranges[shortcut.input].bounds;
    let values = proven.graph.value_range(shortcut.input);
    let values = values.as_deref().unwrap_or(bounds);
    let from = out.checked_sub(shortcut.channel_offset).and_then(|from| values.get(from));
    let factor = 2.0_f64.powi(shortcut.shifts[out].into());
    from.map_or((0.0, 0.0), |&(low, high)| (low as f64 * factor, high as f64 * factor))
}
