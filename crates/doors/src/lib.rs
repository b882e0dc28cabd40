//! sft-doors
