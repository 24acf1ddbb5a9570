//! The report of a run: two plots, the tables behind them, and how the run was made.

use std::fmt::Write as _;
use std::path::Path;

use super::{escape, head, plots, write_whole};
use crate::evaluation::accuracy;
use crate::exit::Failure;
use crate::output::{megabytes, percent};

/// Everything a report shows.
pub(crate) struct Report<'a> {
    /// Name of the run.
    pub(crate) title: &'a str,
    /// Label and value of what is worth knowing at a glance.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// Accuracies in the order of the pipeline.
    pub(crate) stages: &'a [Stage],
    /// Traffic in the order of the network.
    pub(crate) layers: &'a [LayerBytes],
    /// The resolved recipe.
    pub(crate) recipe: &'a str,
}

/// Accuracy of one stage of the pipeline.
pub(crate) struct Stage {
    /// `float`, `integer`, `private`.
    pub(crate) name: &'static str,
    /// Images it was measured on.
    pub(crate) images: usize,
    /// Those of them that were classified correctly.
    pub(crate) correct: usize,
}

/// What one layer costs, both directions.
pub(crate) struct LayerBytes {
    /// The node's name.
    pub(crate) node: String,
    /// What it computes.
    pub(crate) op: String,
    /// Bytes.
    pub(crate) bytes: u64,
    /// Rounds.
    pub(crate) rounds: u64,
}

impl Stage {
    /// Correct images as a share of all.
    pub(crate) fn accuracy(&self) -> f64 {
        accuracy(self.correct, self.images)
    }
}

impl Report<'_> {
    /// Writes the report to `path`, which is either complete or untouched.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        write_whole(path, self.html()?.as_bytes())
    }

    fn html(&self) -> Result<String, Failure> {
        let mut page = head(self.title);
        let facts: String =
            self.facts.iter().map(|(label, value)| row([escape(label), escape(value)])).collect();
        let stages: String = self.stages.iter().map(stage_row).collect();
        let layers: String = self.layers.iter().map(layer_row).collect();
        let stage_plot = plots::accuracy_by_stage(self.stages)?;
        let layer_plot = plots::bytes_by_layer(self.layers)?;
        let recipe = escape(self.recipe);
        // Writing to a String can't fail.
        let _ = writeln!(
            page,
            "<table>{facts}</table>\
             <h2>Accuracy by stage</h2>{stage_plot}\
             <table><tr><th>stage<th>images<th>correct<th>accuracy</tr>{stages}</table>\
             <h2>Bytes by layer</h2>{layer_plot}\
             <table><tr><th>node<th>operation<th>MB<th>rounds</tr>{layers}</table>\
             <h2>Recipe</h2><pre>{recipe}</pre></html>"
        );
        Ok(page)
    }
}

fn stage_row(stage: &Stage) -> String {
    let accuracy = percent(stage.accuracy());
    row([stage.name.to_owned(), stage.images.to_string(), stage.correct.to_string(), accuracy])
}

fn layer_row(layer: &LayerBytes) -> String {
    row([escape(&layer.node), escape(&layer.op), megabytes(layer.bytes), layer.rounds.to_string()])
}

fn row<const N: usize>(cells: [String; N]) -> String {
    let cells: String = cells.iter().map(|cell| format!("<td>{cell}")).collect();
    format!("<tr>{cells}</tr>")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(stages: &[Stage], layers: &[LayerBytes]) -> String {
        let facts = vec![("data", "<b>&\"x\"".to_owned())];
        Report { title: "a & b", facts, stages, layers, recipe: "name = \"x\"" }.html().unwrap()
    }

    #[test]
    fn a_report_holds_its_plots_and_refers_to_nothing_outside() {
        let stages = [
            Stage { name: "float", images: 4, correct: 3 },
            Stage { name: "integer", images: 4, correct: 2 },
        ];
        let layer = |node: &str, bytes| LayerBytes { node: node.into(), op: "conv".into(), bytes, rounds: 2 };
        let page = report(&stages, &[layer("conv1", 2_000_000), layer("linear", 1_000)]);
        assert_eq!(page.matches("<svg").count(), 2);
        assert!(page.contains("75.00%") && page.contains("2.000") && page.contains("conv1"));
        assert!(page.contains("&lt;b&gt;&amp;&quot;x&quot;") && page.contains("a &amp; b"));
        for outside in ["src=", "href=", "<script", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn a_report_without_rows_is_still_a_page() {
        assert!(report(&[], &[]).contains("</html>"));
    }
}
