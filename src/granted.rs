//! What somebody may do, in words for people: `list, read and create`.

use std::fmt;

use sft_client::Rights;

/// Rights as part of a sentence, after "may" or "lets them".
#[derive(Clone, Copy, Debug)]
pub(crate) struct Granted(pub Rights);

impl fmt::Display for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(sft_auth::Right::name).collect();
        match names.split_last() {
            None => f.write_str("do nothing"),
            Some((only, [])) => f.write_str(only),
            Some((last, others)) => write!(f, "{} and {last}", others.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_words_of_a_sentence() {
        assert_eq!(Granted(Rights::NONE).to_string(), "do nothing");
        assert_eq!(Granted(Rights::DROP).to_string(), "create");
        assert_eq!(Granted(Rights::READ).to_string(), "list and read");
        assert_eq!(Granted(Rights::WRITE).to_string(), "list, read, create, replace and remove");
    }
}
