//! Notices that something was granted or taken back while sessions are open (spec/auth.md, "Grants").

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sft_auth::{GivenThen, Grant, Policy};
use tokio::time::sleep;

use crate::at_once::in_pool;

/// Calls `tell` whenever what is given has become another, for ever.
///
/// It is told when it has stayed so for a moment: who edits the file by hand may leave it empty, or away, between two steps. Where it
/// changes again and again, that is not waited for.
pub(crate) async fn watch_grants(policy: Arc<Policy>, tell: impl Fn()) {
    let (mut told, mut last): (Option<GivenThen>, Option<GivenThen>) = (None, None);
    let (mut is_readable, mut changes) = (true, 0);
    loop {
        let policy = policy.clone();
        // What cannot be read now says nothing: whoever is in stays, and nobody comes in.
        match in_pool(move || policy.grants().given_then()).await {
            Ok(given) => {
                is_readable = true;
                // The first look is told too: somebody may have come in before it.
                let has_stayed = last.replace(given.clone()).is_none_or(|last| last == given);
                changes = if has_stayed { 0 } else { changes + 1 };
                if (has_stayed || changes >= CHANGES_MAX) && told.as_ref() != Some(&given) {
                    tell();
                    told = Some(given);
                    changes = 0;
                }
            }
            Err(error) => {
                if std::mem::take(&mut is_readable) {
                    tracing::warn!(%error, "what was granted cannot be read: nobody comes in, and nobody is put out");
                }
            }
        }
        sleep(LOOKS_AGAIN).await;
    }
}

/// Whether a session may not go on with what it was opened with. It waits until that can be told.
pub(crate) async fn was_taken_back(
    policy: &Arc<Policy>,
    grant: &Arc<Grant>,
    now: fn() -> SystemTime,
) -> bool {
    loop {
        let (policy, grant) = (policy.clone(), grant.clone());
        match in_pool(move || policy.stands(&grant, now())).await {
            Ok(stands) => return !stands,
            Err(_) => sleep(LOOKS_AGAIN).await,
        }
    }
}

const LOOKS_AGAIN: Duration = Duration::from_millis(500);
/// So many looks one after the other may each find something else.
const CHANGES_MAX: u32 = 2;
