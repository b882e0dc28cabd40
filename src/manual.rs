//! The manual page, made of what the command line declares: sft(1), with a section for each verb, the exit codes and the files.

use std::io;

use clap::Command;
use clap_mangen::Man;

use crate::exit::Exit;

/// The page, in the language of `man`.
pub(crate) fn page(mut command: Command) -> io::Result<Vec<u8>> {
    command.build();
    let mut page = Vec::new();
    let man = Man::new(command.clone()).section("1").manual("User Commands");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        page.extend(format!(".SH SFT {}\n", verb.get_name().to_uppercase()).bytes());
        page.extend(of_verb(verb)?);
    }
    page.extend(b".SH EXIT STATUS\n");
    for (exit, meaning) in Exit::ALL {
        page.extend(format!(".TP\n\\fB{}\\fR\n{}\n", exit.code(), escaped(meaning)).bytes());
    }
    page.extend(FILES.bytes());
    Ok(page)
}

/// What belongs to one verb; the headings of a page of its own become smaller ones here.
fn of_verb(verb: &Command) -> io::Result<Vec<u8>> {
    // Those of every verb stand at the top of the page.
    let everywhere: Vec<_> =
        verb.get_arguments().filter(|arg| arg.is_global_set()).map(|arg| arg.get_id().clone()).collect();
    let alone = everywhere.into_iter().fold(verb.clone(), |verb, id| verb.mut_arg(id, |arg| arg.hide(true)));
    let man = Man::new(alone.mut_args(|arg| if arg.get_id() == "help" { arg.hide(true) } else { arg }));
    let mut text = Vec::new();
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if verb.get_after_help().is_some() || verb.get_after_long_help().is_some() {
        man.render_extra_section(&mut text)?;
    }
    let text = String::from_utf8_lossy(&text);
    let mut section = String::new();
    for line in text.lines() {
        match line.strip_prefix(".SH ") {
            // The verb's own heading says it.
            Some("SYNOPSIS" | "DESCRIPTION") => {}
            Some("EXTRA") => section += ".PP\n",
            Some(heading) => section += &format!(".SS {heading}\n"),
            // How quotes are written is said once, at the top.
            None if line.starts_with(".ie ") || line.starts_with(".el ") => {}
            None => section += &format!("{line}\n"),
        }
    }
    Ok(section.into_bytes())
}

/// Text as `man` is to show it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

const FILES: &str = ".SH FILES
.TP
\\fB~/.config/sft/config.toml\\fR
Short names for hosts.
.TP
\\fB~/.config/sft/trusted\\fR
The servers that you trust, and their keys.
.TP
\\fB~/.local/state/sft/\\fR
The identity and the grants of a server.
.TP
\\fB~/.ssh/authorized_keys\\fR
The keys that own what a server serves.
.SH SEE ALSO
\\fBssh\\fR(1), \\fBsftp\\fR(1), \\fBrsync\\fR(1)
";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Arguments;

    #[test]
    fn every_verb_every_option_and_every_exit_code_is_there() {
        let page = String::from_utf8(page(Arguments::command()).unwrap()).unwrap();
        let mut command = Arguments::command();
        command.build();
        for verb in command.get_subcommands() {
            let heading = format!(".SH SFT {}\n", verb.get_name().to_uppercase());
            let section = page.split(&heading).nth(1).unwrap_or_else(|| panic!("{heading} is missing"));
            let section = section.split("\n.SH ").next().unwrap();
            for option in verb.get_opts().filter(|option| !option.is_hide_set() && !option.is_global_set()) {
                let long = option.get_long().unwrap_or_default().replace('-', "\\-");
                assert!(section.contains(&long), "{heading}: --{long}");
            }
        }
        for (exit, _) in Exit::ALL {
            assert!(page.contains(&format!("\\fB{}\\fR\n", exit.code())), "{exit:?}");
        }
        assert!(page.starts_with(".") && page.contains(".TH sft 1"), "{page}");
    }
}
