//! Questions to the person at the terminal: whether a server is the right one, and passphrases.

use std::io::{self, BufRead, Write};

use sft_client::{Passphrase, UnknownServer};

/// Asks whether an unknown server is to be trusted, as ssh does. Blocks.
pub(crate) fn trust(server: &UnknownServer) -> bool {
    let UnknownServer { name, fingerprint } = server;
    let fingerprint = fingerprint.to_string();
    let mut question = format!(
        "This machine has never talked to {name}. Its key is\n\n    {fingerprint}\n\n\
         Compare that with what `sft serve` shows there. Trust it? (yes, no, or the fingerprint itself) "
    );
    let mut input = io::stdin().lock();
    loop {
        let mut line = String::new();
        // Without a terminal to ask on there is no consent.
        if write!(io::stderr(), "{question}").is_err() || !matches!(input.read_line(&mut line), Ok(1..)) {
            // What is said next begins a line.
            let _ = writeln!(io::stderr());
            return false;
        }
        match Answer::parse(&line, &fingerprint) {
            Answer::Yes => return true,
            Answer::No => return false,
            Answer::OtherFingerprint => {
                question =
                    format!("That is not its fingerprint, which is {fingerprint}. Nothing was sent to it.\n");
                let _ = write!(io::stderr(), "{question}");
                return false;
            }
            Answer::Unclear => question = "Please type yes, no, or the fingerprint: ".into(),
        }
    }
}

/// Asks for a passphrase without showing it; none when there is nobody to ask. Blocks.
pub(crate) fn passphrase(question: &str) -> Option<Passphrase> {
    rpassword::prompt_password(question).ok().map(Passphrase::new)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    OtherFingerprint,
    Unclear,
}

impl Answer {
    fn parse(line: &str, fingerprint: &str) -> Self {
        let line = line.trim();
        match line.to_ascii_lowercase().as_str() {
            "yes" => Self::Yes,
            "no" | "n" => Self::No,
            // A single letter is too easily typed for a decision that lasts.
            _ if line == fingerprint => Self::Yes,
            _ if line.starts_with("SHA256:") => Self::OtherFingerprint,
            _ => Self::Unclear,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_answer_is_consent() {
        let cases = [
            ("yes\n", Answer::Yes),
            (" YES ", Answer::Yes),
            ("SHA256:abc", Answer::Yes),
            ("SHA256:abd", Answer::OtherFingerprint),
            ("no", Answer::No),
            ("y", Answer::Unclear),
            ("", Answer::Unclear),
            ("abc", Answer::Unclear),
        ];
        for (line, answer) in cases {
            assert_eq!(Answer::parse(line, "SHA256:abc"), answer, "{line:?}");
        }
    }
}
