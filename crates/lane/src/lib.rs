//! sft-lane
