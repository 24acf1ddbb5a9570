//! The table's page: bytes by profile and operator, online and offline, time by network, accuracy against bytes.

use std::fmt::Write as _;

use super::Table;
use super::row::Row;
use crate::commands::bench::files::Document;
use crate::commands::compare::front::front;
use crate::exit::Failure;
use crate::report::compared::{self, Mark};
use crate::report::stacked::{Bar, Stacked};
use crate::report::{escape, head};

impl Table {
    pub(super) fn html(&self) -> Result<String, Failure> {
        let mut page = head("Protocols beside each other");
        // Writing to a String can't fail.
        let _ = write!(page, "<pre>{}</pre>", escape(&self.text()));
        for model in self.models() {
            let _ = write!(page, "<h2>{}</h2>", escape(model));
            for (title, plot) in self.plots(model)? {
                let _ = write!(page, "<h3>{}</h3>{plot}", escape(&title));
            }
        }
        page.push_str("<h2>Profiles</h2><ul>");
        for note in &self.profiles {
            let modelled =
                note.modelled.as_deref().map(|what| format!(" Modelled: {what}.")).unwrap_or_default();
            let text = format!("{}: {}. {}.{modelled}", note.profile, note.computes, note.source);
            let _ = write!(page, "<li>{}</li>", escape(&text));
        }
        page.push_str("</ul></html>\n");
        Ok(page)
    }

    fn models(&self) -> Vec<&str> {
        let mut models: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !models.contains(&row.model.as_str()) {
                models.push(&row.model);
            }
        }
        models
    }

    /// The first network's row of every profile.
    fn firsts<'t>(&'t self, model: &str) -> Vec<&'t Row> {
        self.groups().into_iter().filter_map(<[Row]>::first).filter(|row| row.model == model).collect()
    }

    fn plots(&self, model: &str) -> Result<Vec<(String, String)>, Failure> {
        let rows = self.firsts(model);
        let mut plots = vec![
            ("Communication by operator".to_owned(), by_operator(&rows).svg()?),
            ("Before and after the image is known".to_owned(), by_phase(&rows).svg()?),
        ];
        for network in self.networks() {
            let timed = self.rows.iter().filter(|row| row.model == model && row.network == network);
            let timed: Vec<&Row> = timed.filter(|row| row.executed).collect();
            if !timed.is_empty() {
                plots.push((format!("Time, {network}"), by_time(&timed).svg()?));
            }
        }
        let trained: Vec<&Row> = rows.into_iter().filter(|row| row.accuracy.is_some()).collect();
        if !trained.is_empty() {
            plots.push(("Accuracy against bytes".to_owned(), accuracies(&trained)?));
        }
        Ok(plots)
    }
}

fn by_operator(rows: &[&Row]) -> Stacked {
    let mut parts: Vec<String> = Vec::new();
    for operator in rows.iter().flat_map(|row| &row.operators) {
        if !parts.contains(&operator.operator) {
            parts.push(operator.operator.clone());
        }
    }
    let bar = |row: &&Row| {
        let of = |part: &String| row.operators.iter().find(|operator| operator.operator == *part);
        let bytes = |part| of(part).map_or(0, |found| found.bytes_offline + found.bytes_online);
        Bar { label: row.label(), values: parts.iter().map(|part| bytes(part) as f64 / 1e6).collect() }
    };
    Stacked { bars: rows.iter().map(bar).collect(), parts: parts.clone(), axis: "MB".to_owned() }
}

fn by_phase(rows: &[&Row]) -> Stacked {
    let bar = |row: &&Row| {
        let values = [row.bytes_offline, row.bytes_online].map(|bytes| bytes as f64 / 1e6);
        Bar { label: row.label(), values: values.to_vec() }
    };
    let parts = vec!["offline".to_owned(), "online".to_owned()];
    Stacked { bars: rows.iter().map(bar).collect(), parts, axis: "MB".to_owned() }
}

fn by_time(rows: &[&Row]) -> Stacked {
    let bar = |row: &&Row| {
        let [online, total] = [row.seconds_online, row.seconds_total].map(Option::unwrap_or_default);
        Bar { label: row.label(), values: vec![total - online, online] }
    };
    let parts = vec!["offline".to_owned(), "online".to_owned()];
    Stacked { bars: rows.iter().map(bar).collect(), parts, axis: "seconds".to_owned() }
}

fn accuracies(rows: &[&Row]) -> Result<String, Failure> {
    let point = |row: &&Row| (row.bytes_total as f64 / 1e6, row.accuracy.unwrap_or_default());
    let points: Vec<(f64, f64)> = rows.iter().map(point).collect();
    let names: Vec<String> = rows.iter().map(|row| row.weights_name()).collect();
    let optimal = front(&points);
    let marks: Vec<Mark<'_>> = rows
        .iter()
        .zip(&names)
        .zip(points.iter().zip(optimal))
        .map(|((row, name), (&(megabytes, accuracy), optimal))| Mark {
            name,
            series: &row.profile,
            megabytes,
            accuracy,
            optimal,
        })
        .collect();
    compared::plot(&marks, "MB an image")
}

impl Row {
    /// Beside its bar.
    fn label(&self) -> String {
        if self.executed { self.profile.clone() } else { format!("{} (modelled)", self.profile) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::environment::Environment;
    use crate::commands::bench::figures::OperatorBytes;
    use crate::commands::bench::table::notes::ProfileNote;

    fn row(profile: &str, network: &str, executed: bool) -> Row {
        let operator = |operator: &str, bytes_offline, bytes_online| OperatorBytes {
            operator: operator.to_owned(),
            bytes_offline,
            bytes_online,
        };
        Row {
            model: "net".to_owned(),
            profile: profile.to_owned(),
            network: network.to_owned(),
            bytes_offline: 1_000_000,
            bytes_online: 3_000_000,
            bytes_total: 4_000_000,
            rounds_online: 7,
            seconds_online: executed.then_some(0.5),
            seconds_total: executed.then_some(0.75),
            executed,
            ratio_to_sirnn: 2.0,
            accuracy: executed.then_some(0.875),
            weights: "runs/best/model.safetensors".to_owned(),
            mismatches: executed.then_some(0),
            peak_memory_server: executed.then_some(5_000_000),
            peak_memory_client: None,
            operators: vec![operator("convolution", 1_000_000, 0), operator("relu", 0, 3_000_000)],
            layers: Vec::new(),
        }
    }

    fn table() -> Table {
        let rows = vec![row("eqo", "lan", true), row("eqo", "wan", true), row("co & co", "lan", false)];
        let profiles = vec![ProfileNote::of(crate::args::TableProfile::Coinn)];
        Table { environment: Environment::new(1), weight_bits: 2, act_bits: 6, repeat: 1, profiles, rows }
    }

    #[test]
    fn the_page_has_its_plots_and_refers_to_nothing_outside() {
        let page = table().html().unwrap();
        // By operator, by phase, two networks, accuracy.
        assert_eq!(page.matches("<svg").count(), 5);
        assert!(
            page.contains("co &amp; co (modelled)") && page.contains("87.50%") && page.contains("Modelled:")
        );
        assert!(!page.contains("NaN") && !page.contains("inf"));
        for outside in ["src=", "href=", "<script", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn networks_are_columns_and_a_row_that_was_not_run_has_no_times() {
        let markdown = table().markdown();
        let lines: Vec<&str> = markdown.lines().collect();
        assert!(lines[0].contains("| s online, lan | s, lan | s online, wan | s, wan |"), "{markdown}");
        assert!(
            lines[2].starts_with("| net | eqo | best | 1.000 | 3.000 | 4.000 | 2.0x | 7 | 0.50 | 0.75 |")
        );
        assert!(lines[3].contains("| 7 |  |  |  |  |") && lines[3].ends_with("modelled |"), "{markdown}");
    }

    #[test]
    fn a_table_survives_its_json() {
        let folder = tempfile::tempdir().unwrap();
        table().write(folder.path()).unwrap();
        let read = Table::read(&folder.path().join("table.json")).unwrap();
        assert_eq!(read.markdown(), std::fs::read_to_string(folder.path().join("table.md")).unwrap());
        assert_eq!(read.rows, table().rows);
    }
}
