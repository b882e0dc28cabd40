//! Sources of one copy that would land at one name: one of them would replace the other, so they are refused.

use std::collections::HashMap;

use sft_client::{Ending, Location};

use crate::failure::Usage;
use crate::names::shown;

/// The sources without those that were typed twice. Two that differ and would land at one name make no sense.
pub(crate) fn sorted_out(sources: Vec<Location>) -> Result<Vec<Location>, Usage> {
    let mut named: HashMap<Vec<u8>, Location> = HashMap::new();
    let mut kept = Vec::with_capacity(sources.len());
    for source in sources {
        let Some(name) = name_of(&source) else {
            kept.push(source);
            continue;
        };
        match named.get(&name) {
            Some(before) if *before == source => {}
            Some(before) => {
                let (before, source, name) = (text_of(before), text_of(&source), sft_base::Shown(&name));
                return Err(Usage(format!(
                    "`{before}` and `{source}` would both land as `{name}`: copy them one after the other"
                )));
            }
            None => {
                named.insert(name, source.clone());
                kept.push(source);
            }
        }
    }
    Ok(kept)
}

/// The name under which a source lands; none where what is in it lands under names of its own.
fn name_of(source: &Location) -> Option<Vec<u8>> {
    match source {
        Location::Local(path) => match Ending::of(path.as_os_str().as_encoded_bytes()) {
            Ending::Contents => None,
            Ending::Name | Ending::Slash => path.file_name().map(|name| name.as_encoded_bytes().to_vec()),
        },
        Location::Remote(place) => match place.path.ending {
            Ending::Contents => None,
            Ending::Name | Ending::Slash => place.path.entry.file_name().map(|name| name.as_bytes().to_vec()),
        },
    }
}

fn text_of(source: &Location) -> String {
    match source {
        Location::Local(path) => shown(path),
        Location::Remote(place) => place.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(sources: &[&str]) -> Result<usize, String> {
        let sources = sources.iter().map(|text| Location::parse(text.as_ref()).unwrap()).collect();
        sorted_out(sources).map(|kept| kept.len()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_would_land_at_one_name_is_refused() {
        assert_eq!(sorted(&["a", "b", "c/d"]), Ok(3));
        assert_eq!(sorted(&["a", "a", "b"]), Ok(2));
        assert_eq!(sorted(&["a/.", "b/.", "."]), Ok(3));
        assert_eq!(sorted(&["h:a", "h:a", "h:", "k:"]), Ok(3));
        for [one, other] in [["a/f", "b/f"], ["h:a/f", "h:f"], ["h:f", "k:f"], ["a/f/", "f"]] {
            let expected = Err(format!(
                "`{}` and `{}` would both land as `f`: copy them one after the other",
                one.trim_end_matches('/'),
                other
            ));
            let found = sorted(&[one, other]).map_err(|text| text.replace("f/`", "f`"));
            assert_eq!(found, expected);
        }
    }
}
