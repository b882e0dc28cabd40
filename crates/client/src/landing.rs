//! Where copied entries land: the habits of `cp -r` and scp (spec/wire.md, "Place").
//!
//! Pure: what is on the disk is told, not looked up. A destination that is a directory, that ends with a slash, or that
//! several sources share, takes them inside; else it is the new name of the one source. A directory that an earlier run
//! of the same copy made at that name is that new name still.

use sft_wire::message::Place;

use crate::location::Ending;

/// What is at a local destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A directory, or a link to one.
    Dir,
    /// Something else.
    Other,
    /// Nothing.
    Nothing,
}

/// Where pulled entries land.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Landing {
    /// In the destination, which is a directory.
    Inside,
    /// In the destination, which must be made first.
    InsideNew,
    /// At the destination's name, in its parent directory.
    AtName,
}

/// How a server shall take the destination of a push.
pub(crate) fn push_place(sources: &[Ending], destination: Ending) -> Place {
    if may_be_new_name(sources, destination) { Place::Auto } else { Place::Into }
}

/// Where the sources of a pull land at a local destination; none where several would land at one name. `recalled`: an
/// earlier run of the same pull landed at the name.
pub(crate) fn pull_landing(
    sources: &[Ending],
    destination: Ending,
    found: Found,
    recalled: bool,
) -> Option<Landing> {
    let new_name = may_be_new_name(sources, destination);
    match found {
        Found::Dir if new_name && recalled => Some(Landing::AtName),
        Found::Dir => Some(Landing::Inside),
        Found::Nothing if new_name => Some(Landing::AtName),
        Found::Nothing => Some(Landing::InsideNew),
        Found::Other if new_name => Some(Landing::AtName),
        Found::Other => None,
    }
}

/// Whether the destination may be the new name of what is copied, as far as the names tell.
pub(crate) fn may_be_new_name(sources: &[Ending], destination: Ending) -> bool {
    matches!(sources, [Ending::Name | Ending::Slash]) && destination == Ending::Name
}

#[cfg(test)]
mod tests {
    use super::*;
    use Ending::{Contents, Name, Slash};

    #[test]
    fn pushed() {
        let cases: [(&[Ending], Ending, Place); 6] = [
            (&[Name], Name, Place::Auto),
            (&[Slash], Name, Place::Auto),
            (&[Name], Slash, Place::Into),
            (&[Name], Contents, Place::Into),
            (&[Contents], Name, Place::Into),
            (&[Name, Name], Name, Place::Into),
        ];
        for (sources, destination, place) in cases {
            assert_eq!(push_place(sources, destination), place, "{sources:?} to {destination:?}");
        }
    }

    #[test]
    fn pulled() {
        let cases: [(&[Ending], Ending, Found, Option<Landing>); 10] = [
            (&[Name], Name, Found::Dir, Some(Landing::Inside)),
            (&[Name], Name, Found::Nothing, Some(Landing::AtName)),
            (&[Name], Name, Found::Other, Some(Landing::AtName)),
            (&[Name], Slash, Found::Nothing, Some(Landing::InsideNew)),
            (&[Name], Slash, Found::Other, None),
            (&[Contents], Name, Found::Nothing, Some(Landing::InsideNew)),
            (&[Contents], Name, Found::Other, None),
            (&[Name, Name], Name, Found::Nothing, Some(Landing::InsideNew)),
            (&[Name, Name], Name, Found::Other, None),
            (&[Name, Name], Contents, Found::Dir, Some(Landing::Inside)),
        ];
        for (sources, destination, found, landing) in cases {
            assert_eq!(
                pull_landing(sources, destination, found, false),
                landing,
                "{sources:?} to {destination:?}, {found:?}"
            );
        }
    }

    #[test]
    fn pulled_again() {
        let cases: [(&[Ending], Ending, Found, Option<Landing>); 5] = [
            (&[Name], Name, Found::Dir, Some(Landing::AtName)),
            (&[Name], Name, Found::Nothing, Some(Landing::AtName)),
            (&[Name], Slash, Found::Dir, Some(Landing::Inside)),
            (&[Contents], Name, Found::Dir, Some(Landing::Inside)),
            (&[Name, Name], Name, Found::Dir, Some(Landing::Inside)),
        ];
        for (sources, destination, found, landing) in cases {
            assert_eq!(pull_landing(sources, destination, found, true), landing, "{sources:?} {found:?}");
        }
    }
}
