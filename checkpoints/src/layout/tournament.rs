//! Max pooling as matches of two values: one definition for the plain engine, for shares, and for the price.

use crate::graph::MaxPool;

/// Which values meet in a max pooling, level by level.
///
/// Windows are rectangles of the image (padding never wins, so it doesn't play): the largest of a window is the largest of its
/// rows' largest. First every row's part of a window is played out along the row, then each window along the column. So
/// overlapping windows share rows: a 3x3 window of stride 2 takes 6 matches, played out by itself it would take 8.
///
/// All matches of a level are independent. Values are `[planes][height][width]`, planes being channels of all images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tournament {
    rows: Axis,
    columns: Axis,
}

/// Windows of one axis. A slot holds a value of the axis, or the winner of a match.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Axis {
    size: usize,
    /// Slots that meet; the winners fill the next slots, the first being `size`.
    levels: Vec<Vec<[usize; 2]>>,
    /// The slot of each window's winner.
    winners: Vec<usize>,
}

impl Tournament {
    /// The matches of `pool` on maps of this shape `[channels, height, width]`; a checked graph's windows fit their map.
    pub fn new(pool: &MaxPool, [_, height, width]: [usize; 3]) -> Self {
        Self { rows: Axis::new(pool, width), columns: Axis::new(pool, height) }
    }

    /// Matches of one plane at each level; there is at least one at every level.
    pub fn matches(&self) -> Vec<usize> {
        let rows = self.rows.levels.iter().map(|pairs| pairs.len() * self.columns.size);
        let columns = self.columns.levels.iter().map(|pairs| pairs.len() * self.rows.winners.len());
        rows.chain(columns).collect()
    }

    /// Plays on whole planes `[planes][height][width]`: `larger` gets a level and what meets in it, as two lists of equal
    /// length, and gives the winners in the same order. Returns `[planes][out_height][out_width]`.
    ///
    /// # Errors
    /// Those of `larger`.
    pub fn play<T: Copy, E>(
        &self,
        values: &[T],
        mut larger: impl FnMut(usize, Vec<T>, Vec<T>) -> Result<Vec<T>, E>,
    ) -> Result<Vec<T>, E> {
        let narrow = self.rows.play(values, 1, &mut larger)?;
        let first = self.rows.levels.len();
        self.columns
            .play(&narrow, self.rows.winners.len(), |level, left, right| larger(first + level, left, right))
    }
}

impl Axis {
    fn new(pool: &MaxPool, size: usize) -> Self {
        let count = (size + 2 * pool.padding - pool.kernel) / pool.stride + 1;
        let window = |at: usize| {
            let start = at * pool.stride;
            let inside = start.saturating_sub(pool.padding)..(start + pool.kernel - pool.padding).min(size);
            inside.collect::<Vec<usize>>()
        };
        let mut windows: Vec<Vec<usize>> = (0..count).map(window).collect();
        let (mut levels, mut next) = (Vec::new(), size);
        while windows.iter().any(|window| window.len() > 1) {
            let mut pairs = Vec::new();
            for window in &mut windows {
                let mut meet = |slots: &[usize]| match *slots {
                    [left, right] => {
                        pairs.push([left, right]);
                        next += 1;
                        next - 1
                    }
                    _ => slots[0],
                };
                *window = window.chunks(2).map(&mut meet).collect();
            }
            levels.push(pairs);
        }
        Self { size, levels, winners: windows.iter().map(|window| window[0]).collect() }
    }

    /// From `[lines][size][inner]` to `[lines][windows][inner]`.
    fn play<T: Copy, E>(
        &self,
        values: &[T],
        inner: usize,
        mut larger: impl FnMut(usize, Vec<T>, Vec<T>) -> Result<Vec<T>, E>,
    ) -> Result<Vec<T>, E> {
        let lines = values.len() / (self.size * inner);
        let slot = |at: usize| {
            let of_line = |line: usize| &values[(line * self.size + at) * inner..][..inner];
            (0..lines).flat_map(of_line).copied().collect::<Vec<T>>()
        };
        let mut slots: Vec<Vec<T>> = (0..self.size).map(slot).collect();
        for (level, pairs) in self.levels.iter().enumerate() {
            let side = |side: usize| pairs.iter().flat_map(|pair| &slots[pair[side]]).copied().collect();
            let winners = larger(level, side(0), side(1))?;
            slots.extend(winners.chunks_exact(lines * inner).map(<[T]>::to_vec));
        }
        let mut largest = Vec::with_capacity(lines * self.winners.len() * inner);
        for line in 0..lines {
            for &winner in &self.winners {
                largest.extend_from_slice(&slots[winner][line * inner..][..inner]);
            }
        }
        Ok(largest)
    }
}

/// [`Tournament::matches`] of `pool` on maps of this shape, in a time that doesn't grow with the map: whoever names the graph
/// doesn't make this party count windows.
pub fn pooling_matches(pool: &MaxPool, [_, height, width]: [usize; 3]) -> Vec<usize> {
    let (rows, windows) = axis_matches(pool, width);
    let (columns, _) = axis_matches(pool, height);
    rows.iter().map(|pairs| pairs * height).chain(columns.iter().map(|pairs| pairs * windows)).collect()
}

/// Matches of one line at each level, and its windows.
fn axis_matches(pool: &MaxPool, size: usize) -> (Vec<usize>, usize) {
    let MaxPool { kernel, stride, padding, .. } = *pool;
    let count = (size + 2 * padding - kernel) / stride + 1;
    let length = |at: usize| {
        let start = at * stride;
        (start + kernel - padding).min(size) - start.saturating_sub(padding)
    };
    // Only windows that hang over an edge are shorter than the kernel.
    let first = padding.div_ceil(stride).min(count);
    let last = (size + padding).checked_sub(kernel).map_or(0, |room| room / stride + 1).clamp(first, count);
    let mut windows = vec![0; kernel + 1];
    (0..first).chain(last..count).for_each(|at| windows[length(at)] += 1);
    windows[kernel] += last - first;
    let mut levels = Vec::new();
    while windows.iter().skip(2).any(|&of_length| of_length > 0) {
        levels.push(windows.iter().enumerate().map(|(length, of_length)| length / 2 * of_length).sum());
        let mut halved = vec![0; kernel + 1];
        windows.iter().enumerate().for_each(|(length, of_length)| halved[length.div_ceil(2)] += of_length);
        windows = halved;
    }
    (levels, count)
}

/// The largest of every window: `[planes][height][width]` to `[planes][out_height][out_width]`.
pub fn max_pool(tournament: &Tournament, values: &[i64]) -> Vec<i64> {
    let larger = |_, left: Vec<i64>, right: Vec<i64>| {
        Ok::<_, std::convert::Infallible>(left.into_iter().zip(right).map(|(a, b)| a.max(b)).collect())
    };
    tournament.play(values, larger).unwrap_or_else(|never| match never {})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(kernel: usize, stride: usize, padding: usize) -> MaxPool {
        MaxPool { input: 0, kernel, stride, padding }
    }

    #[test]
    fn every_small_pooling_equals_the_largest_of_each_window() {
        for (kernel, stride) in (2..=5).flat_map(|kernel| (1..=4).map(move |stride| (kernel, stride))) {
            for (padding, height, width) in
                [(0, 5, 7), (0, 6, 5), (1, 5, 6), (kernel / 2, 3, 8), (kernel / 2, 5, 1)]
            {
                if height.min(width) + 2 * padding < kernel {
                    continue;
                }
                let values: Vec<i64> = (0..2 * height * width).map(|i| (i as i64 * 37) % 61).collect();
                let pool = pool(kernel, stride, padding);
                let tournament = Tournament::new(&pool, [2, height, width]);
                assert_eq!(pooling_matches(&pool, [2, height, width]), tournament.matches(), "{pool:?}");
                let found = max_pool(&tournament, &values);
                let mut want = Vec::new();
                let out = |size: usize| (size + 2 * padding - kernel) / stride + 1;
                for (plane, y, x) in (0..2)
                    .flat_map(|p| (0..out(height)).flat_map(move |y| (0..out(width)).map(move |x| (p, y, x))))
                {
                    let inside = |at: usize, offset: usize, size: usize| {
                        (at * stride + offset).checked_sub(padding).filter(|&at| at < size)
                    };
                    let places = (0..kernel * kernel).filter_map(|i| {
                        Some((inside(y, i / kernel, height)?, inside(x, i % kernel, width)?))
                    });
                    want.push(places.map(|(y, x)| values[(plane * height + y) * width + x]).max().unwrap());
                }
                assert_eq!(found, want, "{pool:?} on {height}x{width}");
            }
        }
    }

    #[test]
    fn windows_of_a_resnets_stem_take_six_matches_and_four_levels() {
        let matches = Tournament::new(&pool(3, 2, 1), [64, 112, 112]).matches();
        // The first window of every row and column has one value less.
        assert_eq!(matches, [56 * 112, 55 * 112, 56 * 56, 55 * 56]);
        assert_eq!(Tournament::new(&pool(2, 2, 0), [64, 32, 32]).matches(), [16 * 32, 16 * 16]);
    }
}
