//! `eqo quantize`: from a recipe to a verified integer checkpoint.

use eqo_checkpoints::Checkpoint;
use eqo_quant::report::{Accuracy, QuantizeReport};
use eqo_train::recipe::Recipe;

use crate::args::{Ot, QuantizeArgs};
use crate::commands::inspect::Inspection;
use crate::exit::Failure;
use crate::output::{self, percent};
use crate::report::{Report, Stage};
use crate::run_folder::{self, Run, with_pipeline};

pub(crate) fn run(args: &QuantizeArgs) -> Result<(), Failure> {
    let mut recipe = run_folder::recipe(&args.run.recipe)?;
    if args.plan.is_some() {
        recipe.bits.plan.clone_from(&args.plan);
    }
    let run = Run { force: args.force, ..Run::of(&recipe, &args.run) };
    let report = with_pipeline(&recipe, &run, |pipeline, hooks| Ok(pipeline.quantize(hooks)?))?;
    let stages = stages(&report);
    write_page(&report, &stages, &recipe, &run)?;
    if args.run.json { output::json(&report) } else { output::text(&table(&report, &stages)) }
}

/// The accuracies of a run, in the order of the pipeline.
pub(crate) fn stages(report: &QuantizeReport) -> Vec<Stage> {
    let stage = |name, accuracy: Accuracy| Stage { name, images: accuracy.images, correct: accuracy.correct };
    let imported = report.float_imported.map(|accuracy| stage("imported", accuracy));
    imported.into_iter().chain([stage("float", report.float), stage("integer", report.integer)]).collect()
}

/// Accuracy by stage, for people.
pub(crate) fn stage_table(stages: &[Stage]) -> String {
    let rows = stages.iter().map(|stage| {
        let (images, correct) = (stage.images.to_string(), stage.correct.to_string());
        vec![stage.name.to_owned(), images, correct, percent(stage.accuracy())]
    });
    output::table(&["stage", "images", "correct", "accuracy"], 1, rows)
}

/// What is worth knowing about a run at a glance.
pub(crate) fn facts(report: &QuantizeReport) -> Vec<(&'static str, String)> {
    let verified = &report.verified;
    let seconds: Vec<_> =
        report.seconds.iter().map(|(stage, seconds)| format!("{stage} {seconds:.0} s")).collect();
    vec![
        ("architecture", report.arch.clone()),
        ("bits", report.plan_in_words()),
        ("verified", format!("{} integers of {} images equal", verified.elements, verified.images)),
        ("time", seconds.join(", ")),
        ("graph", report.graph_hash.clone()),
    ]
}

fn write_page(report: &QuantizeReport, stages: &[Stage], recipe: &Recipe, run: &Run) -> Result<(), Failure> {
    let checkpoint = Checkpoint::read(&report.checkpoint)?;
    let inspection = Inspection::new(checkpoint.graph(), Ot::Ferret.kind(), 1);
    let (layers, recipe) = (inspection.traffic(), recipe.to_toml());
    let page = Report { title: &report.name, facts: facts(report), stages, layers: &layers, recipe: &recipe };
    page.write(&run.out.join("report.html"))
}

fn table(report: &QuantizeReport, stages: &[Stage]) -> String {
    format!("{}\n\n{}\n\n{}", stage_table(stages), output::facts(&facts(report)), report.checkpoint.display())
}
