//! The result, and nothing else, goes to stdout: tables, or one JSON object.

use std::io::{self, Write};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::exit::{Failure, Kind};

/// Prints `value` as one line of JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let line =
        serde_json::to_string(value).map_err(|error| Failure::new(Kind::Data, format!("JSON: {error}")))?;
    text(&line)
}

/// Prints `text` and a line end. A reader that went away (`eqo … | head`) is no failure.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let next = "check that the place stdout goes to is writable and has room";
            Err(Failure::new(Kind::Data, format!("stdout: write failed: {error}; {next}")))
        }
        _ => Ok(()),
    }
}

/// A table: the first `left` columns are words, the others numbers.
pub(crate) fn table(header: &[&str], left: usize, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    table.add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        let side = if index < left { CellAlignment::Left } else { CellAlignment::Right };
        column.set_cell_alignment(side);
    }
    // The style without borders still pads each line's start.
    table
        .lines()
        .map(|line| line.trim_end().strip_prefix(' ').unwrap_or_default().to_owned() + "\n")
        .collect::<String>()
        .trim_end()
        .to_owned()
}

/// Mean bits of a weight: `4`, `2.25`.
pub(crate) fn bits(mean: f64) -> String {
    ((mean * 100.0).round() / 100.0).to_string()
}

/// Labels and values, one pair a line.
pub(crate) fn facts(facts: &[(&'static str, String)]) -> String {
    let width = facts.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    facts.iter().map(|(label, value)| format!("{label:width$}  {value}")).collect::<Vec<_>>().join("\n")
}

/// Bytes for people: megabytes of 10^6 bytes, as the papers count them.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.3}", bytes as f64 / 1e6)
}

/// A share of one in percent.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.2}%", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_align_left_and_numbers_right() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["long".to_owned(), "100".to_owned()]];
        let printed = table(&["node", "bytes"], 1, rows);
        let lines: Vec<_> = printed.lines().map(str::trim).collect();
        assert_eq!(lines, ["node  bytes", "a         1", "long    100"]);
    }
}
