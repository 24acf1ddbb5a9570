//! `eqo demo`: the whole pipeline on the built-in images, both parties included.

use std::path::Path;

use eqo_checkpoints::Checkpoint;
use eqo_datasets::{Dataset, save_png};
use eqo_quant::report::QuantizeReport;
use eqo_train::recipe::Recipe;

use crate::args::DemoArgs;
use crate::commands::quantize::{facts, stage_table, stages};
use crate::evaluation::{Evaluation, PrivateFigures};
use crate::exit::{Failure, Kind};
use crate::output;
use crate::private;
use crate::report::{LayerBytes, Report, Stage};
use crate::run_folder::{Run, with_pipeline};

const RECIPE: &str = include_str!("../../../configs/demo.toml");

pub(crate) fn run(args: &DemoArgs) -> Result<(), Failure> {
    let recipe = Recipe::parse(RECIPE, "configs/demo.toml (built in)", &args.set)?;
    let run = Run { force: true, plain: args.plain || args.json, ..Run::new(&recipe, Some(&args.out)) };
    let (quantized, images) = with_pipeline(&recipe, &run, |pipeline, hooks| {
        let report = pipeline.quantize(hooks)?;
        let test = &pipeline.images().test;
        // The synthetic set deals its classes in turn, so any beginning of it is balanced.
        let some: Vec<usize> = (0..args.images.min(test.len())).collect();
        Ok((report, test.subset(&some)))
    })?;
    save_images(&images, &args.out.join("images"))?;
    let checkpoint = Checkpoint::read(&quantized.checkpoint)?;
    let setting = private::Setting {
        checkpoint: &quantized.checkpoint,
        parameters: args.parameters,
        timeout: private::TIMEOUT,
        network: None,
    };
    let evaluation = private::evaluate(&checkpoint.engine(), &images, &setting)?;
    let mut stages = stages(&quantized);
    let correct = evaluation.correct.unwrap_or_default();
    stages.push(Stage { name: "private", images: evaluation.images, correct });
    write_page(&quantized, &evaluation, &stages, &recipe, &args.out)?;
    if !args.json {
        let out = args.out.display();
        let written = format!("{out}/model.safetensors\n{out}/report.html\n{out}/images/");
        output::text(&format!("{}\n\n{}\n\n{written}", evaluation.table(), stage_table(&stages)))?;
    } else {
        output::json(&evaluation)?;
    }
    private::verdict(&evaluation)
}

/// `<index>-<class>.png`, which `eqo infer` can be tried on.
fn save_images(images: &Dataset, folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|error| {
        let next = "check that the path is writable and the disk has room";
        Failure::new(Kind::Data, format!("{}: create failed: {error}; {next}", folder.display()))
    })?;
    for index in 0..images.len() {
        let class = &images.classes()[usize::from(images.label(index))];
        let name = format!("{index:02}-{}.png", class.replace(' ', "-"));
        save_png(folder.join(name), &images.to_image(index))?;
    }
    Ok(())
}

fn write_page(
    quantized: &QuantizeReport,
    evaluation: &Evaluation,
    stages: &[Stage],
    recipe: &Recipe,
    out: &Path,
) -> Result<(), Failure> {
    let mut facts = facts(quantized);
    let mut layers = Vec::new();
    if let Some(private) = &evaluation.private {
        facts.extend(private.facts(evaluation.images));
        layers = traffic(private);
    }
    let recipe = recipe.to_toml();
    Report { title: &quantized.name, facts, stages, layers: &layers, recipe: &recipe }
        .write(&out.join("report.html"))
}

fn traffic(private: &PrivateFigures) -> Vec<LayerBytes> {
    let row = |layer: &crate::evaluation::LayerFigures| LayerBytes {
        node: layer.node.clone(),
        op: layer.op.clone(),
        bytes: layer.bytes_offline + layer.bytes_online,
        rounds: layer.rounds_online,
    };
    private.layers.iter().map(row).collect()
}
