//! Notices that something was granted or taken back while sessions are open (spec/auth.md, "Grants").

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sft_auth::{GivenThen, Grant, Policy};
use tokio::time::sleep;

use crate::at_once::in_pool;

/// Calls `tell` whenever what is given has become another, for ever.
pub(crate) async fn watch_grants(policy: Arc<Policy>, tell: impl Fn()) {
    let mut last: Option<GivenThen> = None;
    loop {
        let policy = policy.clone();
        // What cannot be read now, as while somebody writes it by hand, says nothing: whoever is in stays, and nobody comes in.
        if let Ok(given) = in_pool(move || policy.grants().given_then()).await {
            if last.as_ref().is_some_and(|last| *last != given) {
                tell();
            }
            last = Some(given);
        }
        sleep(LOOKS_AGAIN).await;
    }
}

/// Whether a session may not go on with what it was opened with.
pub(crate) async fn was_taken_back(policy: &Arc<Policy>, grant: &Arc<Grant>, now: SystemTime) -> bool {
    let (policy, grant) = (policy.clone(), grant.clone());
    in_pool(move || policy.stands(&grant, now)).await.is_ok_and(|stands| !stands)
}

const LOOKS_AGAIN: Duration = Duration::from_secs(1);
