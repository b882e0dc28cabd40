//! sft-wire
