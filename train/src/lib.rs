//! Training on Burn: float networks, PyTorch importers, Winograd-domain fake quantization, the training loop.
//!
//! Reading order: [`device`], [`import`] and [`tensors`] (weights in and out), [`net`] and [`batch_norm`] (the float network),
//! [`evaluate`] (accuracy), [`qat`] (the quantized network; the exponents of its layers are
//! [`eqo_checkpoints::scales`]), [`curvature`] (how much the loss minds its rounding), `ops` and `kernels` (both networks' convolutions on the CPU), [`fit`], [`recipe`].

pub mod batch_norm;
pub mod classifier;
pub mod curvature;
pub mod device;
pub mod error;
pub mod evaluate;
pub mod fit;
pub mod import;
pub mod layers;
pub mod net;
pub mod pixels;
pub mod qat;
pub mod recipe;
pub mod tensors;

mod interpret;
mod kernels;
mod ops;
mod pooling;
mod quantizer;
mod state_dict;
#[cfg(test)]
mod testing;
mod winograd;

pub use classifier::Classifier;
pub use error::{Error, Result};
pub use layers::Layers;
pub use qat::{ExportedLayer, FoldedLayer, FoldedWeights, QatNet};
