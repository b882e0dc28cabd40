//! What an examination found: one finding for each thing that was looked at, with what to type where it can be mended.
//!
//! Pure: who looks is in `checkup_here`, `checkup_there` and `disk_speed`.

use serde_json::{Map, Value};

use crate::columns;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Which, in a word or two.
    pub about: String,
    pub level: Level,
    /// What was found, as a sentence without its full stop.
    pub text: String,
    /// What to type or to do.
    pub mend: Option<String>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// It works, and might work better.
    Warning,
    /// It does not work.
    Problem,
}

impl Finding {
    /// As it should be.
    pub(crate) fn ok(about: &str, text: impl Into<String>) -> Self {
        Self { about: about.into(), level: Level::Ok, text: text.into(), mend: None }
    }

    /// It works, and might work better.
    pub(crate) fn warning(about: &str, text: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::ok(about, text) }
    }

    /// It does not work.
    pub(crate) fn problem(about: &str, text: impl Into<String>) -> Self {
        Self { level: Level::Problem, ..Self::ok(about, text) }
    }

    /// What to type or to do about it.
    pub(crate) fn mended_by(self, mend: impl Into<String>) -> Self {
        Self { mend: Some(mend.into()), ..self }
    }

    /// As a row for people.
    pub(crate) fn row(&self, width: Option<usize>) -> String {
        let text = format!("{}: {}", self.about, self.text);
        let mut row = columns::paragraph(self.level.name(), &text, width);
        if let Some(mend) = &self.mend {
            row += &columns::paragraph("", &format!("→ {mend}"), width);
        }
        row
    }

    /// As an object for programs.
    pub(crate) fn object(&self) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("event".into(), "finding".into());
        object.insert("about".into(), self.about.clone().into());
        object.insert("state".into(), self.level.name().into());
        object.insert("text".into(), self.text.clone().into());
        object.insert("mend".into(), self.mend.clone().into());
        object
    }
}

impl Level {
    /// As it is shown.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_as_rows_and_objects() {
        let finding =
            Finding::warning("buffers", "the system allows 208 KiB").mended_by("sudo sysctl -w x=1");
        assert_eq!(
            finding.row(None),
            "  warning      buffers: the system allows 208 KiB\n               → sudo sysctl -w x=1\n"
        );
        assert_eq!(
            Value::Object(finding.object()).to_string(),
            r#"{"about":"buffers","event":"finding","mend":"sudo sysctl -w x=1","state":"warning","text":"the system allows 208 KiB"}"#
        );
        assert!(Finding::ok("port", "free").object()["mend"].is_null());
        assert!(Level::Problem > Level::Warning && Level::Warning > Level::Ok);
    }
}
