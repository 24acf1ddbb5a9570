//! The harness shared by the end-to-end tests: the real `eqo` binary, run as people run it.

mod certificates;

pub use certificates::Certificates;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;

use eqo_checkpoints::format::Checkpoint;
use eqo_datasets::{Image, save_png};
use serde_json::Value;

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The committed checkpoint with a few thousand weights.
pub fn tiny_checkpoint() -> PathBuf {
    root().join("checkpoints/fixtures/tiny.safetensors")
}

/// Fills `folder` with `count` seeded random PNGs that fit `checkpoint`, dealt to one sub-folder a class; their paths.
pub fn image_folder(folder: &Path, checkpoint: &Path, count: usize) -> Vec<PathBuf> {
    let checkpoint = Checkpoint::read(checkpoint).expect("the fixture is valid");
    let [channels, height, width] = checkpoint.graph().shape(0);
    assert_eq!(channels, 3, "image files are RGB");
    let classes = &checkpoint.graph().graph().classes;
    classes.iter().for_each(|class| fs::create_dir_all(folder.join(class)).expect("the folder is writable"));
    let mut state = 1_u32;
    let image = |index: usize| {
        let mut pixel = || {
            // Knuth's MMIX-style congruential generator: any pixels do.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let pixels = (0..channels * height * width).map(|_| pixel()).collect();
        let image = Image::new(height, width, pixels).expect("the length fits");
        let path = folder.join(&classes[index % classes.len()]).join(format!("{index:03}.png"));
        save_png(&path, &image).expect("the folder is writable");
        path
    };
    (0..count).map(image).collect()
}

/// A file of `../shared`, or `None` and a printed reason where this checkout has none.
#[expect(clippy::print_stdout, reason = "a skipped test says so where the test harness shows it")]
pub fn shared(path: &str) -> Option<PathBuf> {
    let file = root().join("../shared").join(path);
    if file.exists() {
        return Some(file);
    }
    println!("skipped: {} isn't here", file.display());
    None
}

/// The binary, in the profile of this test and up to date, whatever was built before.
///
/// It is made as `cargo test --workspace` makes it, for the package's own integration test: `cargo build --package eqo`
/// would resolve other features and build Burn a second time. `EQO_BINARY` names another one to test.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(binary) = std::env::var_os("EQO_BINARY") {
            return binary.into();
        }
        let test = std::env::current_exe().expect("the test knows its path");
        let profile_dir = test.ancestors().nth(2).expect("tests lie in <target>/<profile>/deps");
        let target = profile_dir.parent().expect("a profile folder lies in the target folder");
        let profile = if profile_dir.ends_with("debug") { "dev" } else { "release" };
        let mut build = Command::new(env!("CARGO"));
        build.args([
            "test",
            "--quiet",
            "--locked",
            "--workspace",
            "--test",
            "smoke",
            "--no-run",
            "--profile",
            profile,
        ]);
        let built = build.arg("--target-dir").arg(target).current_dir(root()).output().expect("cargo runs");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        profile_dir.join("eqo").with_extension(std::env::consts::EXE_EXTENSION)
    })
}

/// `eqo` with `arguments`, in the repository's root, without colours or logs.
pub fn eqo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(root()).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// What a finished command printed.
pub struct Ran {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// The last line of stdout as JSON.
    pub fn json(&self) -> Value {
        let line = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("{error} in {line:?}; stderr: {}", self.stderr))
    }

    /// Panics unless the command ended with `code` and said each of `words` on stderr.
    pub fn refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "stderr: {}", self.stderr);
        assert!(self.stdout.is_empty(), "a refusal prints no result: {}", self.stdout);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} isn't in {:?}", self.stderr);
        }
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ran {
    let Output { status, stdout, stderr } = command.output().expect("the binary starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
    Ran { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) }
}

/// [`run`] of [`eqo`].
pub fn run_eqo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Ran {
    run(&mut eqo(arguments))
}

/// [`run_eqo`] that must succeed; its JSON.
pub fn json_of<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Value {
    let ran = run_eqo(arguments);
    assert_eq!(ran.code, 0, "stderr: {}", ran.stderr);
    ran.json()
}

/// A running `eqo serve` on a free port; ends with the value.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: String,
    /// Where its metrics are, with `--metrics`.
    pub metrics: String,
    stderr: Option<JoinHandle<String>>,
}

impl Server {
    /// Serves `checkpoint` on 127.0.0.1 with `options`, and waits until it listens.
    pub fn start(checkpoint: &Path, options: &[&str]) -> Self {
        Self::start_logging(checkpoint, options, "warn")
    }

    /// [`start`](Self::start) with this `RUST_LOG`.
    pub fn start_logging(checkpoint: &Path, options: &[&str], log: &str) -> Self {
        let mut command = eqo([OsStr::new("serve"), checkpoint.as_os_str()]);
        command.env("RUST_LOG", log);
        command.args(["--listen", "127.0.0.1:0"]).args(options);
        if !options.contains(&"--tls-cert") {
            command.arg("--insecure-plaintext");
        }
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let mut said = |before: &str| {
            let mut line = String::new();
            stderr.read_line(&mut line).expect("stderr is readable");
            line.trim().strip_prefix(before).unwrap_or_else(|| panic!("{line:?}")).to_owned()
        };
        let address = said("listening on ");
        let metrics = if options.contains(&"--metrics") { said("metrics on ") } else { String::new() };
        let rest = std::thread::spawn(move || {
            let mut rest = String::new();
            // Invalid UTF-8 would show as a missing message in the test that looks for it.
            let _ = stderr.read_to_string(&mut rest);
            rest
        });
        Self { child, address, metrics, stderr: Some(rest) }
    }

    /// Waits until it ends by itself: exit code and what it said on stderr after the address.
    pub fn wait(mut self) -> (i32, String) {
        let code = self.child.wait().expect("the child is ours").code().unwrap_or(-1);
        let said = self.stderr.take().and_then(|rest| rest.join().ok()).unwrap_or_default();
        (code, said)
    }

    /// Sends it the signal of this name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill runs");
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process holds, from /proc.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resources {
    /// Resident memory.
    pub resident_kib: usize,
    /// Threads.
    pub threads: usize,
    /// Open files and sockets.
    pub descriptors: usize,
}

impl Resources {
    /// Of this process, which must live.
    pub fn of(id: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{id}/status")).expect("the process lives");
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
        };
        let descriptors = fs::read_dir(format!("/proc/{id}/fd")).expect("the process is ours").count();
        Self { resident_kib: number("VmRSS:"), threads: number("Threads:"), descriptors }
    }
}
