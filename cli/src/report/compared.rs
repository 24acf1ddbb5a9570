//! The self-contained page of a comparison: accuracy against bytes, and the table behind it.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;

use plotters::style::{Color, ShapeStyle};

use super::scatter::{Dot, Scatter, Series};
use super::{COLORS, escape, head, write_whole};
use crate::exit::Failure;

/// One run in the plot.
pub(crate) struct Mark<'a> {
    /// Written beside its point.
    pub(crate) name: &'a str,
    /// Points of one series have one colour.
    pub(crate) series: &'a str,
    /// What an image costs.
    pub(crate) megabytes: f64,
    /// 0 to 1.
    pub(crate) accuracy: f64,
    /// No other run is better.
    pub(crate) optimal: bool,
}

/// Writes the page to `path`, which is either complete or untouched; `table` as it is printed.
pub(crate) fn write(marks: &[Mark<'_>], axis: &str, table: &str, path: &Path) -> Result<(), Failure> {
    write_whole(path, page(marks, axis, table)?.as_bytes())
}

fn page(marks: &[Mark<'_>], axis: &str, table: &str) -> Result<String, Failure> {
    let mut page = head("Accuracy against bytes");
    let (plot, table) = (plot(marks, axis)?, escape(table));
    // Writing to a String can't fail.
    let _ = writeln!(page, "{plot}<pre>{table}</pre></html>");
    Ok(page)
}

/// The plot alone.
pub(crate) fn plot(marks: &[Mark<'_>], axis: &str) -> Result<String, Failure> {
    let ranges = [
        range(marks.iter().map(|mark| mark.at().0), f64::INFINITY),
        range(marks.iter().map(|mark| mark.at().1), 100.0),
    ];
    let mut names: Vec<&str> = Vec::new();
    for mark in marks {
        if !names.contains(&mark.series) {
            names.push(mark.series);
        }
    }
    let series = names.iter().enumerate().map(|(index, &name)| {
        let dots = marks.iter().filter(|mark| mark.series == name);
        let dots = dots.map(|mark| Dot::new(mark.name, mark.at().0, mark.at().1)).collect();
        Series { name, style: style(index), dots }
    });
    let series = series.collect();
    let line = stairs(marks, ranges[0].end);
    Scatter { axes: [axis, "accuracy, %"], ranges, line, series }.svg()
}

impl Mark<'_> {
    /// Where it is: MB and percent.
    fn at(&self) -> (f64, f64) {
        (self.megabytes, 100.0 * self.accuracy)
    }
}

/// From the least to the most value and a tenth more on each side, between 0 and `limit`.
fn range(values: impl Iterator<Item = f64> + Clone, limit: f64) -> Range<f64> {
    let least = values.clone().fold(f64::INFINITY, f64::min);
    let most = values.fold(f64::NEG_INFINITY, f64::max);
    // Without width plotters divides by 0.
    let margin = (0.1 * (most - least)).max(0.01 * most).max(1e-3);
    if least.is_finite() && most.is_finite() {
        (least - margin).max(0.0)..(most + margin).min(limit)
    } else {
        0.0..1.0
    }
}

/// The most accuracy for at most so many bytes: no line straight between two runs, which nobody has measured.
fn stairs(marks: &[Mark<'_>], end: f64) -> Vec<(f64, f64)> {
    let mut optimal: Vec<(f64, f64)> = marks.iter().filter(|mark| mark.optimal).map(Mark::at).collect();
    optimal.sort_by(|a, b| a.0.total_cmp(&b.0));
    let next = optimal.iter().skip(1).map(|at| at.0).chain([end]);
    optimal.iter().zip(next).flat_map(|(&(x, y), next)| [(x, y), (next, y)]).collect()
}

/// A colour for each series; rings when all colours are taken, then from the beginning.
fn style(index: usize) -> ShapeStyle {
    let color = COLORS[index % COLORS.len()];
    if (index / COLORS.len()).is_multiple_of(2) { color.filled() } else { color.stroke_width(2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark<'a>(name: &'a str, series: &'a str, megabytes: f64, accuracy: f64) -> Mark<'a> {
        Mark { name, series, megabytes, accuracy, optimal: accuracy > 0.8 }
    }

    #[test]
    fn the_page_has_its_plot_and_table_and_refers_to_nothing_outside() {
        let marks = [
            mark("a & b/<1>", "a & b", 78.4, 0.86),
            mark("taps/2", "taps", 80.3, 0.79),
            mark("taps/3", "taps", 94.9, 0.87),
        ];
        let page = page(&marks, "MB an image", "run <x>").unwrap();
        assert_eq!((page.matches("<svg").count(), page.matches("</html>").count()), (1, 1));
        assert!(
            page.contains("run &lt;x&gt;") && page.contains("a &amp; b/&lt;1&gt;") && page.contains("taps/3")
        );
        assert!(page.contains("MB an image") && !page.contains("NaN") && !page.contains("inf"));
        for outside in ["src=", "href=", "<script", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn the_front_is_stairs_that_go_on_to_the_edge() {
        let marks = [mark("b", "s", 2.0, 0.9), mark("a", "s", 1.0, 0.85), mark("c", "s", 1.5, 0.5)];
        let stairs = stairs(&marks, 4.0);
        assert_eq!(stairs, [(1.0, 85.0), (2.0, 85.0), (2.0, 90.0), (4.0, 90.0)]);
    }

    #[test]
    fn one_run_equal_runs_and_extremes_still_have_a_plot() {
        for marks in [
            vec![],
            vec![mark("a", "a", 80.3, 0.86)],
            vec![mark("a", "a", 80.3, 0.86), mark("b", "b", 80.3, 0.86)],
            vec![mark("a", "a", 0.0, 0.0)],
            vec![mark("a", "a", u64::MAX as f64 / 1e6, 1.0), mark("b", "b", 1.0, 1.0)],
        ] {
            let plot = plot(&marks, "MB").unwrap();
            assert!(plot.contains("</svg>") && !plot.contains("NaN") && !plot.contains("inf"), "{plot}");
        }
    }
}
