//! sft-auth
