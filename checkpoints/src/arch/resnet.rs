//! ResNets for small images: a 3x3 stem, no pooling before the last convolution.

use super::Arch;
use super::builder::{Builder, Residual, conv3x3};

/// He et al. 2015, §4.2: three stages of 16, 32, 64 channels with `blocks` basic blocks each; depth is `6·blocks + 2`.
/// State-dict keys are those of akamaster/pytorch_resnet_cifar10.
pub(super) fn cifar_resnet(name: &str, blocks: usize, classes: usize, projection: bool) -> Arch {
    let residual = if projection { Residual::Projected("shortcut") } else { Residual::Subsampled };
    stages(name, 32, (&[16, 32, 64], blocks), residual, classes)
}

/// ResNet-18's four stages of two blocks; state-dict keys are those of kuangliu/pytorch-cifar.
pub(super) fn resnet18(name: &str, side: usize, classes: usize) -> Arch {
    stages(name, side, (&[64, 128, 256, 512], 2), Residual::Projected("shortcut"), classes)
}

/// Stages of these widths, each of so many blocks, on images of `side` x `side`.
fn stages(
    name: &str,
    side: usize,
    (widths, blocks): (&[usize], usize),
    residual: Residual<'_>,
    classes: usize,
) -> Arch {
    let mut builder = Builder::new(side);
    let mut channels = widths[0];
    let mut x = builder.normalized("conv1", "bn1", conv3x3(0, 3, channels, 1));
    for (stage, &width) in widths.iter().enumerate() {
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let prefix = format!("layer{}.{block}", stage + 1);
            x = builder.basic_block(&prefix, x, [channels, width, stride], residual);
            channels = width;
        }
    }
    builder.classify("linear", channels, classes);
    builder.finish(name)
}
