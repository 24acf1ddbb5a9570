//! Float weights in and out: PyTorch pickles, and safetensors with PyTorch's names.

mod names;
mod onnx;

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use burn::store::{ModuleStore, PytorchStore, bridge};
use eqo_checkpoints::arch::Arch;
use ndarray::ArrayD;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::tensors::NamedTensors;
use crate::{Error, Result};

/// Largest weight file read into memory, in bytes (4 GiB).
pub(crate) const LARGEST_FILE: u64 = 4 << 30;

/// What `torch.nn.DataParallel` and `torch.compile` put before every key.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// Under which key training scripts keep a network's tensors beside their own state: most of them, timm, kuangliu.
const SECTIONS: [&str; 4] = ["state_dict", "model", "model_state_dict", "net"];

/// The name of an architecture that an ONNX file describes.
pub const ONNX: &str = "onnx";

/// The architecture called `name`, for images of so many classes (any number will do for shapes); [`ONNX`] is that of the
/// file `weights`.
///
/// # Errors
/// [`Error::Arch`] for an unknown name; those of reading an ONNX file, and [`Error::Data`] if its classes are others.
pub fn architecture(name: &str, weights: Option<&Path>, classes: Option<usize>) -> Result<Arch> {
    if name != ONNX {
        return Ok(Arch::by_name(name, classes.unwrap_or(1))?);
    }
    let Some(path) = weights.filter(|path| is_onnx(path)) else {
        let found = weights.map_or("none".to_owned(), |path| path.display().to_string());
        let (expected, next) = (".onnx for the architecture `onnx`".to_owned(), "name the ONNX file");
        return Err(Error::Data { what: "weight file", expected, found, next });
    };
    let (arch, _) = onnx::read(path)?;
    let logits = arch.shapes().last().map_or(0, |&[logits, ..]| logits);
    match classes.filter(|&classes| classes != logits) {
        None => Ok(arch),
        Some(classes) => {
            let next = "replace the network's last layer before exporting it";
            let (expected, found) = (format!("{classes}, as the images have"), logits.to_string());
            Err(Error::Data { what: "classes of the ONNX network", expected, found, next })
        }
    }
}

fn is_onnx(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "onnx")
}

/// Reads the float weights of `arch`: what [`read_tensors`] gives, under the architecture's names and in its shapes.
///
/// Names of torchvision, timm and the common CIFAR repositories are understood for each other, and fully connected layers
/// become the convolutions that an architecture has for them. Whether everything is there is for
/// [`crate::net::Net::from_tensors`] to check.
///
/// # Errors
/// Those of [`read_tensors`].
pub fn read_network(path: &Path, arch: &Arch) -> Result<NamedTensors> {
    Ok(names::adapt(&arch.state_dict(), read_tensors(path)?))
}

/// Reads every tensor of a `.th`, `.pth`, `.pt` (PyTorch pickle), `.safetensors` or `.onnx` file as float32.
///
/// A pickle's tensors may sit at its top or under `state_dict`, `model`, `model_state_dict` or `net`; the prefixes `module.` and
/// `_orig_mod.` are removed.
///
/// # Errors
/// [`Error::Io`], [`Error::Format`] or [`Error::Onnx`].
pub fn read_tensors(path: &Path) -> Result<NamedTensors> {
    let tensors = match path.extension().and_then(|extension| extension.to_str()) {
        Some("th" | "pth" | "pt") => read_pytorch(path)?,
        Some("onnx") => onnx::read(path)?.1,
        _ => read_safetensors(path)?,
    };
    Ok(tensors.into_iter().map(|(name, tensor)| (unwrapped(&name).to_owned(), tensor)).collect())
}

/// `name` without [`WRAPPERS`], in whatever order they wrap each other.
fn unwrapped(mut name: &str) -> &str {
    while let Some(inner) = WRAPPERS.iter().find_map(|wrapper| name.strip_prefix(wrapper)) {
        name = inner;
    }
    name
}

fn check_size(path: &Path) -> Result<()> {
    let size = fs::metadata(path).map_err(Error::io(path, "read"))?.len();
    if size > LARGEST_FILE {
        let found = format!("{size} bytes, more than {LARGEST_FILE}");
        return Err(Error::Format { path: path.to_owned(), expected: "a weight file", found });
    }
    Ok(())
}

/// All of a file that isn't too large.
fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    check_size(path)?;
    fs::read(path).map_err(Error::io(path, "read"))
}

fn read_pytorch(path: &Path) -> Result<NamedTensors> {
    check_size(path)?;
    let bad = |found: String| Error::Format { path: path.to_owned(), expected: "a PyTorch pickle", found };
    let whole = || PytorchStore::from_file(path).map_indices_contiguous(false);
    let holds_tensors = |store: &mut PytorchStore| store.keys().is_ok_and(|keys| !keys.is_empty());
    let sections = SECTIONS.into_iter().map(|key| whole().with_top_level_key(key));
    let mut store =
        sections.into_iter().find_map(|mut s| holds_tensors(&mut s).then_some(s)).unwrap_or_else(whole);
    let tensors = store.get_all_tensors().map_err(|error| bad(error.to_string()))?;
    let mut named = NamedTensors::new();
    for (name, tensor) in tensors {
        let data = bridge::to_data(tensor).map_err(|error| bad(format!("{name}: {error:?}")))?;
        let shape: Vec<usize> = tensor.shape.iter().copied().collect();
        let array = ArrayD::from_shape_vec(shape, data.iter::<f32>().collect());
        named.insert(name.clone(), array.map_err(|error| bad(format!("{name}: {error}")))?);
    }
    Ok(named)
}

fn read_safetensors(path: &Path) -> Result<NamedTensors> {
    let bad = |found: String| Error::Format { path: path.to_owned(), expected: "a safetensors file", found };
    let bytes = read_bytes(path)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| bad(error.to_string()))?;
    let mut named = NamedTensors::new();
    for (name, view) in file.tensors() {
        if view.dtype() != Dtype::F32 && name.ends_with("num_batches_tracked") {
            continue;
        }
        let array = array_of(&view).map_err(|found| bad(format!("{name}: {found}")))?;
        named.insert(name, array);
    }
    Ok(named)
}

/// A float32 tensor of a safetensors file, or what it is instead.
pub(crate) fn array_of(view: &TensorView<'_>) -> Result<ArrayD<f32>, String> {
    if view.dtype() != Dtype::F32 {
        return Err(format!("type {:?} instead of F32", view.dtype()));
    }
    let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    ArrayD::from_shape_vec(view.shape(), values).map_err(|error| error.to_string())
}

/// Values as safetensors stores them.
pub(crate) fn le_bytes(array: &ArrayD<f32>) -> Vec<u8> {
    array.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Writes tensors as float32 safetensors with PyTorch's names, through a `.part` file.
///
/// # Errors
/// [`Error::Io`] or [`Error::Format`].
pub fn save_tensors(path: &Path, tensors: &NamedTensors, metadata: &[(&str, &str)]) -> Result<()> {
    let bytes: Vec<(&String, Vec<usize>, Vec<u8>)> =
        tensors.iter().map(|(name, array)| (name, array.shape().to_vec(), le_bytes(array))).collect();
    let views: Vec<(&String, TensorView<'_>)> = bytes
        .iter()
        .map(|(name, shape, data)| TensorView::new(Dtype::F32, shape.clone(), data).map(|view| (*name, view)))
        .collect::<Result<_, _>>()
        .map_err(|error| unwritable(path, &error))?;
    let metadata: HashMap<String, String> =
        metadata.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    let file = safetensors::serialize(views, Some(metadata)).map_err(|error| unwritable(path, &error))?;
    write_then_rename(path, &file)
}

pub(crate) fn unwritable(path: &Path, error: &safetensors::SafeTensorError) -> Error {
    Error::Format {
        path: path.to_owned(),
        expected: "tensors that fit safetensors",
        found: error.to_string(),
    }
}

/// Writes `<path>.part` to the disk and renames it, so that `path` is never half a file, even after a power cut.
pub(crate) fn write_then_rename(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = Path::new(&part);
    let mut file = fs::File::create(part).map_err(Error::io(part, "create"))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::io(part, "write"))?;
    fs::rename(part, path).map_err(Error::io(path, "rename"))
}

#[cfg(test)]
mod tests;
