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

#[cfg(test)]
mod tests {
    use super::*;
    use sft_auth::{InvitationTerms, Password, Rights, Scope};
    use sft_base::EntryPath;
    use std::fs;
    use std::path::Path;
    use tempfile::TempDir;
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    /// A server's policy, with somebody whom a password lets in.
    fn policy() -> (TempDir, Arc<Policy>, Password) {
        let state = tempfile::tempdir().unwrap();
        let policy = Policy::open(state.path(), state.path().join("authorized_keys"), false).unwrap();
        let scope = Scope { path: EntryPath::root(), rights: Rights::READ, expires: None };
        let password = policy.grants().make_password("Bob", scope, SystemTime::now()).unwrap();
        (state, Arc::new(policy), password)
    }

    /// Puts something in the place of what says who may do what that cannot be read, whoever reads it.
    fn spoil(state: &Path) {
        fs::rename(state.join("grants.toml"), state.join("kept")).unwrap();
        fs::create_dir(state.join("grants.toml")).unwrap();
    }

    fn mend(state: &Path) {
        fs::remove_dir(state.join("grants.toml")).unwrap();
        fs::rename(state.join("kept"), state.join("grants.toml")).unwrap();
    }

    #[tokio::test]
    async fn what_cannot_be_read_puts_nobody_out_and_is_looked_at_again() {
        let (state, policy, password) = policy();
        let grant = Arc::new(policy.admit_password(&password.to_text(), SystemTime::now()).unwrap());
        assert!(!was_taken_back(&policy, &grant, SystemTime::now).await);
        let (tell, mut told) = mpsc::unbounded_channel();
        let watching = tokio::spawn(watch_grants(policy.clone(), move || tell.send(()).unwrap()));
        told.recv().await.unwrap();
        spoil(state.path());
        let (asked, of) = (policy.clone(), grant.clone());
        let mut asking = tokio::spawn(async move { was_taken_back(&asked, &of, SystemTime::now).await });
        assert!(timeout(3 * LOOKS_AGAIN, &mut asking).await.is_err(), "nothing can be said");
        assert!(told.try_recv().is_err(), "what cannot be read is no change");
        mend(state.path());
        assert!(!asking.await.unwrap());
        policy.grants().take_back("Bob", SystemTime::now()).unwrap();
        timeout(PATIENCE, told.recv()).await.expect("it is looked at again").unwrap();
        assert!(was_taken_back(&policy, &grant, SystemTime::now).await);
        watching.abort();
    }

    /// Strangers with a link, and scripts, can change what is given at any moment.
    #[tokio::test]
    async fn changes_without_end_are_told_all_the_same() {
        let (_state, policy, _password) = policy();
        let (tell, mut told) = mpsc::unbounded_channel();
        let watching = tokio::spawn(watch_grants(policy.clone(), move || tell.send(()).unwrap()));
        told.recv().await.unwrap();
        let changing = async {
            loop {
                policy.grants().invite(InvitationTerms::default(), SystemTime::now()).unwrap();
                sleep(LOOKS_AGAIN / 3).await;
            }
        };
        tokio::select! {
            () = changing => {}
            told = timeout(PATIENCE, told.recv()) => told.expect("it is not waited for").unwrap(),
        }
        watching.abort();
    }

    const PATIENCE: Duration = Duration::from_secs(60);
}
