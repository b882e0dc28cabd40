//! `sft`: the command line. A switchboard: what was typed becomes what will be done, one match does it, and one place
//! turns how it ended into a message and an exit code.

mod amount;
mod announce;
mod answer_page;
mod app;
mod args;
mod ask;
mod attributed;
mod certificate;
mod checkup;
mod checkup_here;
mod checkup_there;
mod cli;
mod columns;
mod config;
mod copy_speed;
mod copying;
mod disk_speed;
mod exit;
mod failure;
mod granted;
mod known_paths;
mod left_there;
mod lifetime;
mod listed;
mod listening;
mod long;
mod manual;
mod memory;
mod names;
mod namesakes;
mod near;
mod one_shot;
mod pinned;
mod place;
mod port_page;
mod probe;
mod progress;
mod rate;
mod served_port;
mod srv;
mod stop;
mod told;
mod under_way;
mod voice;
mod whereabouts;
mod window;

use std::process::ExitCode;

use clap::Parser as _;

use crate::app::App;
use crate::args::{Arguments, Verb};
use crate::exit::Exit;
use crate::failure::Interrupted;
use crate::voice::Voice;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let voice = Voice::new(arguments.tone);
    voice.start_log();
    let exit = match run(arguments.verb, voice) {
        Ok(exit) => exit,
        Err(error) => failure::report(&error, &voice),
    };
    exit.into()
}

fn run(verb: Verb, voice: Voice) -> anyhow::Result<Exit> {
    let app = App::new(voice)?;
    match verb {
        Verb::Serve(typed) => cli::serve::run(&app, typed),
        Verb::Cp(typed) => app.run(cli::cp::run(&app, typed.resolve()?)).map_err(Interrupted::of_copy),
        Verb::Ls(typed) => app.run(cli::ls::run(&app, typed)),
        Verb::Stat(typed) => app.run(cli::stat::run(&app, typed)),
        Verb::Mkdir(typed) => app.run(cli::mkdir::run(&app, typed)),
        Verb::Rm(typed) => app.run(cli::rm::run(&app, typed)),
        Verb::Mv(typed) => app.run(cli::mv::run(&app, typed)),
        Verb::Df(typed) => app.run(cli::df::run(&app, typed)),
        Verb::Cat(typed) => app.run(cli::cat::run(&app, typed)),
        Verb::Hash(typed) => app.run(cli::hash::run(&app, typed)),
        Verb::Key(typed) => cli::key::run(&app, typed),
        Verb::Invite(typed) => cli::invite::run(&app, typed),
        Verb::Join(typed) => app.run(cli::join::run(&app, typed)),
        Verb::Trust(typed) => cli::trust::run(&app, typed),
        Verb::SftpStdio(typed) => app.run(cli::sftp_stdio::run(&app, typed)),
        Verb::Find(typed) => app.run(cli::find::run(&app, typed)),
        Verb::Port(typed) => app.run(cli::port::run(&app, typed)),
        Verb::Doctor(typed) => app.run(cli::doctor::run(&app, typed)),
        Verb::Help(typed) => cli::help::run(&app, typed),
    }
}
