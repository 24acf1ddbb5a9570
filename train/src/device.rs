//! Compute devices by name.

use burn::tensor::Device;

use crate::{Error, Result};

/// Devices of this build; the first is the default.
pub const DEVICES: &[&str] = &[
    "flex",
    #[cfg(feature = "ndarray")]
    "ndarray",
    #[cfg(feature = "wgpu")]
    "wgpu",
];

/// The device called `name`, without automatic differentiation (training adds it itself).
///
/// # Errors
/// [`Error::Device`] for a name that is unknown or not compiled in.
pub fn device_by_name(name: &str) -> Result<Device> {
    match name {
        "flex" => Ok(Device::flex()),
        #[cfg(feature = "ndarray")]
        #[expect(
            deprecated,
            reason = "Burn 0.22 is the last release with this backend; kept to compare results"
        )]
        "ndarray" => Ok(Device::ndarray()),
        #[cfg(feature = "wgpu")]
        "wgpu" => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
        _ => Err(Error::Device {
            found: name.to_owned(),
            available: DEVICES.join(", "),
            next: if matches!(name, "ndarray" | "wgpu") {
                "rebuild with the cargo feature of that name, or use flex"
            } else {
                "correct `device` in the recipe"
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_device_opens_and_others_name_the_list() {
        assert!(DEVICES.iter().all(|name| device_by_name(name).is_ok()));
        let message = device_by_name("cudaa").unwrap_err().to_string();
        assert!(message.contains("cudaa") && message.contains("flex"), "{message}");
    }
}
