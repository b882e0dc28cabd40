//! One run of a program: started, watched, ended.
//!
//! What it writes is collected while it runs, so it never waits for a reader; what was started is ended on drop.

use std::fmt;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A program that runs.
pub struct Running {
    child: Child,
    line: String,
    started: Instant,
    stdout: Collector,
    stderr: Collector,
    peak_kib: u64,
}

/// How a program ended.
#[derive(Clone)]
pub struct Ran {
    /// The command line.
    pub line: String,
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it wrote to the other.
    pub stderr: Vec<u8>,
    /// How long it ran.
    pub took: Duration,
    /// The most memory it ever held, KiB, as far as it was looked at while it ran.
    pub peak_kib: u64,
}

struct Collector {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts a program with nothing to read.
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let line = format!("{command:?}");
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
        let stdout = Collector::of(child.stdout.take().expect("it is piped"));
        let stderr = Collector::of(child.stderr.take().expect("it is piped"));
        Self { child, line, started: Instant::now(), stdout, stderr, peak_kib: 0 }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
    }

    /// Asks it to stop, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Asks it to stop, as a service manager does.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        // It may have ended by itself; until it is waited for, nobody else gets its number.
        let _ = kill_process(pid, signal);
    }

    /// Whether it has ended.
    pub fn is_over(&mut self) -> bool {
        self.status().is_some()
    }

    /// What it wrote so far.
    pub fn stdout_so_far(&self) -> String {
        self.stdout.text()
    }

    /// What it wrote to the other so far.
    pub fn stderr_so_far(&self) -> String {
        self.stderr.text()
    }

    /// The most memory it has held so far, KiB (`VmHWM`).
    pub fn peak_kib(&mut self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok());
        self.peak_kib = self.peak_kib.max(peak.unwrap_or(0));
        self.peak_kib
    }

    /// Waits for its end; one that takes longer than `at_most` is ended, and the test with it.
    pub fn wait(mut self, at_most: Duration) -> Ran {
        let begun = Instant::now();
        let status = loop {
            self.peak_kib();
            if let Some(status) = self.status() {
                break status;
            }
            if begun.elapsed() > at_most {
                self.kill();
                let ran = self.ended();
                panic!("it did not end within {at_most:?}\n{ran:?}");
            }
            std::thread::sleep(LOOK);
        };
        self.ran(status)
    }

    /// Waits for the end of what was killed or asked to stop.
    pub fn ended(mut self) -> Ran {
        let status = self.child.wait().unwrap_or_else(|error| panic!("{}: {error}", self.line));
        self.ran(status)
    }

    fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap_or_else(|error| panic!("{}: {error}", self.line))
    }

    fn ran(&mut self, status: ExitStatus) -> Ran {
        Ran {
            line: self.line.clone(),
            code: status.code(),
            signal: status.signal(),
            stdout: self.stdout.all(),
            stderr: self.stderr.all(),
            took: self.started.elapsed(),
            peak_kib: self.peak_kib,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ran {
    /// Panics unless it ended with success.
    #[track_caller]
    pub fn done(self) -> Self {
        self.ended(0)
    }

    /// Panics unless it ended with this code.
    #[track_caller]
    pub fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// Panics unless it wrote this to stderr somewhere.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.err().contains(text), "`{text}` is not said by\n{self:?}");
        self
    }

    /// Stdout as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Stderr as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Stdout as objects of JSON, one a line.
    #[track_caller]
    pub fn objects(&self) -> Vec<serde_json::Value> {
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}\n{self:?}"));
        self.out().lines().map(parse).collect()
    }
}

impl fmt::Debug for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, code, signal, took, .. } = self;
        writeln!(f, "{line}\nended with code {code:?}, signal {signal:?}, after {took:?}")?;
        writeln!(f, "--- stdout\n{}", shortened(&self.out()))?;
        writeln!(f, "--- stderr\n{}", shortened(&self.err()))
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("line", &self.line).field("pid", &self.pid()).finish_non_exhaustive()
    }
}

impl Collector {
    fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let into = bytes.clone();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 64 << 10];
            while let Ok(read @ 1..) = pipe.read(&mut buffer) {
                into.lock().expect("no holder of this lock panics").extend_from_slice(&buffer[..read]);
            }
        });
        Self { bytes, thread: Some(thread) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().expect("no holder of this lock panics")).into_owned()
    }

    fn all(&mut self) -> Vec<u8> {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a collector does not panic");
        }
        self.bytes.lock().expect("no holder of this lock panics").clone()
    }
}

fn shortened(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() <= SHOWN_LINES {
        return text.to_owned();
    }
    let (first, last) = (&lines[..SHOWN_LINES / 2], &lines[lines.len() - SHOWN_LINES / 2..]);
    format!("{}\n... {} lines ...\n{}", first.join("\n"), lines.len() - SHOWN_LINES, last.join("\n"))
}

const LOOK: Duration = Duration::from_millis(3);
const SHOWN_LINES: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Running {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Running::start(command)
    }

    #[test]
    fn what_is_written_and_how_it_ends_is_told() {
        let ran = shell("echo out; echo err >&2; exit 3").wait(Duration::from_secs(10)).ended(3).says("err");
        assert_eq!((ran.out().as_str(), ran.err().as_str()), ("out\n", "err\n"));
    }

    #[test]
    fn what_is_killed_has_no_code() {
        let mut running = shell("exec sleep 60");
        assert!(!running.is_over() && running.peak_kib() > 0);
        running.kill();
        assert_eq!(running.ended().signal, Some(9));
    }

    #[test]
    #[should_panic(expected = "did not end within")]
    fn what_takes_too_long_fails_the_test() {
        shell("exec sleep 60").wait(Duration::from_millis(20));
    }
}
