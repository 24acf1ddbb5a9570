//! A comparison on stdout and in files, and read back from them.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::args::MeasurementArgs;
use crate::exit::{Failure, Kind};
use crate::output;
use crate::report::write_whole;

/// A comparison in all its forms.
pub(super) trait Document: Serialize + DeserializeOwned {
    /// Its files are called so.
    const NAME: &'static str;

    /// For people at a terminal.
    fn text(&self) -> String;

    /// For documents.
    fn markdown(&self) -> String;

    /// A page with plots that refers to nothing outside.
    fn page(&self) -> Result<String, Failure>;

    /// To stdout, and to the folder if there is one.
    fn present(&self, args: &MeasurementArgs) -> Result<(), Failure> {
        if args.json {
            output::json(self)?;
        } else if args.markdown {
            output::text(self.markdown().trim_end())?;
        } else {
            output::text(&self.text())?;
        }
        args.out.as_deref().map_or(Ok(()), |folder| self.write(folder))
    }

    /// `NAME.json`, `NAME.md` and `NAME.html`.
    fn write(&self, folder: &Path) -> Result<(), Failure> {
        let json = serde_json::to_string_pretty(self)
            .map_err(|error| Failure::new(Kind::Data, format!("JSON: {error}")))?;
        for (extension, text) in [("json", json + "\n"), ("md", self.markdown()), ("html", self.page()?)] {
            write_whole(&folder.join(format!("{}.{extension}", Self::NAME)), text.as_bytes())?;
        }
        Ok(())
    }

    /// What [`write`](Self::write) wrote as JSON.
    fn read(file: &Path) -> Result<Self, Failure> {
        let failure = |error: String| {
            let next = format!("name a file that `eqo bench {} --out FOLDER` wrote", Self::NAME);
            Failure::new(Kind::Data, format!("{}: {error}; {next}", file.display()))
        };
        let text = std::fs::read(file).map_err(|error| failure(format!("read failed: {error}")))?;
        serde_json::from_slice(&text).map_err(|error| failure(format!("expected its JSON: {error}")))
    }
}

/// Creates the folder for results before anything is measured.
pub(super) fn prepare(args: &MeasurementArgs) -> Result<(), Failure> {
    let Some(folder) = &args.out else { return Ok(()) };
    std::fs::create_dir_all(folder).map_err(|error| {
        let next = "name a folder that can be written";
        Failure::new(Kind::Data, format!("--out {}: create failed: {error}; {next}", folder.display()))
    })
}

/// A table in Markdown: the first `left` columns are words, the others numbers.
pub(super) fn markdown_table(header: &[String], left: usize, rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule: Vec<String> =
        (0..header.len()).map(|at| if at < left { "---" } else { "---:" }.to_owned()).collect();
    let rows: String = rows.iter().map(|row| line(row)).collect();
    line(header) + &line(&rule) + &rows
}
