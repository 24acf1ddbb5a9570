//! From a recipe to a verified integer checkpoint.
//!
//! In the order of the pipeline ([`pipeline::Pipeline`]): [`images`] opens the data, `eqo_train` tunes the float network,
//! [`fold`] folds normalizations into weights, `eqo_train` fine-tunes the quantized network, [`lower`] turns it
//! into the public graph and the private weights with proven rings, [`verify`] compares every layer's integers on
//! real images, and only then the checkpoint is written.

pub mod allocate;
pub mod budget;
pub mod fold;
pub mod images;
pub mod lower;
pub mod pipeline;
pub mod plan_report;
pub mod price;
pub mod report;
pub mod rings;
pub mod sensitivity;
pub mod stages;
pub mod trace;
pub mod verify;

mod error;

pub use error::Error;
