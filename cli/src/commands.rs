//! One file for each command.

pub(crate) mod bench;
pub(crate) mod cert;
pub(crate) mod compare;
pub(crate) mod data;
#[cfg(feature = "train")]
pub(crate) mod demo;
pub(crate) mod eval;
pub(crate) mod infer;
pub(crate) mod inspect;
#[cfg(feature = "train")]
pub(crate) mod lr_find;
#[cfg(feature = "train")]
pub(crate) mod plan;
#[cfg(feature = "train")]
pub(crate) mod quantize;
#[cfg(feature = "train")]
pub(crate) mod recipe;
pub(crate) mod serve;
#[cfg(feature = "train")]
pub(crate) mod train;
