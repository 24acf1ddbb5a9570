//! A local HTTP server that serves one file in one of several ways, and remembers the ranges asked for.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tiny_http::{Header, Request, Response, StatusCode};

/// How the server answers.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// Honours `Range`.
    Ranges,
    /// Always 200 with the whole file.
    Whole,
    /// 200 with the whole file and no length (chunked).
    Unannounced,
    /// 404.
    NotFound,
    /// Redirects to itself.
    RedirectForever,
}

/// Stops when dropped.
pub(crate) struct Server {
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    ranges: Arc<Mutex<Vec<Option<String>>>>,
    http: Arc<tiny_http::Server>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(file: Vec<u8>, answer: Answer) -> Self {
        let http = Arc::new(tiny_http::Server::http("127.0.0.1:0").unwrap());
        let url = format!("http://{}", http.server_addr());
        let ranges = Arc::new(Mutex::new(Vec::new()));
        let thread = {
            let (http, ranges) = (Arc::clone(&http), Arc::clone(&ranges));
            std::thread::spawn(move || {
                for request in http.incoming_requests() {
                    let range = range_of(&request);
                    ranges.lock().unwrap().push(range.clone());
                    respond(request, &file, answer, range);
                }
            })
        };
        Self { url, ranges, http, thread: Some(thread) }
    }

    /// The `Range` header of every request so far.
    pub(crate) fn ranges(&self) -> Vec<Option<String>> {
        self.ranges.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.http.unblock();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn range_of(request: &Request) -> Option<String> {
    let header = request.headers().iter().find(|header| header.field.equiv("Range"));
    header.map(|header| header.value.to_string())
}

fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).unwrap()
}

fn respond(request: Request, file: &[u8], answer: Answer, range: Option<String>) {
    let start =
        range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    // The client may hang up early on purpose, so a failure to answer is no failure of the test.
    let _ = match (answer, start) {
        (Answer::NotFound, _) => request.respond(Response::empty(404)),
        (Answer::RedirectForever, _) => {
            let to = header("Location", request.url());
            request.respond(Response::empty(302).with_header(to))
        }
        (Answer::Ranges, Some(start)) => {
            let range = format!("bytes {start}-{}/{}", file.len() - 1, file.len());
            let rest = Response::from_data(&file[start..]).with_chunked_threshold(usize::MAX);
            request.respond(rest.with_status_code(206).with_header(header("Content-Range", &range)))
        }
        (Answer::Unannounced, _) => request.respond(Response::new(StatusCode(200), vec![], file, None, None)),
        _ => request.respond(Response::from_data(file).with_chunked_threshold(usize::MAX)),
    };
}

/// Answers one request: announces the whole file, sends `cut` bytes and closes. Returns the address.
///
/// A bare socket, because `tiny_http` keeps a connection open after a short body.
pub(crate) fn serve_cut_once(file: Vec<u8>, cut: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let request = BufReader::new(stream.try_clone().unwrap());
        request.lines().map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", file.len()).unwrap();
        stream.write_all(&file[..cut]).unwrap();
    });
    url
}
