//! Arbitrary messages that keep every limit and rule, for the tests that read them back.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use sft_base::limits::{self, PIECE_BYTES, PIECE_LOG2};
use sft_base::{Digest, EntryPath};
use sft_wire::message::*;
use sft_wire::{Code, ControlMessage, WireError};

/// Any message of a control lane.
pub(crate) fn control_message() -> impl Strategy<Value = ControlMessage> {
    prop_oneof![session_message(), request().prop_map_into(), reply().prop_map_into(), transfer_message()]
}

/// A header of a `piece`.
pub(crate) fn piece_header() -> impl Strategy<Value = PieceHeader> {
    let offset = (0..1u64 << 42).prop_map(|piece| piece * PIECE_BYTES);
    (number(), number(), number(), offset, any::<[u8; 32]>())
        .prop_map(|(transfer, unit, entry, offset, cv)| PieceHeader { transfer, unit, entry, offset, cv })
}

/// A header of a `pack`, and as many bytes of content as it claims.
pub(crate) fn pack() -> impl Strategy<Value = (PackHeader, usize)> {
    (number(), number(), vec(packed_file(), 1..20)).prop_map(|(transfer, unit, mut files)| {
        files.sort_by_key(|file| file.entry);
        files.dedup_by_key(|file| file.entry);
        let content = files.iter().map(|file| file.size as usize).sum();
        (PackHeader { transfer, unit, files }, content)
    })
}

fn session_message() -> impl Strategy<Value = ControlMessage> {
    prop_oneof![
        (vec(any::<u16>(), 1..limits::VERSIONS_MAX), text()).prop_map(|(versions, agent)| Hello {
            versions,
            agent
        }
        .into()),
        proof().prop_map_into(),
        (error(), 0..=limits::AUTH_ATTEMPTS_MAX).prop_map(|(error, attempts_left)| Denied {
            error,
            attempts_left
        }
        .into()),
        welcome().prop_map_into(),
        any::<([u8; 16], [u8; 32])>().prop_map(|(session, mac)| Attach { session, mac }.into()),
        Just(Attached {}.into()),
        option::of(error()).prop_map(|error| Close { error }.into()),
        number().prop_map(|number| ControlMessage::Ping(Ping { number })),
        number().prop_map(|number| ControlMessage::Pong(Ping { number })),
    ]
}

fn transfer_message() -> impl Strategy<Value = ControlMessage> {
    prop_oneof![
        offer().prop_map_into(),
        (number(), runs(), vec(partial(), 0..4)).prop_map(|(transfer, whole, partial)| Want {
            transfer,
            whole,
            partial
        }
        .into()),
        (number(), vec(finished(), 0..5)).prop_map(|(transfer, files)| Finish { transfer, files }.into()),
        (number(), runs(), window())
            .prop_map(|(transfer, units, window)| Got { transfer, units, window }.into()),
        commit().prop_map_into(),
        (number(), number(), number(), number()).prop_map(|(transfer, committed, unchanged, failed)| {
            Done { transfer, committed, unchanged, failed }.into()
        }),
        (number(), error()).prop_map(|(transfer, error)| Cancel { transfer, error }.into()),
    ]
}

fn proof() -> impl Strategy<Value = Proof> {
    let invitation = any::<([u8; 8], [u8; 32])>().prop_map(|(id, mac)| InvitationProof { id, mac });
    (text(), bytes(64), bytes(64), option::of(invitation)).prop_map(
        |(user, public_key, signature, invitation)| Proof { user, public_key, signature, invitation },
    )
}

fn welcome() -> impl Strategy<Value = Welcome> {
    (any::<u16>(), text(), any::<[u8; 16]>(), any::<[u8; 32]>(), text(), any::<u32>(), any::<u32>()).prop_map(
        |(version, agent, session, attach_secret, identity, rights, lanes_max)| Welcome {
            version,
            agent,
            session,
            attach_secret,
            identity,
            rights,
            lanes_max,
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    (number(), op()).prop_map(|(id, op)| Request { id, op })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        path(0).prop_map(|path| Op::List { path }),
        path(0).prop_map(|path| Op::Stat { path }),
        (path(0), any::<bool>()).prop_map(|(path, parents)| Op::MakeDir { path, parents }),
        (path(0), any::<bool>()).prop_map(|(path, recursive)| Op::Remove { path, recursive }),
        (path(0), path(0), any::<bool>()).prop_map(|(from, to, replace)| Op::Rename { from, to, replace }),
        (path(0), option::of(stamp()), option::of(mode()))
            .prop_map(|(path, modified, mode)| Op::SetAttributes { path, modified, mode }),
        Just(Op::Space {}),
        path(0).prop_map(|path| Op::Hash { path }),
        (path(0), number(), 1..=limits::READ_BYTES_MAX as u32).prop_map(|(path, offset, length)| Op::Read {
            path,
            offset,
            length
        }),
        Just(Op::Limits {}),
        path(0).prop_map(|path| Op::ReadLink { path }),
        number().prop_map(|transfer| Op::Times { transfer }),
        (any::<bool>(), 1..=limits::MEASURE_BYTES_MAX, 1..=limits::MEASURE_MS)
            .prop_map(|(down, bytes, millis)| Op::Measure { down, bytes, millis }),
        push().prop_map(Op::Push),
        pull().prop_map(Op::Pull),
    ]
}

fn push() -> impl Strategy<Value = Push> {
    let place = prop_oneof![Just(Place::Exact), Just(Place::Into), Just(Place::Auto)];
    let publish = prop_oneof![Just(PublishMode::CreateOnly), Just(PublishMode::Replace)];
    let durability = prop_oneof![Just(Durability::None), Just(Durability::Commit), Just(Durability::Each)];
    (path(0), place, publish, durability, any::<bool>()).prop_map(
        |(path, place, publish, durability, checksum)| Push { path, place, publish, durability, checksum },
    )
}

fn pull() -> impl Strategy<Value = Pull> {
    let source = (path(0), any::<bool>()).prop_map(|(path, contents)| PullSource { path, contents });
    let limit = option::of(limits::RATE_MIN..);
    (vec(source, 1..5), any::<bool>(), window(), limit, any::<bool>()).prop_map(
        |(sources, checksum, window, limit, background)| Pull {
            sources,
            checksum,
            window,
            limit,
            background,
        },
    )
}

fn reply() -> impl Strategy<Value = Reply> {
    (number(), any::<bool>(), body()).prop_map(|(id, more, body)| Reply { id, more, body })
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        Just(Body::Ok {}),
        error().prop_map(|error| Body::Failed { error }),
        vec(entry(1..2, shown_kind()), 0..5).prop_map(|entries| Body::Entries { entries }),
        entry(0..4, shown_kind()).prop_map(|entry| Body::Stat { entry }),
        (number(), number()).prop_map(|(total, available)| Body::Space { total, available }),
        digest().prop_map(|digest| Body::Hash { digest }),
        bytes(300).prop_map(|content| Body::Content { content }),
        vec((text(), number()), 0..5).prop_map(|limits| Body::Limits { limits }),
        (window(), any::<bool>()).prop_map(|(window, into)| Body::Accepted { window, into }),
        number().prop_map(|entries| Body::Removed { entries }),
        vec(unapplied(), 0..3).prop_map(|unapplied| Body::Unapplied { unapplied }),
        (number(), vec((number(), number()), 0..5)).prop_map(|(now, spent)| Body::Times { now, spent }),
        (number(), number()).prop_map(|(bytes, micros)| Body::Measured { bytes, micros }),
    ]
}

fn offer() -> impl Strategy<Value = Offer> {
    let failure = (path(0), error()).prop_map(|(path, error)| SourceFailure { path, error });
    (number(), 0..1u64 << 60, vec(entry(1..5, offered_kind()), 0..5), vec(failure, 0..3), any::<bool>())
        .prop_map(|(transfer, first, entries, failures, last)| Offer {
            transfer,
            first,
            entries,
            failures,
            last,
        })
}

fn offered_kind() -> impl Strategy<Value = EntryKind> {
    prop_oneof![Just(EntryKind::File), Just(EntryKind::Dir), Just(EntryKind::Link), Just(EntryKind::DirEnd)]
}

fn shown_kind() -> impl Strategy<Value = EntryKind> {
    prop_oneof![Just(EntryKind::File), Just(EntryKind::Dir), Just(EntryKind::Link), Just(EntryKind::Other)]
}

fn entry(
    depth: std::ops::Range<usize>,
    kind: impl Strategy<Value = EntryKind>,
) -> impl Strategy<Value = Entry> {
    let target = vec(1..=255u8, 1..40);
    (path_of(depth), kind, 0..=limits::FILE_BYTES_MAX, stamp(), mode(), target, option::of(digest()))
        .prop_map(|(path, kind, size, modified, mode, target, digest)| Entry {
            path,
            kind,
            size: if kind == EntryKind::File { size } else { 0 },
            modified,
            mode,
            target: (kind == EntryKind::Link).then_some(target),
            digest: digest.filter(|_| kind == EntryKind::File),
            occupied: digest.and_then(|_| (kind == EntryKind::File && size > 0).then_some(size / 2)),
        })
}

fn partial() -> impl Strategy<Value = Partial> {
    let step = (0..5u64, 0..4u8, any::<[u8; 32]>());
    (number(), vec(step, 0..6)).prop_map(|(entry, steps)| {
        let mut at = 0;
        let mut held = Vec::new();
        for (gap, up, cv) in steps {
            let log2 = PIECE_LOG2 + up;
            let offset = (at + gap * PIECE_BYTES).next_multiple_of(1 << log2);
            held.push(HeldNode { offset, log2, cv });
            at = offset + (1 << log2);
        }
        Partial { entry, held }
    })
}

fn finished() -> impl Strategy<Value = Finished> {
    (number(), digest_or_error(), number()).prop_map(|(entry, (digest, error), sent)| Finished {
        entry,
        digest,
        error,
        sent,
    })
}

fn packed_file() -> impl Strategy<Value = PackedFile> {
    (number(), 0..3000u32, digest_or_error()).prop_map(|(entry, size, (digest, error))| PackedFile {
        entry,
        size: if error.is_some() { 0 } else { size },
        digest,
        error,
    })
}

fn digest_or_error() -> impl Strategy<Value = (Option<Digest>, Option<WireError>)> {
    prop_oneof![
        digest().prop_map(|digest| (Some(digest), None)),
        error().prop_map(|error| (None, Some(error)))
    ]
}

fn commit() -> impl Strategy<Value = Commit> {
    let failure = (number(), error()).prop_map(|(entry, error)| EntryFailure { entry, error });
    let attribute =
        (number(), unapplied()).prop_map(|(entry, unapplied)| EntryUnapplied { entry, unapplied });
    (number(), runs(), runs(), vec(failure, 0..3), vec(attribute, 0..3)).prop_map(
        |(transfer, committed, unchanged, failed, unapplied)| Commit {
            transfer,
            committed,
            unchanged,
            failed,
            unapplied,
        },
    )
}

fn unapplied() -> impl Strategy<Value = Unapplied> {
    (text(), error()).prop_map(|(attribute, error)| Unapplied { attribute, error })
}

fn error() -> impl Strategy<Value = WireError> {
    (any::<u16>(), text(), any::<bool>()).prop_map(|(code, text, retry)| WireError {
        code: Code(code),
        text,
        retry,
    })
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    vec((0..1u64 << 40, 1..1u64 << 40), 0..10).prop_map(|steps| {
        let mut at = 0;
        let run = |(gap, count): (u64, u64)| {
            let first = at + gap;
            at = first + count;
            Run { first, count }
        };
        steps.into_iter().map(run).collect()
    })
}

fn window() -> impl Strategy<Value = Window> {
    (number(), number()).prop_map(|(bytes, entries)| Window { bytes, entries })
}

fn stamp() -> impl Strategy<Value = Stamp> {
    (any::<i64>(), 0..1_000_000_000u32).prop_map(|(secs, nanos)| Stamp { secs, nanos })
}

fn mode() -> impl Strategy<Value = u32> {
    0..=0o7777u32
}

fn path(least: usize) -> impl Strategy<Value = EntryPath> {
    path_of(least..5)
}

fn path_of(depth: std::ops::Range<usize>) -> impl Strategy<Value = EntryPath> {
    let name =
        vec(any::<u8>().prop_map(|byte| if matches!(byte, b'/' | 0 | b'.') { b'_' } else { byte }), 1..12);
    vec(name, depth).prop_map(|names| {
        EntryPath::from_names(names.iter().map(Vec::as_slice)).expect("names without dots and slashes")
    })
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..max)
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,40}"
}

/// Numbers of every encoded length.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..24u64, 24..256u64, 256..1u64 << 16, 1u64 << 16..1 << 32, any::<u64>()]
}
