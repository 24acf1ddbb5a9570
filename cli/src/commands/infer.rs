//! `eqo infer`: the party with the images.

use std::path::PathBuf;
use std::time::Instant;

use eqo_checkpoints::engine::class_of;
use eqo_protocol::session::client::{Client, ClientConfig, connect};
use eqo_protocol::transport::{self, TransportConfig};
use serde::Serialize;

use crate::args::InferArgs;
use crate::exit::Failure;
use crate::output::{self, megabytes};
use crate::{images, party};

/// One line of the result; its JSON is a contract with other tools.
#[derive(Serialize)]
struct Prediction<'a> {
    /// The file.
    image: String,
    /// Index of the largest logit.
    class: usize,
    /// What that class is called.
    class_name: &'a str,
    /// Integers at the network's logit scale.
    logits: &'a [i64],
    /// Both directions; the first image's share includes the start of the session.
    bytes_total: u64,
    /// Wall time, likewise.
    seconds: f64,
}

pub(crate) fn run(args: &InferArgs) -> Result<(), Failure> {
    let mut since = Instant::now();
    let runtime = party::runtime()?;
    let settings = TransportConfig { timeout: args.timeout, link: args.network };
    let channel = transport::connect(&args.server, runtime.handle(), settings)?;
    let config = ClientConfig { ot: args.parameters.ot.kind(), expected_graph: args.expect_graph };
    let mut client = connect(channel, &config)?;
    let classes = client.graph().graph().classes.clone();
    let mut bytes_before = 0;
    let mut rows = Vec::new();
    for files in args.images.chunks(args.parameters.batch) {
        let logits = infer(&mut client, files)?;
        let bytes = client.report().bytes();
        let share = files.len() as u64;
        let (bytes_total, seconds) =
            ((bytes - bytes_before) / share, since.elapsed().as_secs_f64() / share as f64);
        (bytes_before, since) = (bytes, Instant::now());
        for (file, logits) in files.iter().zip(&logits) {
            let class = class_of(logits);
            let (image, class_name) = (file.display().to_string(), classes[class].as_str());
            let prediction = Prediction { image, class, class_name, logits, bytes_total, seconds };
            if args.json {
                output::json(&prediction)?;
            } else {
                rows.push(prediction.row());
            }
        }
    }
    client.close()?;
    let header = ["image", "class", "MB", "seconds"];
    if args.json { Ok(()) } else { output::text(&output::table(&header, 2, rows)) }
}

/// Reads the files at the network's size and asks the server.
fn infer(client: &mut Client, files: &[PathBuf]) -> Result<Vec<Vec<i64>>, Failure> {
    let [_, height, width] = client.graph().shape(0);
    let images =
        files.iter().map(|file| images::load(file, [height, width])).collect::<Result<Vec<_>, _>>()?;
    Ok(client.infer(&images)?)
}

impl Prediction<'_> {
    fn row(&self) -> Vec<String> {
        let seconds = format!("{:.2}", self.seconds);
        vec![self.image.clone(), self.class_name.to_owned(), megabytes(self.bytes_total), seconds]
    }
}
