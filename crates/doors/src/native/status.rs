//! The native door's words for what the rooms behind it say.

use sft_wire::message;

/// A proof as `auth` takes it.
pub(super) fn proof(proof: message::Proof) -> sft_auth::Proof {
    let message::Proof { user, public_key, signature, invitation } = proof;
    let invitation =
        invitation.map(|i| sft_auth::InvitationProof { id: sft_auth::InvitationId(i.id), mac: i.mac });
    sft_auth::Proof { user, public_key, signature, invitation }
}
