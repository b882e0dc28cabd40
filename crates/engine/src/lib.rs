//! sft-engine
