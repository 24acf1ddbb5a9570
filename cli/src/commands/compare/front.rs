//! Which runs no other run is better than.

/// For every point, a cost and a worth, whether it is Pareto-optimal: none costs at most as much and is worth at least
/// as much without being equal to it in both. Equal points stand or fall together.
pub(crate) fn front(points: &[(f64, f64)]) -> Vec<bool> {
    let beats = |a: &(f64, f64), b: &(f64, f64)| a.0 <= b.0 && a.1 >= b.1 && a != b;
    points.iter().map(|point| !points.iter().any(|other| beats(other, point))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_points_that_nothing_beats_are_optimal() {
        let points = [(80.0, 0.85), (78.0, 0.86), (115.0, 0.87), (115.5, 0.865), (52.0, 0.82)];
        assert_eq!(front(&points), [false, true, true, false, true]);
    }

    #[test]
    fn ties_in_one_measure_are_decided_by_the_other_and_equal_points_share_their_fate() {
        assert_eq!(front(&[(1.0, 0.5), (1.0, 0.6)]), [false, true], "as many bytes, less accuracy");
        assert_eq!(front(&[(1.0, 0.5), (2.0, 0.5)]), [true, false], "as accurate, more bytes");
        assert_eq!(front(&[(1.0, 0.5), (1.0, 0.5)]), [true, true], "equal and optimal");
        assert_eq!(front(&[(2.0, 0.5), (2.0, 0.5), (1.0, 0.6)]), [false, false, true], "equal and beaten");
        assert!(front(&[]).is_empty());
    }
}
