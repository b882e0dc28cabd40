//! sft-store
