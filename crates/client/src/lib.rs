//! sft-client
