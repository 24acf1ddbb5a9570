//! `eqo plan`: bits by the Hessian within a budget.

use eqo_checkpoints::plan::LayerPlan;
use eqo_quant::plan_report::{Judged, PlanReport};

use crate::args::PlanArgs;
use crate::exit::Failure;
use crate::output;
use crate::report::planned;
use crate::run_folder::{self, Run, with_pipeline};

pub(crate) fn run(args: &PlanArgs) -> Result<(), Failure> {
    let recipe = run_folder::recipe(&args.run.recipe)?;
    let run = Run { force: args.force, ..Run::of(&recipe, &args.run) };
    let report = with_pipeline(&recipe, &run, |pipeline, hooks| Ok(pipeline.plan(hooks)?))?;
    let (layers, facts) = (layer_table(&report), facts(&report));
    planned::write(&report, &recipe.name, [&layers, &facts], &run.out.join("plan.html"))?;
    if args.run.json {
        output::json(&report)
    } else {
        output::text(&format!("{layers}\n\n{facts}\n\n{}", report.path.display()))
    }
}

fn layer_table(report: &PlanReport) -> String {
    let rows = report.layers.iter().filter_map(|(name, price)| {
        let plan = report.plan.layers.get(name)?;
        let algorithm = plan.algorithm.name();
        let trace = report.trace(algorithm, name)?;
        Some(vec![
            name.clone(),
            algorithm.to_owned(),
            code(plan),
            output::bits(plan.mean_bits()),
            plan.act_bits.to_string(),
            format!("{:.3}", trace.trace),
            format!("{:.3}", trace.confidence),
            trace.probes.to_string(),
            format!("{:.3}", price.total() / 1e6),
        ])
    });
    let header = ["layer", "algorithm", "code", "w bits", "a bits", "trace", "± 95%", "probes", "MB"];
    output::table(&header, 3, rows)
}

/// What its bits are worth, where that isn't two's complement.
fn code(plan: &LayerPlan) -> String {
    let exponents = plan.exponents.iter().flatten().map(u8::to_string).collect::<Vec<_>>().join("-");
    let offset = if plan.mid_rise { "+½" } else { "" };
    format!("{exponents}{offset}")
}

fn facts(report: &PlanReport) -> String {
    let judged = |judged: &Judged| {
        let omega = judged.omega.map_or_else(|| "not on the menu".to_owned(), |omega| format!("{omega:.4}"));
        format!("{:.3} {}, sensitivity {omega}", judged.cost, report.measure)
    };
    let budget = report.budget.map(|budget| format!("{budget:.3} {}", report.measure));
    let budget = budget.unwrap_or_else(|| "the least".to_owned());
    let gap = match report.gap {
        Some(gap) if gap > 0.0 => {
            format!("at most {:.2}% of its programme, the search was cut off", 100.0 * gap)
        }
        Some(_) => "0%, proven for its programme".to_owned(),
        None => "not known".to_owned(),
    };
    let seconds: Vec<String> =
        report.seconds.iter().map(|(part, seconds)| format!("{part} {seconds:.0} s")).collect();
    output::facts(&[
        ("plan", judged(&report.chosen)),
        ("uniform", judged(&report.uniform)),
        ("budget", budget),
        ("optimality gap", gap),
        ("time", seconds.join(", ")),
    ])
}
