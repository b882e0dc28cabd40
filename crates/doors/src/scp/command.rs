//! What a client of the old scp would have a shell run: `scp -t` or `scp -f`, with flags and paths.
//!
//! No shell ever sees it. Quotes and backslashes are taken off as a shell would; what would make a shell do anything more is
//! refused.

/// One run of scp at this end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Command {
    /// `-t`: it takes files. Else, `-f`: it gives them.
    pub takes: bool,
    /// `-r`
    pub recursive: bool,
    /// `-p`
    pub keeps_times: bool,
    /// `-d`: the target has to be a directory.
    pub into_directory: bool,
    /// As they were meant; at least one, and only one where files are taken.
    pub paths: Vec<Vec<u8>>,
}

/// Why a command is not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum NotScp {
    #[error("This server moves files and runs no commands: use sftp, scp or sft.")]
    Other,
    #[error(
        "Wildcards, variables and the like are not expanded here: use scp without -O, or name each file."
    )]
    ForShell,
    #[error(
        "This scp knows -t, -f, -r, -p, -d, -v and -q, and takes one target: use scp without -O for more."
    )]
    Arguments,
}

impl Command {
    /// Takes a command line apart.
    pub fn parse(line: &[u8]) -> Result<Self, NotScp> {
        if line.strip_prefix(b"scp").is_none_or(|rest| !rest.starts_with(b" ")) {
            return Err(NotScp::Other);
        }
        let words = words(line)?;
        let mut command = Self::default();
        let mut gives = false;
        let mut flags_are_over = false;
        for word in words.into_iter().skip(1) {
            match &word[..] {
                b"--" if !flags_are_over => flags_are_over = true,
                [b'-', letters @ ..] if !flags_are_over && !letters.is_empty() => {
                    for letter in letters {
                        match letter {
                            b't' => command.takes = true,
                            b'f' => gives = true,
                            b'r' => command.recursive = true,
                            b'p' => command.keeps_times = true,
                            b'd' => command.into_directory = true,
                            b'v' | b'q' => {}
                            _ => return Err(NotScp::Arguments),
                        }
                    }
                }
                _ => {
                    flags_are_over = true;
                    command.paths.push(word);
                }
            }
        }
        let is_enough = if command.takes { command.paths.len() == 1 } else { !command.paths.is_empty() };
        if command.takes == gives || !is_enough {
            return Err(NotScp::Arguments);
        }
        Ok(command)
    }
}

/// Splits a line as a shell does that has nothing to expand.
fn words(line: &[u8]) -> Result<Vec<Vec<u8>>, NotScp> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' => words.extend(word.take()),
            b'\\' => word.get_or_insert_default().push(bytes.next().ok_or(NotScp::ForShell)?),
            b'\'' => quoted(&mut bytes, word.get_or_insert_default(), b'\'')?,
            b'"' => quoted(&mut bytes, word.get_or_insert_default(), b'"')?,
            b'~' if word.is_none() => {
                // Where a client begins; nobody has another home here.
                match bytes.next() {
                    None => word = Some(b".".to_vec()),
                    Some(b'/') => word = Some(b"./".to_vec()),
                    Some(b' ') => words.push(b".".to_vec()),
                    Some(_) => return Err(NotScp::ForShell),
                }
            }
            b'*' | b'?' | b'[' | b'$' | b'`' | b';' | b'|' | b'&' | b'<' | b'>' | b'(' | b')' | b'{'
            | b'\n' | b'#' => {
                return Err(NotScp::ForShell);
            }
            byte => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(bytes: &mut impl Iterator<Item = u8>, word: &mut Vec<u8>, quote: u8) -> Result<(), NotScp> {
    loop {
        match bytes.next().ok_or(NotScp::ForShell)? {
            byte if byte == quote => return Ok(()),
            b'$' | b'`' if quote == b'"' => return Err(NotScp::ForShell),
            b'\\' if quote == b'"' => match bytes.next().ok_or(NotScp::ForShell)? {
                byte @ (b'"' | b'\\' | b'$' | b'`') => word.push(byte),
                byte => word.extend([b'\\', byte]),
            },
            byte => word.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Command {
        Command::parse(line.as_bytes()).unwrap()
    }

    #[test]
    fn what_clients_send_is_understood() {
        let openssh = parsed("scp -v -r -p -d -t -- dir/a");
        assert!(openssh.takes && openssh.recursive && openssh.keeps_times && openssh.into_directory);
        assert_eq!(openssh.paths, [b"dir/a"]);
        assert_eq!(parsed("scp -pf '/it'\\''s here'").paths, [b"/it's here"]);
        assert_eq!(parsed(r#"scp -f a\ b "c d" ~/e"#).paths, [&b"a b"[..], b"c d", b"./e"]);
        assert_eq!(parsed("scp -t ~").paths, [b"."]);
        assert_eq!(parsed("scp -t -- -x").paths, [b"-x"]);
        assert_eq!(parsed("scp -t ''").paths, [b""]);
    }

    #[test]
    fn what_a_shell_would_do_more_is_not_done() {
        let refused = |line: &str| Command::parse(line.as_bytes()).unwrap_err();
        for line in [
            "scp -f *.c",
            "scp -f $HOME",
            "scp -t a;id",
            "scp -t `id`",
            "scp -f ~root/x",
            "scp -f 'a",
            "scp -t \"$(id)\"",
        ] {
            assert_eq!(refused(line), NotScp::ForShell, "{line}");
        }
        for line in ["scp", "scpx -t a", "id", "", "/usr/bin/scp -t a"] {
            assert_eq!(refused(line), NotScp::Other, "{line}");
        }
        for line in
            ["scp -t", "scp -f", "scp a b", "scp -t -f a", "scp -t a b", "scp -S x -t a", "scp -l 5 -t a"]
        {
            assert_eq!(refused(line), NotScp::Arguments, "{line}");
        }
    }
}
