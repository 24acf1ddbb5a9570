//! Fake quantization equals the integer engine: every node's tensor, on real images.

use eqo_checkpoints::engine::{Engine, IntTensor};

use crate::Error;

/// What a verification covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// Images compared.
    pub images: usize,
    /// Node tensors compared.
    pub tensors: usize,
    /// Integers compared.
    pub elements: usize,
}

/// Compares the trainer's integer tensors with the engine's.
///
/// `images` are `[C][H][W]` pixels; `fake[node]` holds node `node`'s integers for all images, `[images, channels,
/// height, width]`, in graph order.
///
/// # Errors
/// [`Error::Mismatch`] names the first image, node and element that differ.
pub fn verify(engine: &Engine, images: &[&[u8]], fake: &[Vec<i64>]) -> Result<Verified, Error> {
    let mut verified = Verified { images: images.len(), tensors: 0, elements: 0 };
    for (index, image) in images.iter().enumerate() {
        let trace = engine.trace(image)?;
        for (node, tensor) in trace.iter().enumerate() {
            compare(engine, (index, node), tensor, fake.get(node).map_or(&[], Vec::as_slice))?;
            verified.tensors += 1;
            verified.elements += tensor.values.len();
        }
    }
    Ok(verified)
}

fn compare(
    engine: &Engine,
    (image, node): (usize, usize),
    tensor: &IntTensor,
    fake: &[i64],
) -> Result<(), Error> {
    let each = tensor.values.len();
    for (element, &integer) in tensor.values.iter().enumerate() {
        // A trace that is too short differs at the first absent element.
        let found = fake.get(image * each + element).copied();
        if found != Some(integer) {
            let node = engine.graph().nodes()[node].name.clone();
            return Err(Error::Mismatch { image, node, element, integer, fake: found.unwrap_or(i64::MIN) });
        }
    }
    Ok(())
}
