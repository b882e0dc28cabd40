//! What is said when a session or a transfer ends before its time: each sentence once.

use sft_engine::{LinkEnd, TransferError};
use sft_wire::Code;

#[test]
fn of_sessions_and_transfers() {
    let error = || Code::STOPPING.because("shutting down");
    let ends = [
        (LinkEnd::Ours, "the session was closed"),
        (LinkEnd::Closed(None), "the other side closed the session"),
        (LinkEnd::Closed(Some(error())), "the other side closed the session: shutting down"),
        (LinkEnd::Lost("silence".into()), "the connection was lost: silence"),
        (LinkEnd::Misbehaved(error()), "the other side broke the protocol: shutting down"),
    ];
    for (end, sentence) in ends {
        assert_eq!(end.to_string(), sentence);
        assert_eq!(TransferError::from(end).to_string(), sentence, "a transfer says the same");
    }
    let transfers = [
        (TransferError::Refused(error()), "refused: shutting down"),
        (TransferError::Cancelled(error()), "the other side gave up: shutting down"),
        (TransferError::Local(error()), "shutting down"),
    ];
    for (end, sentence) in transfers {
        assert_eq!(end.to_string(), sentence);
    }
}
