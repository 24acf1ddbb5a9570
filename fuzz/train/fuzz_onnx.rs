//! The importer of ONNX models.

#![no_main]
#![allow(dead_code, unused_imports)]

mod import;
mod parts;

mod tensors {
    pub(crate) use crate::parts::NamedTensors;
}

mod batch_norm {
    pub(crate) const EPSILON: f32 = 1e-5;
}

use eqo_fuzz::{file, plant};
use libfuzzer_sys::fuzz_target;
pub(crate) use parts::{Error, Result};

const NETWORKS: [&[u8]; 2] = [
    include_bytes!("../../train/fixtures/networks/residual-traced.onnx"),
    include_bytes!("../../train/fixtures/networks/plain-exported.onnx"),
];

fuzz_target!(init: plant(NETWORKS.map(<[u8]>::to_vec)), |data: &[u8]| {
    if let Ok(arch) = import::architecture("onnx", Some(&file("onnx", data)), None) {
        assert_eq!(arch.shapes().len(), arch.nodes.len());
    }
});
