//! Arguments of the comparison of checkpoints.

use std::path::PathBuf;

use clap::Args;

use super::PrivateArgs;
use super::values::{at_least_one, html_file};

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Run folders (with model.safetensors and report.json) or checkpoint files. LABEL=RUN names one; what stands before
    /// the label's first slash is its series in the plot (`uniform/W2=runs/a`: series `uniform`).
    #[arg(required = true, value_name = "[LABEL=]RUN")]
    pub(crate) runs: Vec<PathBuf>,
    /// Test images for runs whose report.json has no accuracy of them, and for --private: as in `eqo eval`.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// Measure the bytes: run both parties of each run as two processes on this many images, in batches of --batch.
    #[arg(long, value_name = "IMAGES", requires = "data", value_parser = at_least_one)]
    pub(crate) private: Option<usize>,
    #[command(flatten)]
    pub(crate) parameters: PrivateArgs,
    /// Also write a page with the plot; to compare.html if no file is named.
    #[arg(long, value_name = "FILE.html", num_args = 0..=1, default_missing_value = "compare.html", value_parser = html_file)]
    pub(crate) out: Option<PathBuf>,
    /// One JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}
