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
/// [`Error::Mismatch`] names the first image, node and element that differ; [`Error::Trace`] for a trace of other nodes or
/// more images.
pub fn verify(engine: &Engine, images: &[&[u8]], fake: &[Vec<i64>]) -> Result<Verified, Error> {
    let mut verified = Verified { images: images.len(), tensors: 0, elements: 0 };
    let nodes = engine.graph().nodes();
    if fake.len() != nodes.len() {
        let node = "the graph".to_owned();
        return Err(Error::Trace { node, what: "node tensors", expected: nodes.len(), found: fake.len() });
    }
    for (index, image) in images.iter().enumerate() {
        let trace = engine.trace(image)?;
        for (node, tensor) in trace.iter().enumerate() {
            let expected = images.len() * tensor.values.len();
            if fake[node].len() > expected {
                let (node, found) = (nodes[node].name.clone(), fake[node].len());
                return Err(Error::Trace { node, what: "integers", expected, found });
            }
            compare(engine, (index, node), tensor, &fake[node])?;
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
