//! sft-testkit
