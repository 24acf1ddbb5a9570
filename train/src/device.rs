//! Compute devices by name.
//!
//! One training runs on one device. Burn 0.22 has data-parallel training over several GPUs only inside `burn-train`'s own
//! learner (`ExecutionStrategy::MultiDevice`, `DistributedDataParallel`), which brings its own loop, checkpoints and
//! metrics; that loop can't resume to the bit nor distil, so it isn't used here. Several GPUs are for several runs
//! (`device = "cuda:0"`, `"cuda:1"`).

use burn::tensor::Device;

use crate::{Error, Result};

/// Devices of this build, as `device` in a recipe names them.
pub const DEVICES: &[&str] = &[
    "auto",
    "flex",
    #[cfg(feature = "ndarray")]
    "ndarray",
    #[cfg(feature = "wgpu")]
    "wgpu",
    #[cfg(feature = "cuda")]
    "cuda",
    #[cfg(feature = "cuda")]
    "cuda:N",
];

/// The device called `name`, without automatic differentiation (training adds it itself).
///
/// `auto` is the first CUDA device, if this build has CUDA and the machine a driver and a device; else a GPU through wgpu, if
/// built in and there is one that isn't a software rasterizer; else `flex`.
///
/// # Errors
/// [`Error::Device`] for a name that is unknown or not compiled in, and for a GPU that isn't there.
pub fn device_by_name(name: &str) -> Result<Device> {
    match name {
        "auto" => Ok(automatic()),
        "flex" => Ok(Device::flex()),
        #[cfg(feature = "ndarray")]
        #[expect(
            deprecated,
            reason = "Burn 0.22 is the last release with this backend; kept to compare results"
        )]
        "ndarray" => Ok(Device::ndarray()),
        // A software rasterizer is good enough for those who ask by name.
        #[cfg(feature = "wgpu")]
        "wgpu" => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
        _ => match cuda_index(name) {
            Some(index) => cuda(name, index),
            None => Err(unknown(name)),
        },
    }
}

/// N of `cuda:N`; 0 for `cuda`.
fn cuda_index(name: &str) -> Option<usize> {
    match name.strip_prefix("cuda")? {
        "" => Some(0),
        index => index.strip_prefix(':')?.parse().ok(),
    }
}

#[cfg(feature = "cuda")]
fn cuda(name: &str, index: usize) -> Result<Device> {
    let devices = cuda_devices();
    if index < devices {
        return Ok(Device::cuda(index));
    }
    let available = match devices {
        0 => "no CUDA device at all on this machine".to_owned(),
        1 => "cuda:0".to_owned(),
        more => format!("cuda:0 to cuda:{}", more - 1),
    };
    let next = "correct `device` in the recipe, or check `nvidia-smi`";
    Err(Error::Device { found: name.to_owned(), available, next })
}

#[cfg(not(feature = "cuda"))]
fn cuda(name: &str, _: usize) -> Result<Device> {
    Err(unknown(name))
}

/// How many there are; none without a driver.
#[cfg(feature = "cuda")]
fn cuda_devices() -> usize {
    Device::enumerate(burn::tensor::DeviceType::Cuda).len()
}

fn automatic() -> Device {
    #[cfg(feature = "cuda")]
    if cuda_devices() > 0 {
        return Device::cuda(0);
    }
    #[cfg(feature = "wgpu")]
    {
        // A card has an address on a bus; a software rasterizer has none.
        let is_card = |device: &Device| device.identity().is_some_and(|identity| identity.physical.is_some());
        if let Some(card) = Device::enumerate(burn::tensor::DeviceType::Wgpu).into_iter().find(is_card) {
            return card;
        }
    }
    Device::flex()
}

fn unknown(name: &str) -> Error {
    let known = matches!(name, "ndarray" | "wgpu") || cuda_index(name).is_some();
    let next = if known {
        "rebuild with the cargo feature of that name, or use auto or flex"
    } else {
        "correct `device` in the recipe"
    };
    Error::Device { found: name.to_owned(), available: DEVICES.join(", "), next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_of_every_machine_open_and_others_name_the_list() {
        for name in ["auto", "flex"] {
            assert!(DEVICES.contains(&name) && device_by_name(name).is_ok());
        }
        for name in ["cudaa", "cuda:", "cuda:x", "gpu", ""] {
            let message = device_by_name(name).unwrap_err().to_string();
            assert!(message.contains("flex") && message.contains("correct `device`"), "{message}");
        }
    }

    #[test]
    fn cuda_devices_are_counted_from_zero() {
        let indices = ["cuda", "cuda:0", "cuda:7", "cuda:-1", "cuda0", "wgpu"].map(cuda_index);
        assert_eq!(indices, [Some(0), Some(0), Some(7), None, None, None]);
        let far = device_by_name("cuda:999").unwrap_err().to_string();
        assert!(far.contains("cuda:999"), "{far}");
    }

    #[cfg(not(any(feature = "cuda", feature = "wgpu")))]
    #[test]
    fn without_a_gpu_backend_auto_is_flex_and_asking_for_one_says_how_to_build_it() {
        assert_eq!(device_by_name("auto").unwrap(), Device::flex());
        for name in ["cuda", "cuda:1", "wgpu"] {
            let message = device_by_name(name).unwrap_err().to_string();
            assert!(message.contains("cargo feature"), "{message}");
        }
    }
}
