//! `eqo infer`: the party with the images.

use std::path::PathBuf;
use std::time::Instant;

use eqo_checkpoints::engine::class_of;
use eqo_protocol::session::client::{ClientConfig, Patience, PersistentClient};
use eqo_protocol::transport::TransportConfig;
use serde::Serialize;

use crate::args::InferArgs;
use crate::exit::Failure;
use crate::output::{self, megabytes};
use crate::security::Dialer;
use crate::{images, party, security};

mod lines;

/// One line of the result; its JSON is a contract with other tools.
#[derive(Serialize)]
struct Prediction<'a> {
    /// The file.
    image: String,
    /// Index of the largest logit.
    class: usize,
    /// What that class is called.
    class_name: &'a str,
    /// Integers at the network's logit scale; absent if only the class was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    logits: Option<&'a [i64]>,
    /// Both directions, from when the image was sent.
    bytes_online: u64,
    /// The preparation as well; the first image's share includes the start of the session.
    bytes_total: u64,
    /// Wall time, from when the image was sent.
    seconds_online: f64,
    /// Wall time, likewise.
    seconds: f64,
}

/// What the client learned of an image.
struct Answer {
    class: usize,
    logits: Option<Vec<i64>>,
}

pub(crate) fn run(args: &InferArgs) -> Result<(), Failure> {
    let by_line = lines::are_asked_for(args)?;
    let since = Instant::now();
    let runtime = party::runtime()?;
    let settings = TransportConfig { timeout: args.timeout, link: args.network };
    let server = (args.server.as_str(), args.tls_name.as_deref());
    let dial = security::dialer(&args.credentials, server, runtime.handle(), settings)?;
    let config =
        ClientConfig { ot: args.parameters.ot(), expected_graph: args.expect_graph, threads: args.threads };
    let patience = Patience { attempts: args.reconnect, ..Patience::default() };
    let client = PersistentClient::connect(dial, &config, patience)?;
    let mut asking = Asking { client, args, since, bytes_before: 0, rows: Vec::new() };
    if by_line {
        lines::answer_all(&mut asking, args.stock)?;
    } else {
        args.images.chunks(args.parameters.batch).try_for_each(|files| asking.answer(files))?;
    }
    asking.finish()
}

/// A session and what it has answered so far.
struct Asking<'a> {
    client: PersistentClient<Box<Dialer>>,
    args: &'a InferArgs,
    /// When the last answer was there.
    since: Instant,
    /// Traffic up to then.
    bytes_before: u64,
    rows: Vec<Vec<String>>,
}

impl Asking<'_> {
    /// Asks for these images at once, and prints or notes what came.
    fn answer(&mut self, files: &[PathBuf]) -> Result<(), Failure> {
        // First of all: an image that can't be read costs no preparation.
        let [_, height, width] = self.client.graph().shape(0);
        let images =
            files.iter().map(|file| images::load(file, [height, width])).collect::<Result<Vec<_>, _>>()?;
        if self.client.prepared(files.len()) == 0 {
            self.client.prepare(files.len())?;
        }
        let (prepared, asked) = (self.client.bytes(), Instant::now());
        let answers = infer(&mut self.client, &images, self.args.top1)?;
        let share = files.len() as u64;
        let seconds_online = asked.elapsed().as_secs_f64() / share as f64;
        let seconds = self.since.elapsed().as_secs_f64() / share as f64;
        let bytes = self.client.bytes();
        let bytes_online = (bytes - prepared) / share;
        let bytes_total = (bytes - self.bytes_before) / share;
        (self.bytes_before, self.since) = (bytes, Instant::now());
        let classes = &self.client.graph().graph().classes;
        for (file, answer) in files.iter().zip(&answers) {
            let prediction = Prediction {
                image: file.display().to_string(),
                class: answer.class,
                class_name: &classes[answer.class],
                logits: answer.logits.as_deref(),
                bytes_online,
                bytes_total,
                seconds_online,
                seconds,
            };
            if self.args.json {
                output::json(&prediction)?;
            } else {
                self.rows.push(prediction.row());
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Failure> {
        self.client.close()?;
        let header = ["image", "class", "MB", "MB online", "seconds", "online"];
        if self.args.json { Ok(()) } else { output::text(&output::table(&header, 2, self.rows)) }
    }
}

/// Asks the server about images of the network's size.
fn infer(
    client: &mut PersistentClient<Box<Dialer>>,
    images: &[Vec<u8>],
    top1: bool,
) -> Result<Vec<Answer>, Failure> {
    if top1 {
        let classes = client.classify(images)?;
        return Ok(classes.into_iter().map(|class| Answer { class, logits: None }).collect());
    }
    let logits = client.infer(images)?;
    Ok(logits.into_iter().map(|logits| Answer { class: class_of(&logits), logits: Some(logits) }).collect())
}

impl Prediction<'_> {
    fn row(&self) -> Vec<String> {
        let [seconds, online] = [self.seconds, self.seconds_online].map(|seconds| format!("{seconds:.2}"));
        let [total, waited] = [self.bytes_total, self.bytes_online].map(megabytes);
        vec![self.image.clone(), self.class_name.to_owned(), total, waited, seconds, online]
    }
}
