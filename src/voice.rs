//! How `sft` speaks: results on stdout, everything else on stderr, as loud as the user asked.
//!
//! Whoever stops reading stdout, such as `head`, ends the command without a complaint.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use clap::Args;
use serde_json::{Map, Value, json};
use sft_base::Shown;
use sft_client::WireError;
use tracing_subscriber::EnvFilter;

use crate::exit::Exit;
use crate::names::{put_error, put_path};

/// How loud, and in which form.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Tone {
    /// Say only what went wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more; twice for the log of the inner works
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Write events and results as JSON, one object a line
    #[arg(long, global = true)]
    pub json: bool,
}

/// The way out for everything that `sft` says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Voice {
    tone: Tone,
    stdout_terminal: bool,
    stderr_terminal: bool,
}

/// Nobody reads stdout any more, which is no fault.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
pub(crate) struct ReaderGone;

/// Stdout cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the output: {0}")]
pub(crate) struct OutputError(io::Error);

impl Voice {
    /// The voice of this process.
    pub(crate) fn new(tone: Tone) -> Self {
        Self {
            tone,
            stdout_terminal: io::stdout().is_terminal(),
            stderr_terminal: io::stderr().is_terminal(),
        }
    }

    /// Starts the log of the inner works where it was asked for, by `-vv` or by `RUST_LOG`.
    pub(crate) fn start_log(&self) {
        let asked = (self.tone.verbose > 1).then(|| EnvFilter::new("sft=debug,sft_client=debug,sft_engine=debug,sft_lane=debug,sft_auth=debug,sft_store=debug,sft_doors=debug"));
        if let Some(filter) = EnvFilter::try_from_default_env().ok().or(asked) {
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
        }
    }

    /// Whether results are JSON.
    pub(crate) fn json(&self) -> bool {
        self.tone.json
    }

    /// Whether also that is told which follows from something that was told.
    pub(crate) fn tells_all(&self) -> bool {
        self.tone.json || self.tone.verbose > 0
    }

    /// Whether stdout is a terminal.
    pub(crate) fn stdout_terminal(&self) -> bool {
        self.stdout_terminal
    }

    /// Whether a bar may be drawn on stderr.
    pub(crate) fn draws(&self) -> bool {
        self.stderr_terminal && !self.tone.quiet && !self.tone.json
    }

    /// Whether someone sits at a terminal, reads stderr, and can answer.
    pub(crate) fn can_ask(&self) -> bool {
        self.stderr_terminal && io::stdin().is_terminal()
    }

    /// Writes results to stdout.
    pub(crate) fn write(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        write(&mut out).and_then(|()| out.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => ReaderGone.into(),
            _ => OutputError(error).into(),
        })
    }

    /// Writes one object as a line to stdout.
    pub(crate) fn object(&self, object: Map<String, Value>) -> anyhow::Result<()> {
        self.write(|out| writeln!(out, "{}", Value::Object(object)))
    }

    /// Says what a user may like to know.
    pub(crate) fn note(&self, text: &str) {
        if !self.tone.quiet && !self.tone.json {
            self.stderr(text);
        }
    }

    /// Says what only the curious want to know.
    pub(crate) fn detail(&self, text: &str) {
        if self.tone.verbose > 0 && !self.tone.json {
            self.stderr(text);
        }
    }

    /// Says what went wrong without ending the command.
    pub(crate) fn warn(&self, text: &str) {
        if !self.tone.json {
            self.stderr(&format!("sft: {text}"));
        }
    }

    /// Says that one entry failed, while the command goes on.
    pub(crate) fn failed(&self, path: &[u8], error: &WireError) -> anyhow::Result<()> {
        if !self.tone.json {
            self.stderr(&format!("sft: {}: {error}", Shown(path)));
            return Ok(());
        }
        let mut object = Map::new();
        object.insert("event".into(), "failed".into());
        put_path(&mut object, path);
        put_error(&mut object, error);
        self.object(object)
    }

    /// Says what ended the command: on stderr always, and as an object to who reads JSON.
    pub(crate) fn fail(&self, text: &str, exit: Exit) {
        if self.tone.json {
            let object = json!({ "event": "error", "text": text, "exit": exit.code() });
            // A lost reader cannot be told anything; stderr follows.
            let _ = self.write(|out| writeln!(out, "{object}"));
        }
        self.stderr(&format!("sft: {text}"));
    }

    /// A line to stderr. A lost stderr is nobody's concern: there is no other place to tell it.
    fn stderr(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{}", harmless(text));
    }
}

/// Text that may quote a file or another machine, without what a terminal would obey.
fn harmless(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(obeyed) {
        return text.into();
    }
    text.chars().map(|c| if obeyed(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_replaced() {
        assert_eq!(harmless("line 2\n |\u{1b}[31m \u{9b}1\r"), "line 2\n |\u{fffd}[31m \u{fffd}1\u{fffd}");
        assert!(matches!(harmless("naïve:\t✓\n"), Cow::Borrowed(_)));
    }
}
