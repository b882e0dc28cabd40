//! Whether a server's key is the pinned one, in words: for those who look at a server without connecting to it.

use sft_auth::{Fingerprint, ServerName, Trust, TrustCheck};

use crate::app::App;

/// What the list of trusted servers says about a key, as the end of a sentence that begins with it.
pub(crate) fn words(app: &App, host: &str, port: u16, key: &str) -> String {
    match check(app, host, port, key) {
        Some(TrustCheck::Known) => "which you trust".into(),
        Some(TrustCheck::Changed { was }) => format!("which is NOT the one you trust: {was}"),
        Some(TrustCheck::Unknown) => "which you have not trusted yet".into(),
        None => "and whether you trust it cannot be told".into(),
    }
}

/// Whether it is the pinned one.
pub(crate) fn is(app: &App, host: &str, port: u16, key: &str) -> bool {
    matches!(check(app, host, port, key), Some(TrustCheck::Known))
}

fn check(app: &App, host: &str, port: u16, key: &str) -> Option<TrustCheck> {
    let name = ServerName::new(host, port).ok()?;
    let key: Fingerprint = key.parse().ok()?;
    Trust::open(&app.folders.trusted()).ok()?.check(&name, key).ok()
}
