//! What a connection speaks, by its first bytes: a pure function.

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// It cannot be told yet: more bytes are needed, [`FIRST_BYTES_MAX`] at most.
    Undecided,
    /// A record of a TLS handshake.
    Tls,
    /// The identification string of an SSH client.
    Ssh,
    /// A request of HTTP in clear.
    Http,
    /// Nothing that is served here.
    Unknown,
}

/// Says what a connection speaks that began with `first`.
///
/// - Shape: any number of bytes; those after the first [`FIRST_BYTES_MAX`] change nothing. Once it is decided, more bytes
///   do not change it.
/// - Source: spec/doors.md, "One port".
pub fn classify(first: &[u8]) -> Speaks {
    match first {
        [] => Speaks::Undecided,
        [TLS_HANDSHAKE] => Speaks::Undecided,
        [TLS_HANDSHAKE, TLS_MAJOR, ..] => Speaks::Tls,
        _ => {
            let words = METHODS.iter().map(|word| (*word, Speaks::Http)).chain([(&b"SSH-"[..], Speaks::Ssh)]);
            let mut open = false;
            for (word, speaks) in words {
                if first.starts_with(word) {
                    return speaks;
                }
                open |= word.starts_with(first);
            }
            if open { Speaks::Undecided } else { Speaks::Unknown }
        }
    }
}

/// With so many bytes it is always decided.
pub const FIRST_BYTES_MAX: usize = 8;

const TLS_HANDSHAKE: u8 = 0x16;
const TLS_MAJOR: u8 = 0x03;
/// With the space after it, so that no other word begins with one. The last is how HTTP/2 begins.
const METHODS: &[&[u8]] = &[
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"CONNECT ",
    b"TRACE ",
    b"PROPFIND",
    b"MKCOL ",
    b"COPY ",
    b"MOVE ",
    b"LOCK ",
    b"PRI * ",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_protocol_is_known_by_how_it_begins() {
        assert_eq!(classify(b"\x16\x03\x01\x02\x00"), Speaks::Tls);
        assert_eq!(classify(b"SSH-2.0-OpenSSH_9.2\r\n"), Speaks::Ssh);
        assert_eq!(classify(b"GET / HTTP/1.1\r\n"), Speaks::Http);
        assert_eq!(classify(b"PROPFIND /x HTTP/1.1"), Speaks::Http);
        assert_eq!(classify(b"PRI * HTTP/2.0"), Speaks::Http);
        for foreign in [&b"\x16\x02"[..], b"SSH_", b"USER ftp", b"GETS", b"\0", b"EHLO x", b"\xff\xfb"] {
            assert_eq!(classify(foreign), Speaks::Unknown, "{foreign:?}");
        }
        for short in [&b""[..], b"\x16", b"S", b"SSH", b"GE", b"P", b"CO"] {
            assert_eq!(classify(short), Speaks::Undecided, "{short:?}");
        }
    }

    proptest! {
        #[test]
        fn it_is_decided_soon_and_for_good(
            first in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..20),
                prop::sample::select(METHODS.to_vec()).prop_map(<[u8]>::to_vec),
                prop::sample::select(vec![b"SSH-2.0".to_vec(), b"\x16\x03\x01".to_vec()]),
            ],
            more in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let speaks = classify(&first);
            let longer = [first.as_slice(), &more].concat();
            if speaks != Speaks::Undecided {
                prop_assert_eq!(classify(&longer), speaks);
            }
            if first.len() >= FIRST_BYTES_MAX {
                prop_assert!(speaks != Speaks::Undecided);
            }
            prop_assert_eq!(classify(&longer[..longer.len().min(FIRST_BYTES_MAX)]), classify(&longer));
        }
    }
}
