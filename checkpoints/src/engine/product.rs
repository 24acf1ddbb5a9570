//! Wrapping matrix products, shaped for the compiler's vectorizer.

use crate::layout::RingElement;

/// Output channels a block computes at once.
const ROWS: usize = 4;
/// Columns a block computes at once: two 128-bit registers of 32-bit integers a row.
const LANES: usize = 8;

/// `[taps][out][inner] x [taps][inner][columns]` to `[taps][out][columns]`, tap by tap; `sizes` is `[inner, columns]`.
/// The number of taps follows from `right.len()`.
pub(crate) fn multiply<W: RingElement>(left: &[W], right: &[W], sizes: [usize; 2]) -> Vec<W> {
    let [inner, columns] = sizes;
    let taps = right.len() / (inner * columns);
    let outs = left.len() / (taps * inner);
    let mut products = vec![W::default(); taps * outs * columns];
    for (tap, right) in right.chunks_exact(inner * columns).enumerate() {
        let left = &left[tap * outs * inner..][..outs * inner];
        let products = &mut products[tap * outs * columns..][..outs * columns];
        let rows = left.chunks(ROWS * inner).zip(products.chunks_mut(ROWS * columns));
        rows.for_each(|(left, products)| multiply_rows(left, right, products, sizes));
    }
    products
}

fn multiply_rows<W: RingElement>(left: &[W], right: &[W], products: &mut [W], [inner, columns]: [usize; 2]) {
    let whole = if left.len() == ROWS * inner { columns - columns % LANES } else { 0 };
    for start in (0..whole).step_by(LANES) {
        let block = multiply_block(left, right, start, [inner, columns]);
        for (row, sums) in block.iter().enumerate() {
            products[row * columns + start..][..LANES].copy_from_slice(sums);
        }
    }
    for (left, products) in left.chunks_exact(inner).zip(products.chunks_exact_mut(columns)) {
        for (&weight, right) in left.iter().zip(right.chunks_exact(columns)) {
            let pairs = products[whole..].iter_mut().zip(&right[whole..]);
            pairs.for_each(|(sum, &value)| *sum = sum.plus(weight.times(value)));
        }
    }
}

#[inline(always)]
fn multiply_block<W: RingElement>(
    left: &[W],
    right: &[W],
    start: usize,
    [inner, columns]: [usize; 2],
) -> [[W; LANES]; ROWS] {
    let mut sums = [[W::default(); LANES]; ROWS];
    let (a, rest) = left.split_at(inner);
    let (b, rest) = rest.split_at(inner);
    let (c, d) = rest.split_at(inner);
    for (k, line) in right.chunks_exact(columns).enumerate() {
        let line = &line[start..][..LANES];
        for (sums, weight) in sums.iter_mut().zip([a[k], b[k], c[k], d[k]]) {
            for (sum, &value) in sums.iter_mut().zip(line) {
                *sum = sum.plus(weight.times(value));
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_tails_equal_the_schoolbook_product_for_every_small_size() {
        for (outs, inner, columns) in [(1, 1, 1), (3, 2, 7), (4, 5, 8), (5, 3, 9), (9, 4, 17), (8, 1, 16)] {
            for taps in [1, 3] {
                let left: Vec<i64> = (0..taps * outs * inner).map(|i| (i as i64 * 37) % 101 - 50).collect();
                let right: Vec<i64> =
                    (0..taps * inner * columns).map(|i| (i as i64 * 53) % 89 - 44).collect();
                let products = multiply(&left, &right, [inner, columns]);
                for (index, &found) in products.iter().enumerate() {
                    let (row, col) = (index / columns, index % columns);
                    let tap = row / outs;
                    let want: i64 = (0..inner)
                        .map(|k| left[row * inner + k] * right[(tap * inner + k) * columns + col])
                        .sum();
                    assert_eq!(found, want, "{outs}x{inner}x{columns}, entry {index}");
                }
            }
        }
    }
}
