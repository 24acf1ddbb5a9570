//! Self-contained HTML pages: plots, and the tables behind them.

use std::path::Path;

use plotters::style::RGBColor;

use crate::exit::{Failure, Kind};

pub(crate) mod compared;
#[cfg(feature = "train")]
pub(crate) mod curve;
#[cfg(feature = "train")]
pub(crate) mod planned;
#[cfg(feature = "train")]
mod plots;
#[cfg(feature = "train")]
mod quantized;
mod scatter;
pub(crate) mod stacked;

#[cfg(feature = "train")]
pub(crate) use quantized::{LayerBytes, Report, Stage};

/// Writes `bytes` to `<path>.part`, then renames: no half file is ever left under `path`.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let written = std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, path));
    written.map_err(|error| {
        // The first error is the one to report; a part that can't be removed does no harm.
        let _ = std::fs::remove_file(&part);
        let next = "check that the folder exists, is writable and the disk has room";
        Failure::new(Kind::Data, format!("{}: write failed: {error}; {next}", path.display()))
    })
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn failure(error: Box<dyn std::error::Error>) -> Failure {
    Failure::new(
        Kind::Data,
        format!("report: drawing failed: {error}; the checkpoint and the tables are complete"),
    )
}

/// The beginning of a page up to its heading.
pub(crate) fn head(title: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title} · EQO</title>{STYLE}<h1>{title}</h1>"
    )
}

/// Text for a page.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const BAR: RGBColor = RGBColor(0x2b, 0x6c, 0x99);

/// Okabe and Ito's, which colour-blind people tell apart too, without the yellow that white swallows.
const COLORS: [RGBColor; 7] = [
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x00, 0x00, 0x00),
];

const STYLE: &str = "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
color:#1c2733;background:#fff}h1,h2{font-weight:600}svg{max-width:100%;height:auto}table{border-collapse:collapse;\
margin:1rem 0}td,th{padding:.2rem .9rem .2rem 0;text-align:left;border-bottom:1px solid #d5dce3;\
font-variant-numeric:tabular-nums}pre{background:#f3f5f7;padding:1rem;overflow:auto}</style>";
