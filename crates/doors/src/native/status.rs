//! The native door's words for what the rooms behind it say.

use sft_store::Attribute;
use sft_wire::message::{self, Unapplied};

/// A proof as `auth` takes it.
pub(super) fn proof(proof: message::Proof) -> sft_auth::Proof {
    let message::Proof { user, public_key, signature, invitation } = proof;
    let invitation =
        invitation.map(|i| sft_auth::InvitationProof { id: sft_auth::InvitationId(i.id), mac: i.mac });
    sft_auth::Proof { user, public_key, signature, invitation }
}

/// An attribute that could not be set.
pub(super) fn unapplied(unapplied: &sft_store::Unapplied) -> Unapplied {
    let attribute = match unapplied.attribute {
        Attribute::Modified => "modified",
        Attribute::Mode => "mode",
    };
    let error = sft_wire::Code::PERMISSION.because(unapplied.to_string());
    Unapplied { attribute: attribute.into(), error }
}
