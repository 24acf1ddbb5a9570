//! The constant tensors of an ONNX graph: weights, and the numbers that exporters pass as inputs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use ndarray::ArrayD;

use super::Refusal;
use super::proto::Tensor;
use crate::import::LARGEST_FILE;

/// `TensorProto.DataType`: float32, int64.
const FLOAT: i32 = 1;
const INT64: i32 = 7;
/// `TensorProto.DataLocation.EXTERNAL`
const EXTERNAL: i32 = 1;

/// By name; aliases share a tensor's position.
pub(super) struct Constants {
    folder: PathBuf,
    tensors: Vec<Tensor>,
    names: BTreeMap<String, usize>,
}

impl Constants {
    /// None yet; external data are looked for beside the model `path`.
    pub(super) fn beside(path: &Path) -> Self {
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        Self { folder, tensors: Vec::new(), names: BTreeMap::new() }
    }

    pub(super) fn insert(&mut self, name: &str, tensor: Tensor) {
        self.names.insert(name.to_owned(), self.tensors.len());
        self.tensors.push(tensor);
    }

    /// Makes `name` another name of the constant `of`, if there is one.
    pub(super) fn alias(&mut self, name: &str, of: &str) -> bool {
        let at = self.names.get(of).copied();
        at.map(|at| self.names.insert(name.to_owned(), at)).is_some()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// The float32 tensor `name` of `rank` dimensions, which `node` reads.
    pub(super) fn floats(&self, node: &str, name: &str, rank: usize) -> Result<ArrayD<f32>, Refusal> {
        let tensor = self.tensor(node, name)?;
        let refuse = |found: String| {
            let expected = format!("{name}: a float32 tensor of {rank} dimensions");
            Refusal::new(node, expected, found, "export the model in float32, without quantization")
        };
        if tensor.data_type != FLOAT || tensor.dims.len() != rank {
            let (dims, kind) = (&tensor.dims, tensor.data_type);
            return Err(refuse(format!("dimensions {dims:?} of ONNX type {kind}")));
        }
        let values = if tensor.float_data.is_empty() {
            let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            self.bytes(tensor).map_err(refuse)?.chunks_exact(4).map(number).collect()
        } else {
            tensor.float_data.clone()
        };
        let dims: Option<Vec<usize>> = tensor.dims.iter().map(|&dim| usize::try_from(dim).ok()).collect();
        let dims = dims.ok_or_else(|| refuse(format!("dimensions {:?}", tensor.dims)))?;
        let count = values.len();
        ArrayD::from_shape_vec(dims, values)
            .map_err(|_| refuse(format!("{count} values for {:?}", tensor.dims)))
    }

    /// The int64 constant `name`, which `node` reads.
    pub(super) fn integers(&self, node: &str, name: &str) -> Result<Vec<i64>, Refusal> {
        let tensor = self.tensor(node, name)?;
        if tensor.data_type != INT64 {
            let expected = format!("{name}: constant int64 numbers");
            return Err(Refusal::new(node, expected, format!("ONNX type {}", tensor.data_type), NOT_FIXED));
        }
        if !tensor.int64_data.is_empty() {
            return Ok(tensor.int64_data.clone());
        }
        let bytes =
            self.bytes(tensor).map_err(|found| Refusal::new(node, name.to_owned(), found, NOT_FIXED))?;
        let number = |b: &[u8]| i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]);
        Ok(bytes.chunks_exact(8).map(number).collect())
    }

    fn tensor(&self, node: &str, name: &str) -> Result<&Tensor, Refusal> {
        let tensor = self.names.get(name).map(|&at| &self.tensors[at]);
        tensor.ok_or_else(|| {
            let found = format!("{name:?}, which is computed or missing");
            Refusal::new(node, "a constant".to_owned(), found, NOT_FIXED)
        })
    }

    fn bytes(&self, tensor: &Tensor) -> Result<Vec<u8>, String> {
        if tensor.data_location != EXTERNAL {
            return Ok(tensor.raw_data.clone());
        }
        let entry = |key: &str| tensor.external_data.iter().find(|entry| entry.key == key);
        let number = |key: &str| entry(key).map(|entry| entry.value.parse::<u64>()).transpose();
        let number = |key: &str| number(key).map_err(|error| format!("{key} of its external data: {error}"));
        let file = entry("location").map_or("", |entry| entry.value.as_str());
        // Nothing but a file beside the model, whatever a downloaded model says.
        if !matches!(Path::new(file).components().collect::<Vec<_>>()[..], [Component::Normal(_)]) {
            return Err(format!("external data in {file:?}, which is not a file beside the model"));
        }
        let path = self.folder.join(file);
        let limit = number("length")?.unwrap_or(LARGEST_FILE).min(LARGEST_FILE);
        read_part(&path, number("offset")?.unwrap_or(0), limit)
            .map_err(|error| format!("external data {}: {error}", path.display()))
    }
}

const NOT_FIXED: &str = "export the model for inference, with a fixed image size";

fn read_part(path: &Path, offset: u64, length: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}
