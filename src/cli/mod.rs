//! The verbs, one file each: what can be typed after it, and what it does.

pub(crate) mod cat;
pub(crate) mod cp;
pub(crate) mod df;
pub(crate) mod doctor;
pub(crate) mod find;
mod given;
pub(crate) mod hash;
pub(crate) mod help;
pub(crate) mod invite;
pub(crate) mod join;
pub(crate) mod key;
pub(crate) mod ls;
pub(crate) mod mkdir;
pub(crate) mod mv;
pub(crate) mod port;
pub(crate) mod rm;
pub(crate) mod serve;
pub(crate) mod sftp_stdio;
pub(crate) mod stat;
pub(crate) mod trust;
