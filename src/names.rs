//! Names of entries on their way out: escaped for a terminal, raw for a pipe, and in JSON without loss.

use std::ffi::OsStr;
use std::io::{self, Write};

use serde_json::{Map, Value};
use sft_base::Shown;
use sft_client::WireError;

/// Writes a name: as it is to a pipe, with what could move the cursor escaped to a terminal.
pub(crate) fn write_name(out: &mut dyn Write, name: &[u8], terminal: bool) -> io::Result<()> {
    if terminal { write!(out, "{}", Shown(name)) } else { out.write_all(name) }
}

/// A local path as text for people.
pub(crate) fn shown(path: impl AsRef<OsStr>) -> String {
    Shown(path.as_ref().as_encoded_bytes()).to_string()
}

/// Adds `path`, and `path_hex` where the bytes are not UTF-8 and `path` is therefore only a likeness.
pub(crate) fn put_path(object: &mut Map<String, Value>, path: &[u8]) {
    match str::from_utf8(path) {
        Ok(text) => {
            object.insert("path".into(), text.into());
        }
        Err(_) => {
            let hex: String = path.iter().map(|byte| format!("{byte:02x}")).collect();
            object.insert("path".into(), Shown(path).to_string().into());
            object.insert("path_hex".into(), hex.into());
        }
    }
}

/// What an error is, for programs.
pub(crate) fn put_error(object: &mut Map<String, Value>, error: &WireError) {
    object.insert("code".into(), error.code.name().into());
    object.insert("text".into(), error.text.clone().into());
    object.insert("retry".into(), error.retry.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_no_control_bytes_and_a_pipe_gets_all() {
        let written = |terminal| {
            let mut out = Vec::new();
            write_name(&mut out, b"a\x1b[2J\xff", terminal).map(|()| out).unwrap()
        };
        assert_eq!(written(true), b"a\\u{1b}[2J\\xff");
        assert_eq!(written(false), b"a\x1b[2J\xff");
    }

    #[test]
    fn json_names_lose_nothing() {
        let object = |path: &[u8]| {
            let mut object = Map::new();
            put_path(&mut object, path);
            Value::Object(object).to_string()
        };
        assert_eq!(object("ä\n".as_bytes()), r#"{"path":"ä\n"}"#);
        assert_eq!(object(b"a\xff"), r#"{"path":"a\\xff","path_hex":"61ff"}"#);
        assert_eq!(object(b""), r#"{"path":""}"#);
    }
}
