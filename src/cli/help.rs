//! `sft help`: help on a verb, and on what is no verb.

use clap::{Args, CommandFactory as _};

use crate::app::App;
use crate::args::Arguments;
use crate::exit::Exit;
use crate::failure::Usage;
use crate::manual;

/// Print help on a verb or a topic
#[derive(Debug, Args)]
pub(crate) struct HelpArgs {
    /// A verb, `exit-codes`, or `man` for the manual page: `sft help man > sft.1`
    topic: Option<String>,
}

/// Prints the help.
pub(crate) fn run(app: &App, typed: HelpArgs) -> anyhow::Result<Exit> {
    if typed.topic.as_deref() == Some("man") {
        let page = manual::page(Arguments::command())?;
        app.voice.write(|out| out.write_all(&page))?;
        return Ok(Exit::Done);
    }
    let text = text(typed.topic.as_deref())?;
    app.voice.write(|out| out.write_all(text.as_bytes()))?;
    Ok(Exit::Done)
}

fn text(topic: Option<&str>) -> Result<String, Usage> {
    let mut command = Arguments::command();
    command.build();
    match topic {
        None => Ok(command.render_long_help().to_string()),
        Some("exit-codes") => Ok(Exit::help()),
        Some(verb) => match command.find_subcommand_mut(verb) {
            Some(found) => Ok(found.render_long_help().to_string()),
            None => Err(Usage(format!("there is no help on `{verb}`; `sft help` lists the verbs"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics() {
        assert!(text(None).unwrap().contains("sft help exit-codes"));
        assert!(text(Some("exit-codes")).unwrap().contains("130"));
        assert!(text(Some("cp")).unwrap().contains("Usage: sft cp"));
        assert_eq!(
            text(Some("fly")).unwrap_err().to_string(),
            "there is no help on `fly`; `sft help` lists the verbs"
        );
    }
}
