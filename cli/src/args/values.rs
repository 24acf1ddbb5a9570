//! Values that options take.

use std::path::PathBuf;
use std::time::Duration;

use eqo_protocol::transport::Link;

pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|&count| count > 0)
        .ok_or_else(|| "expected a whole number of at least 1".to_owned())
}

/// Only pages: `--out a.safetensors` would otherwise replace the run that was meant to be compared.
pub(super) fn html_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let page = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("html"));
    if page { Ok(path) } else { Err("expected the name of a page, such as compare.html".to_owned()) }
}

/// 64 hexadecimal digits, with or without the colons that openssl prints.
pub(super) fn fingerprint(text: &str) -> Result<[u8; 32], String> {
    let digits = text.replace(':', "").to_lowercase();
    crate::party::parse_hash(&digits)
        .map_err(|_| format!("expected 64 hexadecimal digits, as `eqo cert` prints them, found {text:?}"))
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

/// The same, or nothing at all.
pub(super) fn seconds_or_none(text: &str) -> Result<Duration, String> {
    if text.parse() == Ok(0.0) { Ok(Duration::ZERO) } else { seconds(text) }
}

/// A port alone is one of this machine only.
pub(super) fn port_or_address(text: &str) -> Result<String, String> {
    let port = |text: &str| text.parse::<u16>().is_ok();
    match text.rsplit_once(':') {
        None if port(text) => Ok(format!("127.0.0.1:{text}")),
        Some((host, after)) if !host.is_empty() && port(after) => Ok(text.to_owned()),
        _ => Err("expected a port or host:port, such as 9100".to_owned()),
    }
}

/// Reads what [`crate::party::network_name`] writes.
pub(super) fn network(text: &str) -> Result<Link, String> {
    match text {
        "lan" => return Ok(Link::LAN),
        "wan" => return Ok(Link::WAN),
        _ => {}
    }
    let link = text.split_once(',').and_then(|(rate, rtt)| {
        let bytes_per_second = 1e6 * rate.trim().parse::<f64>().ok()?;
        let rtt = Duration::try_from_secs_f64(rtt.trim().parse::<f64>().ok()? / 1e3).ok()?;
        let sensible = (1e3..=1e12).contains(&bytes_per_second) && rtt <= Duration::from_secs(60);
        sensible.then_some(Link { bytes_per_second: bytes_per_second.round() as u64, rtt })
    });
    link.ok_or_else(|| "expected lan, wan, or MB/s and ms of round trip, such as 50,20".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::party::network_name;

    #[test]
    fn counts_of_zero_and_negative_seconds_are_refused() {
        assert!(at_least_one("0").is_err() && at_least_one("x").is_err());
        assert!(seconds("-1").is_err() && seconds("nan").is_err() && seconds("1e30").is_err());
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!((seconds_or_none("0"), seconds("0").is_err()), (Ok(Duration::ZERO), true));
    }

    #[test]
    fn a_port_alone_is_reached_from_this_machine_only() {
        assert_eq!(port_or_address("9100").as_deref(), Ok("127.0.0.1:9100"));
        assert_eq!(port_or_address("[::1]:0").as_deref(), Ok("[::1]:0"));
        for wrong in ["", "x", ":9100", "host:", "host:99999", "99999"] {
            assert!(port_or_address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn networks_are_named_or_two_numbers_and_their_names_read_back() {
        let own = Link { bytes_per_second: 12_345_678, rtt: Duration::from_micros(1_250) };
        for (text, link) in [("lan", Link::LAN), ("wan", Link::WAN), ("12.345678,1.25", own)] {
            assert_eq!((network(text), network_name(link).as_str()), (Ok(link), text));
        }
        assert_eq!(network("377, 0.3"), Ok(Link::LAN));
        for wrong in
            ["", "LTE", "50", "50,", "0,1", "-1,1", "1,-1", "nan,1", "inf,1", "1,nan", "1e9,1", "1,1e9"]
        {
            assert!(network(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_pages_are_written_over() {
        assert_eq!(html_file("a/b.html"), Ok(PathBuf::from("a/b.html")));
        for wrong in ["", "html", ".html", "a", "a.html.safetensors"] {
            assert!(html_file(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn channels_are_three_numbers() {
        assert_eq!(channels("0.5, 0.25,1"), Ok([0.5, 0.25, 1.0]));
        assert!(["", "1,2", "1,2,3,4", "a,b,c"].iter().all(|text| channels(text).is_err()));
    }
}
