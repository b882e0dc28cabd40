//! One entry of a listing: as a line, as a block, and as JSON.

use std::io::{self, Write};

use jiff::tz::TimeZone;
use serde_json::{Map, Value};
use sft_client::{Entry, EntryKind};

use crate::long;
use crate::names::{put_path, write_name};

/// Writes the long line of `ls -l`. `name` is the entry's name as it shall appear; `size` is its size as it shall appear.
pub(crate) fn write_long(
    out: &mut dyn Write,
    entry: &Entry,
    size: &str,
    zone: &TimeZone,
    terminal: bool,
) -> io::Result<()> {
    let letters = long::mode_letters(entry.kind, entry.mode);
    write!(out, "{letters} {size} {} ", long::minute(entry.modified.into(), zone))?;
    write_name(out, entry.path.as_bytes(), terminal)?;
    if let Some(target) = &entry.target {
        out.write_all(b" -> ")?;
        write_name(out, target, terminal)?;
    }
    out.write_all(b"\n")
}

/// Writes what `stat` tells.
pub(crate) fn write_block(
    out: &mut dyn Write,
    name: &[u8],
    entry: &Entry,
    zone: &TimeZone,
    terminal: bool,
) -> io::Result<()> {
    out.write_all(b"    name: ")?;
    write_name(out, name, terminal)?;
    writeln!(out, "\n    kind: {}", kind_name(entry.kind))?;
    if let Some(target) = &entry.target {
        out.write_all(b"  target: ")?;
        write_name(out, target, terminal)?;
        out.write_all(b"\n")?;
    }
    writeln!(out, "    size: {}", entry.size)?;
    writeln!(out, "    mode: {:04o} {}", entry.mode, long::mode_letters(entry.kind, entry.mode))?;
    writeln!(out, "modified: {}", long::full(entry.modified.into(), zone))
}

/// The entry as an object; `path` is what names it.
pub(crate) fn object(path: &[u8], entry: &Entry) -> Map<String, Value> {
    let mut object = Map::new();
    put_path(&mut object, path);
    object.insert("kind".into(), kind_name(entry.kind).into());
    object.insert("size".into(), entry.size.into());
    object.insert("modified".into(), long::utc(entry.modified.into()).into());
    object.insert("mode".into(), format!("{:04o}", entry.mode).into());
    if let Some(target) = &entry.target {
        let mut link = Map::new();
        put_path(&mut link, target);
        object.insert("target".into(), Value::Object(link));
    }
    object
}

fn kind_name(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "file",
        EntryKind::Dir | EntryKind::DirEnd => "directory",
        EntryKind::Link => "link",
        EntryKind::Other => "special",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sft_base::EntryPath;
    use sft_client::Stamp;

    fn link() -> Entry {
        Entry {
            path: EntryPath::from_typed(b"a\xff").unwrap(),
            kind: EntryKind::Link,
            size: 0,
            modified: Stamp { secs: 1_800_000_000, nanos: 7 },
            mode: 0o777,
            target: Some(b"b\x1b".to_vec()),
            digest: None,
            occupied: None,
        }
    }

    #[test]
    fn lines_escape_for_a_terminal_only() {
        let line = |terminal| {
            let mut out = Vec::new();
            write_long(&mut out, &link(), "  0", &TimeZone::UTC, terminal).unwrap();
            out
        };
        assert_eq!(line(true), b"lrwxrwxrwx   0 2027-01-15 08:00 a\\xff -> b\\u{1b}\n");
        assert_eq!(line(false), b"lrwxrwxrwx   0 2027-01-15 08:00 a\xff -> b\x1b\n");
    }

    #[test]
    fn a_block_tells_all() {
        let mut out = Vec::new();
        write_block(&mut out, b"h:a", &link(), &TimeZone::UTC, true).unwrap();
        let expected = "    name: h:a\n    kind: link\n  target: b\\u{1b}\n    size: 0\n    mode: 0777 lrwxrwxrwx\n\
                        modified: 2027-01-15 08:00:00.000000007 +0000\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn objects_keep_every_byte() {
        let expected = r#"{"kind":"link","mode":"0777","modified":"2027-01-15T08:00:00.000000007Z","path":"a\\xff","path_hex":"61ff","size":0,"target":{"path":"b\u001b"}}"#;
        assert_eq!(Value::Object(object(b"a\xff", &link())).to_string(), expected);
    }
}
