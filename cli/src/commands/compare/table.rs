//! All runs beside each other: table, JSON, page, verdict.

use std::path::Path;

use serde::Serialize;

use super::front::front;
use super::row::Row;
use crate::args::{CompareArgs, PrivateArgs};
use crate::exit::Failure;
use crate::output::{self, percent};
use crate::report::compared::{self, Mark};

/// What the command prints; its JSON is a contract with other tools.
#[derive(Serialize)]
pub(super) struct Comparison {
    profile: &'static str,
    ot: &'static str,
    /// Images answered at once.
    batch: usize,
    /// The cheapest first.
    runs: Vec<Row>,
}

impl Comparison {
    /// Sorts the rows and marks the optimal ones.
    pub(super) fn new(mut runs: Vec<Row>, args: &CompareArgs) -> Self {
        let point = |row: &Row| (row.traffic.bytes_per_image, row.accuracy);
        runs.sort_by(|a, b| {
            let ((bytes, accuracy), (other_bytes, other_accuracy)) = (point(a), point(b));
            bytes.total_cmp(&other_bytes).then(other_accuracy.total_cmp(&accuracy))
        });
        let points: Vec<(f64, f64)> = runs.iter().map(point).collect();
        runs.iter_mut().zip(front(&points)).for_each(|(row, optimal)| row.pareto = optimal);
        let PrivateArgs { batch, profile, .. } = args.parameters;
        Self { profile: profile.name(), ot: args.parameters.ot().name(), batch, runs }
    }

    /// The result on stdout.
    pub(super) fn print(&self, json: bool) -> Result<(), Failure> {
        if json { output::json(self) } else { output::text(&self.text()) }
    }

    /// The page with the plot.
    pub(super) fn write(&self, path: &Path) -> Result<(), Failure> {
        let marks: Vec<Mark<'_>> = self.runs.iter().map(mark).collect();
        let axis = if self.is_measured() { "MB an image, measured" } else { "MB an image, predicted" };
        compared::write(&marks, axis, &self.text(), path)
    }

    /// The first failure of any private run, after everything was printed.
    pub(super) fn verdict(self) -> Result<(), Failure> {
        let failed = self.runs.into_iter().find_map(|row| Some(row.failure?.at(&row.name)));
        failed.map_or(Ok(()), Err)
    }

    fn is_measured(&self) -> bool {
        self.runs.iter().all(|row| row.traffic.measured.is_some())
    }

    fn text(&self) -> String {
        let mut header = vec!["run", "architecture", "w bits", "a bits", "images", "correct", "accuracy"];
        header.extend(["MB an image", "online", "optimal"]);
        if self.is_measured() {
            header.extend(["mismatches", "predicted = measured"]);
        }
        let table = output::table(&header, 2, self.runs.iter().map(Row::cells));
        format!("{table}\n\n{}", self.notes().join("\n"))
    }

    /// What the figures are of.
    fn notes(&self) -> Vec<String> {
        let how = if self.is_measured() { "measured between two processes" } else { "predicted" };
        let images = self.runs.iter().map(|row| row.traffic.session_images).max().unwrap_or(0);
        let (batch, profile, ot) = (self.batch, self.profile, self.ot);
        let mut notes = vec![
            format!(
                "MB an image: {how}, a session of {images} in batches of {batch}, set-up included; profile {profile}, {ot}"
            ),
            "optimal: no other run is as accurate for fewer bytes or more accurate for as many".to_owned(),
        ];
        if self.runs.windows(2).any(|pair| pair[0].counted.images != pair[1].counted.images) {
            notes.push("accuracies are of different test images: see the column, or pass --data".to_owned());
        }
        notes
    }
}

impl Row {
    fn cells(&self) -> Vec<String> {
        let Self { network, counted, traffic, .. } = self;
        let bits = |mean: Option<f64>| mean.map_or_else(String::new, output::bits);
        let megabytes = |bytes: f64| format!("{:.3}", bytes / 1e6);
        let optimal = if self.pareto { "*" } else { "" };
        let mut cells = vec![
            self.name.clone(),
            network.arch.clone(),
            bits(network.weight_bits),
            bits(network.act_bits),
            counted.images.to_string(),
            counted.correct.to_string(),
            percent(self.accuracy),
            megabytes(traffic.bytes_per_image),
            megabytes(traffic.bytes_per_image_online),
            optimal.to_owned(),
        ];
        if let Some(measured) = &traffic.measured {
            let equal = if measured.equal { "yes" } else { "NO" };
            cells.push(format!("{} of {}", measured.mismatches, traffic.session_images));
            cells.push(equal.to_owned());
        }
        cells
    }
}

fn mark(row: &Row) -> Mark<'_> {
    Mark {
        name: &row.name,
        series: &row.series,
        megabytes: row.traffic.bytes_per_image / 1e6,
        accuracy: row.accuracy,
        optimal: row.pareto,
    }
}
