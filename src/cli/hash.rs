//! `sft hash`: BLAKE3 digests of files, here or on a host, as `b3sum` prints them.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

use clap::Args;
use serde_json::Map;
use sft_base::Digest;
use sft_client::{Code, Location};

use crate::app::App;
use crate::args::RemoteArgs;
use crate::exit::Exit;
use crate::names::put_path;
use crate::place;

/// Print the BLAKE3 digests of files, here or on a host
#[derive(Debug, Args)]
pub(crate) struct HashArgs {
    /// Files
    #[arg(required = true, value_name = "[HOST:]PATH")]
    paths: Vec<OsString>,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Prints the digest of each file; goes on after one that fails.
pub(crate) async fn run(app: &App, typed: HashArgs) -> anyhow::Result<Exit> {
    let places = typed.paths.iter().map(|text| Location::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let mut exit = Exit::Done;
    for (place, text) in places.into_iter().zip(&typed.paths) {
        let digest = match place {
            Location::Local(path) => local(app, path).await?,
            Location::Remote(place) => {
                let client = app.client(&place, &typed.remote).await?;
                let digest = client.hash(&place.path.entry).await;
                place::one_of_many(&app.voice, &place, digest)?
            }
        };
        match digest {
            Ok(digest) => print(app, digest, text)?,
            Err(failed) => exit = exit.worse(failed),
        }
    }
    Ok(exit)
}

async fn local(app: &App, path: std::path::PathBuf) -> anyhow::Result<Result<Digest, Exit>> {
    let name = path.as_os_str().as_encoded_bytes().to_vec();
    let hashed = tokio::task::spawn_blocking(move || digest_of(&path)).await?;
    Ok(match hashed {
        Ok(digest) => Ok(digest),
        Err(error) => {
            let code = if error.kind() == io::ErrorKind::NotFound { Code::NOT_FOUND } else { Code::READ };
            app.voice.failed(&name, &code.because(error.to_string()))?;
            Err(Exit::SomeFailed)
        }
    })
}

fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(path)?)?;
    Ok(Digest(*hasher.finalize().as_bytes()))
}

fn print(app: &App, digest: Digest, name: &OsString) -> anyhow::Result<()> {
    let name = name.as_encoded_bytes();
    if app.voice.json() {
        let mut object = Map::new();
        put_path(&mut object, name);
        object.insert("digest".into(), digest.to_string().into());
        return app.voice.object(object);
    }
    app.voice.write(|out| write_line(out, digest, name))
}

/// A line of `b3sum`: a name with a backslash or a line feed is escaped, and a backslash before the line says so.
fn write_line(out: &mut dyn Write, digest: Digest, name: &[u8]) -> io::Result<()> {
    if !name.iter().any(|byte| matches!(byte, b'\\' | b'\n')) {
        write!(out, "{digest}  ")?;
        out.write_all(name)?;
        return out.write_all(b"\n");
    }
    write!(out, "\\{digest}  ")?;
    for byte in name {
        match byte {
            b'\\' => out.write_all(b"\\\\")?,
            b'\n' => out.write_all(b"\\n")?,
            byte => out.write_all(&[*byte])?,
        }
    }
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_b3sum() {
        let line = |name: &[u8]| {
            let mut out = Vec::new();
            write_line(&mut out, Digest::of(b""), name).unwrap();
            out
        };
        let empty = b"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262  ";
        assert_eq!(line(b"a b"), [&empty[..], b"a b\n"].concat());
        assert_eq!(line(b"a\\b\nc"), [b"\\", &empty[..], b"a\\\\b\\nc\n"].concat());
        assert_eq!(line(b"\xff"), [&empty[..], b"\xff\n"].concat());
    }

    #[test]
    fn a_local_digest_is_that_of_the_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, vec![7; 100_000]).unwrap();
        assert_eq!(digest_of(&path).unwrap(), Digest::of(&vec![7; 100_000]));
        assert!(digest_of(dir.path()).is_err());
    }
}
