//! Every bound of the protocol and of this implementation, by name (spec/wire.md, "Limits").
//!
//! Bytes unless the name says otherwise. A bound that a peer may ask for travels in `hello` and `welcome`.

/// Data that travels as one unit on one lane: a piece of a large file, or the contents of a pack.
pub const PIECE_BYTES: u64 = 1 << 20;
/// Power of two of [`PIECE_BYTES`].
pub const PIECE_LOG2: u8 = 20;
/// A file has at most this many segments; larger files have larger segments.
pub const SEGMENTS_MAX: u64 = 1 << 16;
/// Files in one pack.
pub const PACK_FILES_MAX: usize = 1024;

/// Payload of a frame on a control lane.
pub const CONTROL_FRAME_BYTES_MAX: usize = 256 << 10;
/// Payload of a frame before the peer is authenticated.
pub const EARLY_FRAME_BYTES_MAX: usize = 16 << 10;
/// CBOR header of a data frame.
pub const DATA_HEADER_BYTES_MAX: usize = 256 << 10;
/// Payload of a frame on a data lane: header length, header, contents.
pub const DATA_FRAME_BYTES_MAX: usize = PIECE_BYTES as usize + DATA_HEADER_BYTES_MAX + 8;
/// Nesting of arrays and maps in a message.
pub const CBOR_DEPTH_MAX: usize = 8;

/// One component of a path.
pub const NAME_BYTES_MAX: usize = 255;
/// A whole path, one byte between components.
pub const PATH_BYTES_MAX: usize = 32 << 10;
/// Components of a path.
pub const PATH_DEPTH_MAX: usize = 8192;
/// Target of a symbolic link.
pub const LINK_BYTES_MAX: usize = 4096;
/// Text for people in an error.
pub const ERROR_TEXT_BYTES_MAX: usize = 1024;
/// A short text in a message: program and version, name of a user, of an attribute, of a limit.
pub const LABEL_BYTES_MAX: usize = 256;
/// What a server calls a client.
pub const IDENTITY_BYTES_MAX: usize = 1024;
/// Versions that one `hello` names.
pub const VERSIONS_MAX: usize = 16;
/// Content of one answer to `read`.
pub const READ_BYTES_MAX: usize = 128 << 10;
/// The largest file.
pub const FILE_BYTES_MAX: u64 = 1 << 62;

/// Entries in one `offer`, and entries in one page of a listing.
pub const PAGE_ENTRIES_MAX: usize = 512;
/// Encoded size at which a page of entries is closed.
pub const PAGE_BYTES_SOFT: usize = 64 << 10;
/// Entries offered and not yet settled, at most; the receiver may grant fewer.
pub const WINDOW_ENTRIES_MAX: u64 = 16_384;
/// Entries a sender may offer before the receiver has accepted.
pub const EARLY_ENTRIES: u64 = 512;
/// Bytes of data units sent and not yet acknowledged, at most; the receiver may grant fewer.
pub const WINDOW_BYTES_MAX: u64 = 64 << 20;
/// The smallest window a receiver may grant: one full data unit.
pub const WINDOW_BYTES_MIN: u64 = PIECE_BYTES;
/// Items of one list in a message that has no bound of its own.
pub const LIST_ITEMS_MAX: usize = 16_384;
/// Nodes of a file's tree that one `want` may list as held.
pub const HELD_NODES_MAX: usize = 256;

/// Requests of one session that are not answered yet.
pub const REQUESTS_OPEN_MAX: usize = 64;
/// Transfers of one session at a time.
pub const TRANSFERS_OPEN_MAX: usize = 16;
/// Sources of one `pull`.
pub const PULL_SOURCES_MAX: usize = 1024;
/// Data lanes of one session over TCP.
pub const LANES_MAX: usize = 16;
/// Data units of one transfer that are on their way over two lanes at once.
pub const COPIES_MAX: usize = 2;
/// Things that the answer to the request `times` names.
pub const TIMES_MAX: usize = 16;
/// Bytes of filler in one measurement.
pub const MEASURE_BYTES_MAX: u64 = 1 << 30;
/// Milliseconds of one measurement.
pub const MEASURE_MS: u64 = 2_000;
/// Measurements in one session, one at a time.
pub const MEASURES_MAX: u64 = 16;
/// Gaps in the numbers of a transfer's data units that have come. A unit whose content cannot be read leaves one for good.
pub const UNIT_GAPS_MAX: usize = 262_144;
/// Proofs a client may offer in one session.
pub const AUTH_ATTEMPTS_MAX: u32 = 6;

/// User name in a proof.
pub const USER_BYTES_MAX: usize = 255;
/// SSH public key blob in a proof: an RSA key of 8192 bits has about 1,050.
pub const PUBLIC_KEY_BYTES_MAX: usize = 2048;
/// SSHSIG blob in a proof: it repeats the public key.
pub const SIGNATURE_BYTES_MAX: usize = 4096;

/// A connection must be authenticated within this time, in milliseconds.
pub const AUTH_DEADLINE_MS: u64 = 10_000;
/// Connections of one address that are not authenticated yet.
pub const EARLY_CONNECTIONS_PER_ADDRESS: usize = 16;
/// Connections of all addresses that are not authenticated yet.
pub const EARLY_CONNECTIONS_MAX: usize = 256;
/// Sessions of a server at a time.
pub const SESSIONS_MAX: usize = 4096;
/// A silent control lane is sent a `ping` after this time, in milliseconds.
pub const PING_AFTER_MS: u64 = 5_000;
/// A control lane from which nothing came for this time is lost, in milliseconds.
pub const SILENCE_MAX_MS: u64 = 15_000;
/// The least rate to which a transfer can be bound, in bytes a second: a data unit then takes a minute and three quarters.
pub const RATE_MIN: u64 = 10_000;
/// A client whose lanes are all lost dials again for this time, in milliseconds.
pub const REDIAL_MS: u64 = 90_000;
/// Stages nobody has touched for this time are removed, in seconds (seven days).
pub const STAGE_EXPIRY_S: u64 = 7 * 24 * 3600;
/// Memory for data units in flight, all sessions of a process together.
pub const BUFFER_BUDGET_BYTES: u64 = 32 << 20;
/// Entries offered and not settled, all transfers of a process together.
pub const ENTRIES_BUDGET: u64 = 65_536;

/// `authorized_keys`, as far as it is read: a longer file is refused.
pub const AUTHORIZED_KEYS_BYTES_MAX: u64 = 1 << 20;
/// A file of grants, or of trusted servers.
pub const GRANTS_BYTES_MAX: u64 = 4 << 20;
/// Public keys enrolled on one server, and invitations open at a time.
pub const GRANTS_MAX: usize = 10_000;
/// A private or public key file.
pub const KEY_FILE_BYTES_MAX: u64 = 64 << 10;
/// One message of an ssh-agent (as OpenSSH's `AGENT_MAX_LEN`).
pub const AGENT_MESSAGE_BYTES_MAX: usize = 256 << 10;

macro_rules! named {
    ($($name:ident,)*) => {
        &[$((stringify!($name), $name as u64)),*]
    };
}

/// The limits that the specification fixes, by name: the answer to the request `limits`, in the order of the table in
/// spec/wire.md, "Limits".
pub const ALL: &[(&str, u64)] = named![
    PIECE_BYTES,
    PACK_FILES_MAX,
    SEGMENTS_MAX,
    CONTROL_FRAME_BYTES_MAX,
    EARLY_FRAME_BYTES_MAX,
    DATA_HEADER_BYTES_MAX,
    DATA_FRAME_BYTES_MAX,
    CBOR_DEPTH_MAX,
    NAME_BYTES_MAX,
    PATH_BYTES_MAX,
    PATH_DEPTH_MAX,
    LINK_BYTES_MAX,
    FILE_BYTES_MAX,
    ERROR_TEXT_BYTES_MAX,
    LABEL_BYTES_MAX,
    IDENTITY_BYTES_MAX,
    USER_BYTES_MAX,
    PUBLIC_KEY_BYTES_MAX,
    SIGNATURE_BYTES_MAX,
    VERSIONS_MAX,
    READ_BYTES_MAX,
    PAGE_ENTRIES_MAX,
    LIST_ITEMS_MAX,
    HELD_NODES_MAX,
    WINDOW_ENTRIES_MAX,
    WINDOW_BYTES_MAX,
    WINDOW_BYTES_MIN,
    EARLY_ENTRIES,
    REQUESTS_OPEN_MAX,
    TRANSFERS_OPEN_MAX,
    PULL_SOURCES_MAX,
    LANES_MAX,
    COPIES_MAX,
    TIMES_MAX,
    MEASURE_BYTES_MAX,
    MEASURE_MS,
    MEASURES_MAX,
    UNIT_GAPS_MAX,
    AUTH_ATTEMPTS_MAX,
    AUTH_DEADLINE_MS,
    PING_AFTER_MS,
    SILENCE_MAX_MS,
    RATE_MIN,
    REDIAL_MS,
    STAGE_EXPIRY_S,
];

/// Power of two of the segment size of a file of `size` bytes: the smallest, from [`PIECE_LOG2`] up, that leaves at
/// most [`SEGMENTS_MAX`] segments.
pub const fn segment_log2(size: u64) -> u8 {
    let mut log2 = PIECE_LOG2;
    while log2 < 63 && size.div_ceil(1 << log2) > SEGMENTS_MAX {
        log2 += 1;
    }
    log2
}
