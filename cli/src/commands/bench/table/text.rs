//! The table for people and for documents: networks of wires beside each other, everything else below each other.

use super::Table;
use super::row::Row;
use crate::commands::bench::files::{Document, markdown_table};
use crate::exit::Failure;
use crate::output::{self, megabytes, percent};

/// Columns of words.
const WORDS: usize = 3;

impl Document for Table {
    const NAME: &'static str = "table";

    fn text(&self) -> String {
        let header = self.header();
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        format!("{}\n\n{}", output::table(&header, WORDS, self.cells()), self.environment.sentence())
    }

    fn markdown(&self) -> String {
        let table = markdown_table(&self.header(), WORDS, &self.cells());
        format!("{table}\n{}\n", self.provenance())
    }

    fn page(&self) -> Result<String, Failure> {
        self.html()
    }
}

impl Table {
    /// Rows of one model and profile: one for each network.
    pub(super) fn groups(&self) -> Vec<&[Row]> {
        self.rows
            .chunk_by(|a, b| (&a.model, &a.profile, &a.weights) == (&b.model, &b.profile, &b.weights))
            .collect()
    }

    /// The networks, in order.
    pub(super) fn networks(&self) -> Vec<&str> {
        let mut networks: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !networks.contains(&row.network.as_str()) {
                networks.push(&row.network);
            }
        }
        networks
    }

    /// By what and from what it was made.
    fn provenance(&self) -> String {
        let bits = format!("W{}A{}", self.weight_bits, self.act_bits);
        format!(
            "MB of one image, both directions, set-up included; random weights of eqo and eqo+ have {bits} where no plan says otherwise; seconds are medians of {}. {}",
            self.repeat,
            self.environment.sentence()
        )
    }

    fn header(&self) -> Vec<String> {
        let words = ["model", "profile", "weights"];
        let numbers = ["MB offline", "MB online", "MB", "less than sirnn", "rounds online"];
        let mut header: Vec<String> = words.into_iter().chain(numbers).map(str::to_owned).collect();
        for network in self.networks() {
            header.extend([format!("s online, {network}"), format!("s, {network}")]);
        }
        header.extend(["peak MB, server", "client", "accuracy", "run"].map(str::to_owned));
        header
    }

    fn cells(&self) -> Vec<Vec<String>> {
        self.groups().into_iter().filter_map(|rows| self.line(rows)).collect()
    }

    fn line(&self, rows: &[Row]) -> Option<Vec<String>> {
        let first = rows.first()?;
        let mut cells = vec![first.model.clone(), first.profile.clone(), first.weights_name()];
        cells.extend([first.bytes_offline, first.bytes_online, first.bytes_total].map(megabytes));
        cells.extend([format!("{:.1}x", first.ratio_to_sirnn), first.rounds_online.to_string()]);
        for network in self.networks() {
            let row = rows.iter().find(|row| row.network == network);
            let seconds = |of: fn(&Row) -> Option<f64>| {
                row.and_then(of).map_or_else(String::new, |seconds| format!("{seconds:.2}"))
            };
            cells.extend([seconds(|row| row.seconds_online), seconds(|row| row.seconds_total)]);
        }
        for of in [|row: &Row| row.peak_memory_server, |row: &Row| row.peak_memory_client] {
            let bytes = rows.iter().filter_map(of).max();
            cells.push(bytes.map_or_else(String::new, |bytes| format!("{:.0}", bytes as f64 / 1e6)));
        }
        cells.push(first.accuracy.map_or_else(String::new, percent));
        cells.push(first.how());
        Some(cells)
    }
}

impl Row {
    /// The run folder or file, without the folders above it.
    pub(super) fn weights_name(&self) -> String {
        let mut parts = self.weights.rsplit('/');
        let file = parts.next().unwrap_or_default();
        let folder = parts.next().filter(|_| file == crate::files::CHECKPOINT);
        folder.unwrap_or(file).to_owned()
    }

    /// How its figures came about.
    fn how(&self) -> String {
        if self.executed {
            return "yes".to_owned();
        }
        match self.layers.len() {
            0 => "modelled".to_owned(),
            count => {
                let (megabytes, seconds) = self.layers.iter().fold((0.0, 0.0), |(bytes, seconds), layer| {
                    (bytes + layer.bytes as f64 / 1e6, seconds + layer.seconds)
                });
                format!("modelled; {count} layers, one of each shape: {megabytes:.0} MB in {seconds:.0} s")
            }
        }
    }
}
