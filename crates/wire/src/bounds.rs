//! What a message may say beyond its shape: counts, lengths and rules of each (spec/wire.md, "Messages" and "Limits").
//!
//! Only what can be judged from the message alone: whether an entry was offered or a unit was sent, the two ends of a
//! transfer know.

use minicbor::{Decode, Encode};
use sft_base::limits;

use crate::error::WireError;
use crate::message::{
    Attach, Attached, Body, Cancel, Close, Commit, Denied, Done, Entry, EntryKind, Finish, Finished, Got,
    HeldNode, Hello, Offer, Op, PackHeader, PackedFile, Partial, PieceHeader, Ping, Proof, Pull, Reply,
    Request, Run, Stamp, Unapplied, Want, Welcome,
};

/// A message that can be read from a payload: its name, and the rules that its types cannot say.
pub trait Bounded: Encode<()> + for<'b> Decode<'b, ()> {
    /// The name in the specification.
    const NAME: &'static str;

    /// Whether every limit and rule is kept.
    fn check(&self) -> Result<(), Broken>;
}

/// A limit or a rule that a message breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// More of something than there may be.
    #[error("{what}: {got}, and at most {limit} are allowed")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How much there may be.
        limit: u64,
        /// How much there is.
        got: u64,
    },
    /// A rule, as it reads in the specification.
    #[error("{0}")]
    Rule(&'static str),
}

/// One line for each message whose shape says everything.
macro_rules! unbounded {
    ($($message:ident $name:literal;)*) => {
        $(impl Bounded for $message {
            const NAME: &'static str = $name;

            fn check(&self) -> Result<(), Broken> {
                Ok(())
            }
        })*
    };
}

unbounded! {
    Attach "attach";
    Attached "attached";
    Ping "ping";
    Done "done";
}

impl Bounded for Hello {
    const NAME: &'static str = "hello";

    fn check(&self) -> Result<(), Broken> {
        rule(!self.versions.is_empty(), "`versions` names one at least")?;
        at_most("versions", limits::VERSIONS_MAX, self.versions.len())?;
        at_most("bytes of `agent`", limits::LABEL_BYTES_MAX, self.agent.len())
    }
}

impl Bounded for Proof {
    const NAME: &'static str = "proof";

    fn check(&self) -> Result<(), Broken> {
        at_most("bytes of `user`", limits::USER_BYTES_MAX, self.user.len())?;
        at_most("bytes of `public-key`", limits::PUBLIC_KEY_BYTES_MAX, self.public_key.len())?;
        at_most("bytes of `signature`", limits::SIGNATURE_BYTES_MAX, self.signature.len())
    }
}

impl Bounded for Denied {
    const NAME: &'static str = "denied";

    fn check(&self) -> Result<(), Broken> {
        check_error(&self.error)?;
        at_most("`attempts-left`", limits::AUTH_ATTEMPTS_MAX as usize, self.attempts_left as usize)
    }
}

impl Bounded for Welcome {
    const NAME: &'static str = "welcome";

    fn check(&self) -> Result<(), Broken> {
        at_most("bytes of `agent`", limits::LABEL_BYTES_MAX, self.agent.len())?;
        at_most("bytes of `identity`", limits::IDENTITY_BYTES_MAX, self.identity.len())
    }
}

impl Bounded for Close {
    const NAME: &'static str = "close";

    fn check(&self) -> Result<(), Broken> {
        self.error.iter().try_for_each(check_error)
    }
}

impl Bounded for Request {
    const NAME: &'static str = "request";

    fn check(&self) -> Result<(), Broken> {
        match &self.op {
            Op::SetAttributes { modified, mode, .. } => {
                modified.iter().try_for_each(check_stamp)?;
                mode.iter().try_for_each(check_mode)
            }
            Op::Read { length, .. } => {
                rule(*length > 0, "`length` is 1 at least")?;
                at_most("`length`", limits::READ_BYTES_MAX, *length as usize)
            }
            Op::Measure { bytes, millis, .. } => {
                rule(*bytes > 0, "`bytes` is 1 at least")?;
                rule(*millis > 0, "`milliseconds` is 1 at least")?;
                at_most_u64("`bytes`", limits::MEASURE_BYTES_MAX, *bytes)?;
                at_most_u64("`milliseconds`", limits::MEASURE_MS, *millis)
            }
            Op::Pull(pull) => check_pull(pull),
            _ => Ok(()),
        }
    }
}

impl Bounded for Reply {
    const NAME: &'static str = "reply";

    fn check(&self) -> Result<(), Broken> {
        match &self.body {
            Body::Failed { error } => check_error(error),
            Body::Entries { entries } => {
                at_most("entries", limits::PAGE_ENTRIES_MAX, entries.len())?;
                entries.iter().try_for_each(check_listed)
            }
            Body::Stat { entry } => check_shown(entry),
            Body::Content { content } => at_most("bytes of `content`", limits::READ_BYTES_MAX, content.len()),
            Body::Limits { limits } => {
                at_most("limits", limits::PAGE_ENTRIES_MAX, limits.len())?;
                limits
                    .iter()
                    .try_for_each(|(name, _)| at_most("bytes of a name", limits::LABEL_BYTES_MAX, name.len()))
            }
            Body::Times { spent, .. } => at_most("times", limits::TIMES_MAX, spent.len()),
            Body::Unapplied { unapplied } => {
                at_most("attributes", limits::LIST_ITEMS_MAX, unapplied.len())?;
                unapplied.iter().try_for_each(check_unapplied)
            }
            _ => Ok(()),
        }
    }
}

impl Bounded for Offer {
    const NAME: &'static str = "offer";

    fn check(&self) -> Result<(), Broken> {
        at_most("entries", limits::PAGE_ENTRIES_MAX, self.entries.len())?;
        at_most("failures", limits::PAGE_ENTRIES_MAX, self.failures.len())?;
        let end = self.first.checked_add(self.entries.len() as u64);
        rule(end.is_some(), "numbers of entries end at 2^64 - 1")?;
        self.entries.iter().try_for_each(check_offered)?;
        self.failures.iter().try_for_each(|failure| check_error(&failure.error))
    }
}

impl Bounded for Want {
    const NAME: &'static str = "want";

    fn check(&self) -> Result<(), Broken> {
        check_runs(&self.whole)?;
        at_most("files in `partial`", limits::PAGE_ENTRIES_MAX, self.partial.len())?;
        self.partial.iter().try_for_each(check_partial)
    }
}

impl Bounded for Finish {
    const NAME: &'static str = "finish";

    fn check(&self) -> Result<(), Broken> {
        at_most("files", limits::LIST_ITEMS_MAX, self.files.len())?;
        self.files.iter().try_for_each(check_finished)
    }
}

impl Bounded for Got {
    const NAME: &'static str = "got";

    fn check(&self) -> Result<(), Broken> {
        check_runs(&self.units)
    }
}

impl Bounded for Commit {
    const NAME: &'static str = "commit";

    fn check(&self) -> Result<(), Broken> {
        check_runs(&self.committed)?;
        check_runs(&self.unchanged)?;
        at_most("entries in `failed`", limits::LIST_ITEMS_MAX, self.failed.len())?;
        self.failed.iter().try_for_each(|failure| check_error(&failure.error))?;
        at_most("attributes in `unapplied`", limits::LIST_ITEMS_MAX, self.unapplied.len())?;
        self.unapplied.iter().try_for_each(|one| check_unapplied(&one.unapplied))
    }
}

impl Bounded for Cancel {
    const NAME: &'static str = "cancel";

    fn check(&self) -> Result<(), Broken> {
        check_error(&self.error)
    }
}

impl Bounded for PieceHeader {
    const NAME: &'static str = "piece";

    fn check(&self) -> Result<(), Broken> {
        rule(self.offset.is_multiple_of(limits::PIECE_BYTES), "`offset` is a multiple of a piece")?;
        at_most_u64("`offset`", limits::FILE_BYTES_MAX, self.offset)
    }
}

impl Bounded for PackHeader {
    const NAME: &'static str = "pack";

    fn check(&self) -> Result<(), Broken> {
        rule(!self.files.is_empty(), "a pack has one file at least")?;
        at_most("files", limits::PACK_FILES_MAX, self.files.len())?;
        self.files.iter().try_for_each(check_packed)?;
        let mut entries: Vec<u64> = self.files.iter().map(|file| file.entry).collect();
        entries.sort_unstable();
        rule(entries.is_sorted_by(|a, b| a < b), "an entry stands once in a pack")?;
        let content = self.files.iter().map(|file| u64::from(file.size)).sum();
        at_most_u64("bytes of content", limits::PIECE_BYTES, content)
    }
}

fn check_pull(pull: &Pull) -> Result<(), Broken> {
    rule(!pull.sources.is_empty(), "`sources` names one at least")?;
    at_most("sources", limits::PULL_SOURCES_MAX, pull.sources.len())?;
    rule(pull.limit.is_none_or(|limit| limit >= limits::RATE_MIN), "`limit` is at least RATE_MIN")
}

fn check_error(error: &WireError) -> Result<(), Broken> {
    at_most("bytes of the text of an error", limits::ERROR_TEXT_BYTES_MAX, error.text.len())
}

fn check_unapplied(unapplied: &Unapplied) -> Result<(), Broken> {
    at_most("bytes of `attribute`", limits::LABEL_BYTES_MAX, unapplied.attribute.len())?;
    check_error(&unapplied.error)
}

/// What holds of every entry.
fn check_entry(entry: &Entry) -> Result<(), Broken> {
    check_stamp(&entry.modified)?;
    check_mode(&entry.mode)?;
    at_most_u64("`size`", limits::FILE_BYTES_MAX, entry.size)?;
    rule(entry.kind == EntryKind::File || entry.size == 0, "only files have a size")?;
    rule(entry.kind == EntryKind::File || entry.digest.is_none(), "only files have a digest")?;
    // A file is larger than what it occupies; what is no file has no size.
    rule(entry.occupied.is_none_or(|occupied| occupied < entry.size), "`occupied` is less than `size`")?;
    rule(entry.kind == EntryKind::Link || entry.target.is_none(), "only links have a target")?;
    entry.target.iter().try_for_each(|target| {
        rule(!target.is_empty() && !target.contains(&0), "a target is not empty and has no NUL byte")?;
        at_most("bytes of `target`", limits::LINK_BYTES_MAX, target.len())
    })
}

pub(crate) fn check_offered(entry: &Entry) -> Result<(), Broken> {
    check_entry(entry)?;
    rule(!entry.path.is_root(), "an offered path has one name at least")?;
    rule(entry.kind != EntryKind::Other, "special files are not offered")?;
    rule(entry.kind != EntryKind::Link || entry.target.is_some(), "an offered link has a target")
}

fn check_shown(entry: &Entry) -> Result<(), Broken> {
    check_entry(entry)?;
    rule(entry.kind != EntryKind::DirEnd, "`dir-end` stands in offers alone")
}

fn check_listed(entry: &Entry) -> Result<(), Broken> {
    check_shown(entry)?;
    rule(entry.path.depth() == 1, "a listed path has one name")
}

fn check_stamp(stamp: &Stamp) -> Result<(), Broken> {
    rule(stamp.nanos < 1_000_000_000, "nanoseconds are fewer than a second")
}

fn check_mode(mode: &u32) -> Result<(), Broken> {
    rule(*mode <= 0o7777, "`mode` has permission bits alone")
}

/// Ascending, none empty, none touching numbers of the one before.
fn check_runs(runs: &[Run]) -> Result<(), Broken> {
    at_most("runs", limits::LIST_ITEMS_MAX, runs.len())?;
    let mut least = Some(0);
    runs.iter().try_for_each(|run| {
        rule(run.count > 0, "a run has one number at least")?;
        rule(least.is_some_and(|least| run.first >= least), "runs are ascending and do not overlap")?;
        let end = run.first.checked_add(run.count);
        rule(end.is_some(), "a run ends at 2^64 - 1")?;
        least = end;
        Ok(())
    })
}

fn check_partial(partial: &Partial) -> Result<(), Broken> {
    at_most("nodes in `held`", limits::HELD_NODES_MAX, partial.held.len())?;
    let mut least = 0;
    partial.held.iter().try_for_each(|node| {
        check_held(node)?;
        rule(node.offset >= least, "held nodes are ascending and do not overlap")?;
        least = node.offset + (1 << node.log2);
        Ok(())
    })
}

fn check_held(node: &HeldNode) -> Result<(), Broken> {
    rule((limits::PIECE_LOG2..62).contains(&node.log2), "`log2` is 20 to 61")?;
    at_most_u64("`offset`", limits::FILE_BYTES_MAX, node.offset)?;
    rule(node.offset.is_multiple_of(1 << node.log2), "`offset` is a multiple of the length of the node")
}

fn check_finished(file: &Finished) -> Result<(), Broken> {
    rule(file.digest.is_some() != file.error.is_some(), "there is a digest or an error, and not both")?;
    file.error.iter().try_for_each(check_error)
}

fn check_packed(file: &PackedFile) -> Result<(), Broken> {
    rule(file.digest.is_some() != file.error.is_some(), "there is a digest or an error, and not both")?;
    rule(file.error.is_none() || file.size == 0, "an error has no content beside it")?;
    file.error.iter().try_for_each(check_error)
}

fn rule(kept: bool, rule: &'static str) -> Result<(), Broken> {
    if kept { Ok(()) } else { Err(Broken::Rule(rule)) }
}

fn at_most(what: &'static str, limit: usize, got: usize) -> Result<(), Broken> {
    at_most_u64(what, limit as u64, got as u64)
}

fn at_most_u64(what: &'static str, limit: u64, got: u64) -> Result<(), Broken> {
    if got <= limit { Ok(()) } else { Err(Broken::Limit { what, limit, got }) }
}
