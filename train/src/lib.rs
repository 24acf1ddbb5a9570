//! Training on Burn: float networks, PyTorch importers, Winograd-domain fake quantization, the training loop.
//!
//! Reading order: [`device`], [`import`] and [`tensors`] (weights in and out), [`net`] (the float network),
//! [`evaluate`] (accuracy).

pub mod classifier;
pub mod device;
pub mod error;
pub mod evaluate;
pub mod import;
pub mod net;
pub mod pixels;
pub mod tensors;

mod interpret;
mod state_dict;

pub use classifier::Classifier;
pub use error::{Error, Result};
