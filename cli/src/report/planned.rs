//! The self-contained page of a plan: curvature, choices, bytes and the front that the plan is a point of.

use std::fmt::Write as _;
use std::path::Path;

use eqo_quant::plan_report::{Judged, PlanReport, TraceRow};
use eqo_train::qat::Spread;

use super::plots::{self, Bar};
use super::{escape, head, write_whole};
use crate::exit::Failure;

/// Writes the page to `path`: `title`, the tables of the command as they are printed, and the plots.
pub(crate) fn write(report: &PlanReport, title: &str, tables: [&str; 2], path: &Path) -> Result<(), Failure> {
    write_whole(path, page(report, title, tables)?.as_bytes())
}

fn page(report: &PlanReport, title: &str, [layers, facts]: [&str; 2]) -> Result<String, Failure> {
    let mut page = head(title);
    let (layers, facts) = (escape(layers), escape(facts));
    // Writing to a String can't fail.
    let _ = write!(page, "<pre>{facts}</pre><h2>Layers</h2><pre>{layers}</pre>");
    for (what, plot) in plots(report)? {
        let _ = write!(page, "<h2>{}</h2>{plot}", escape(&what));
    }
    let _ = writeln!(page, "</html>");
    Ok(page)
}

fn plots(report: &PlanReport) -> Result<Vec<(String, String)>, Failure> {
    let mut found = Vec::new();
    let marked = [("plan", &report.chosen), ("uniform", &report.uniform)];
    let mark = |(name, judged): (&'static str, &Judged)| Some((name, judged.cost, judged.omega?));
    let marked: Vec<_> = marked.into_iter().filter_map(mark).collect();
    let front: Vec<(f64, f64)> = report.sweep.iter().map(|row| (row.cost, row.omega)).collect();
    let axes = [report.measure, "sensitivity"];
    found.push(("Best sensitivity by budget".to_owned(), plots::front(&front, &marked, axes)?));
    let bars = |of: &dyn Fn(&str) -> f64| -> Vec<Bar> {
        report.layers.iter().map(|(name, _)| (name.clone(), of(name))).collect()
    };
    let bytes: Vec<Bar> =
        report.layers.iter().map(|(name, price)| (name.clone(), price.total() / 1e6)).collect();
    found.push(("Bytes by layer, of the plan".to_owned(), plots::bars_by_layer(&bytes, "MB")?));
    let bits = |name: &str| report.plan.layers.get(name).map_or(0.0, |plan| plan.mean_bits());
    found.push(("Bits of a weight".to_owned(), plots::bars_by_layer(&bars(&bits), "bits")?));
    for (what, rows) in &report.traces {
        // A trace of nothing, or one that its noise made negative, has no logarithm.
        let bar = |row: &TraceRow| (row.layer.clone(), row.trace.max(1e-9).log10());
        let bars: Vec<Bar> = rows.iter().filter(|row| row.trace > 0.0).map(bar).collect();
        let title = format!("Trace of the Hessian by layer, {what}");
        found.push((title, plots::bars_by_layer(&bars, "log10 of the trace")?));
    }
    for (what, of) in [
        ("Largest weight over the standard deviation", (|spread| spread.peak) as fn(&Spread) -> f64),
        ("Kurtosis of the weights", |spread| spread.kurtosis),
    ] {
        for (when, at) in [("before", 0), ("after", 1)] {
            let worst = |taps: &[[Spread; 2]]| taps.iter().map(|tap| of(&tap[at])).fold(0.0, f64::max);
            let bars: Vec<Bar> =
                report.spreads.iter().map(|(name, taps)| (name.clone(), worst(taps))).collect();
            let title = format!("{what}, worst tap, {when} rounding");
            found.push((title, plots::bars_by_layer(&bars, what)?));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use eqo_checkpoints::arch::Arch;
    use eqo_checkpoints::plan::BitPlan;
    use eqo_quant::plan_report::SweepRow;
    use eqo_quant::price::Price;

    use super::*;

    #[test]
    fn the_page_has_every_plot_and_refers_to_nothing_outside() {
        let arch = Arch::by_name("cifar-resnet8", 10).unwrap();
        let plan = BitPlan::uniform(&arch, 3, 6);
        let price = Price { offline: 2e6, online: 1e5, rounds_offline: 1.0, rounds_online: 6.0 };
        let judged = |omega| Judged { omega, price, cost: 2.1 };
        let trace = |trace| TraceRow {
            layer: "conv1".to_owned(),
            trace,
            confidence: 0.1,
            relative_error: 0.05,
            mean: 0.01,
            probes: 16,
        };
        let report = PlanReport {
            layers: plan.layers.keys().map(|name| (name.clone(), price)).collect(),
            plan,
            path: "plan.toml".into(),
            measure: "MB",
            budget: Some(2.5),
            gap: Some(0.0),
            chosen: judged(Some(0.5)),
            uniform: judged(None),
            traces: BTreeMap::from([("f2x2", vec![trace(3.0), trace(-1.0), trace(0.0)])]),
            spreads: vec![("conv1".to_owned(), vec![[Spread { kurtosis: 4.0, peak: 5.0 }; 2]])],
            sensitivities: Vec::new(),
            sweep: vec![SweepRow { cost: 2.0, omega: 0.6 }, SweepRow { cost: 3.0, omega: 0.1 }],
            seconds: BTreeMap::new(),
        };
        let page = page(&report, "a & b", ["layer <x>", "facts"]).unwrap();
        assert_eq!(page.matches("<svg").count(), 8);
        assert!(page.contains("a &amp; b") && page.contains("layer &lt;x&gt;") && page.contains("log10"));
        assert!(!page.contains("NaN") && !page.contains("inf"));
        for outside in ["src=", "href=", "<script", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
