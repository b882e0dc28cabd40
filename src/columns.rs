//! Text in columns and paragraphs, as wide as the terminal and no wider; without a terminal, as wide as it is.

use std::fmt::Write as _;
use std::io;

/// How wide the terminal is that stdout goes to, if it goes to one.
pub(crate) fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col).max(WIDTH_MIN))
}

/// Rows under a head. All columns but the last are as wide as their widest cell; what does not fit is cut at the end.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]], width: Option<usize>) -> String {
    let widths: [usize; N] = std::array::from_fn(|at| {
        rows.iter().map(|row| row[at].chars().count()).chain([head[at].len()]).max().unwrap_or(0)
    });
    let line = |cells: [&str; N]| {
        let mut line = String::new();
        for (at, (cell, cell_width)) in cells.into_iter().zip(widths).enumerate() {
            let gap = if at + 1 < N { cell_width + GAP } else { 0 };
            // A `String` takes everything.
            let _ = write!(line, "{cell:<gap$}");
        }
        cut(line.trim_end(), width) + "\n"
    };
    let rows = rows.iter().map(|row| line(std::array::from_fn(|at| row[at].as_str())));
    std::iter::once(line(head)).chain(rows).collect()
}

/// The text, or as much of it as fits, with `…` at the end.
pub(crate) fn cut(text: &str, width: Option<usize>) -> String {
    match width {
        Some(width) if text.chars().count() > width => {
            text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
        }
        _ => text.to_owned(),
    }
}

/// A paragraph after a label: broken between words where the terminal ends, and begun below itself again.
pub(crate) fn paragraph(label: &str, text: &str, width: Option<usize>) -> String {
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(LABEL).max(20));
    let mut written = String::new();
    for line in text.lines() {
        let mut row = String::new();
        for word in line.split_whitespace() {
            if !row.is_empty() && row.chars().count() + 1 + word.chars().count() > room {
                push_row(&mut written, label, &std::mem::take(&mut row));
            }
            if !row.is_empty() {
                row.push(' ');
            }
            row.push_str(word);
        }
        push_row(&mut written, label, &row);
    }
    written
}

fn push_row(written: &mut String, label: &str, row: &str) {
    let label = if written.is_empty() { label } else { "" };
    let line = format!("  {label:<indent$}{row}", indent = LABEL - 2);
    written.push_str(line.trim_end());
    written.push('\n');
}

/// Where the text begins that stands after a label.
pub(crate) const LABEL: usize = 15;
const GAP: usize = 2;
/// A terminal that says to be narrower is not believed.
const WIDTH_MIN: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let rows = [["1".to_owned(), "one".to_owned()], ["22222".to_owned(), "a long last cell".to_owned()]];
        assert_eq!(table(["NR", "TEXT"], &rows, None), "NR     TEXT\n1      one\n22222  a long last cell\n");
        assert_eq!(table(["NR", "TEXT"], &rows, Some(12)), "NR     TEXT\n1      one\n22222  a lo…\n");
    }

    #[test]
    fn paragraphs_are_broken_between_words() {
        let text = "one two three four five six seven\n   eight";
        assert_eq!(
            paragraph("label", text, None),
            "  label        one two three four five six seven\n               eight\n"
        );
        assert_eq!(
            paragraph("label", text, Some(36)),
            "  label        one two three four\n               five six seven\n               eight\n"
        );
    }
}
