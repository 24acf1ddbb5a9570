//! Values that options take.

use std::time::Duration;

pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|&count| count > 0)
        .ok_or_else(|| "expected a whole number of at least 1".to_owned())
}

pub(super) fn channels(text: &str) -> Result<[f32; 3], String> {
    let values: Option<Vec<f32>> = text.split(',').map(|value| value.trim().parse().ok()).collect();
    values
        .and_then(|values| values.try_into().ok())
        .ok_or_else(|| "expected three numbers, such as 0.5,0.5,0.5".to_owned())
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let parsed = text.parse().ok().filter(|seconds: &f64| *seconds > 0.0);
    let duration = parsed.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| "expected a positive number of seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_zero_and_negative_seconds_are_refused() {
        assert!(at_least_one("0").is_err() && at_least_one("x").is_err());
        assert!(seconds("-1").is_err() && seconds("nan").is_err() && seconds("1e30").is_err());
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
    }

    #[test]
    fn channels_are_three_numbers() {
        assert_eq!(channels("0.5, 0.25,1"), Ok([0.5, 0.25, 1.0]));
        assert!(["", "1,2", "1,2,3,4", "a,b,c"].iter().all(|text| channels(text).is_err()));
    }
}
