//! The tables of spec/wire.md say what the code says, line by line.

use std::fmt::Write;

use sft_base::limits;
use sft_wire::{CborFault, Code, ControlMessage, message::frame};

const TEXT: &str = include_str!("../../../spec/wire.md");

#[test]
fn limits_are_those_of_the_code() {
    let code: Vec<Vec<String>> =
        limits::ALL.iter().map(|(name, value)| vec![(*name).into(), value.to_string()]).collect();
    assert_eq!(table("## Limits", 2), code);
}

#[test]
fn error_codes_are_those_of_the_code() {
    let yes_no = |retry: bool| if retry { "yes" } else { "no" };
    let row = |(code, name, retry): &(Code, &str, bool)| {
        vec![code.0.to_string(), (*name).into(), yes_no(*retry).into()]
    };
    let code: Vec<Vec<String>> = Code::ALL.iter().map(row).collect();
    assert_eq!(table("## Errors", 3), code);
}

#[test]
fn frame_types_are_those_of_the_code() {
    let types = ControlMessage::TYPES.iter().map(|(ty, name)| (*ty, name.to_lowercase()));
    let types = types.chain([(frame::PIECE, "piece".into()), (frame::PACK, "pack".into())]);
    let code: Vec<Vec<String>> = types.map(|(ty, name)| vec![format!("{ty:#04x}"), name]).collect();
    assert_eq!(table("### Frame types", 2), code);
}

#[test]
fn refusals_of_cbor_are_those_of_the_code() {
    let faults = [
        CborFault::Truncated,
        CborFault::Trailing,
        CborFault::NotAMap,
        CborFault::NotShortest,
        CborFault::Indefinite,
        CborFault::Reserved,
        CborFault::KeyType,
        CborFault::KeyOrder,
        CborFault::KeyTwice,
        CborFault::KeyCritical(-1),
        CborFault::TooDeep,
        CborFault::Tag,
        CborFault::Simple,
        CborFault::NotUtf8,
    ];
    let text = table("### Refusals", 1).concat();
    assert_eq!(text[..faults.len()], faults.map(|fault| fault.name().to_owned()));
    let rest =
        ["shape", "unknown-value", "unknown-operation", "rule", "limit", "data", "frame-type", "out-of-turn"];
    assert_eq!(text[faults.len()..], rest);
}

#[test]
fn every_message_has_its_paragraph() {
    for (ty, name) in ControlMessage::TYPES {
        let mut head = String::new();
        write!(head, "**{}** ({ty:#04x})", name.to_lowercase()).expect("writing to memory");
        assert!(TEXT.contains(&head), "no paragraph begins with {head}");
    }
}

/// What this crate and its nouns call a section is one.
#[test]
fn sections_named_in_the_sources_exist() {
    let manifest = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for folder in ["src", "../base/src"] {
        let files = std::fs::read_dir(manifest.join(folder)).unwrap().map(|file| file.unwrap().path());
        for file in files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")) {
            let source = std::fs::read_to_string(&file).unwrap();
            for after in source.split("spec/wire.md, \"").skip(1) {
                let section = after.split('"').next().unwrap_or_default();
                assert!(is_heading(section), "{} names the section {section}", file.display());
                named += 1;
            }
        }
    }
    assert!(named > 10, "sources name sections");
}

fn is_heading(section: &str) -> bool {
    let headings = TEXT.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| line.trim_start_matches('#').trim()).any(|heading| heading == section)
}

/// The first `columns` cells of each row of the first table after a heading.
fn table(heading: &str, columns: usize) -> Vec<Vec<String>> {
    let after = TEXT.split(&format!("\n{heading}\n")).nth(1).unwrap_or_else(|| panic!("no {heading}"));
    let rows =
        after.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.split('|').skip(1).take(columns).map(|cell| cell.trim().to_owned()).collect();
    rows.skip(2).map(cells).collect()
}
