//! Networks without residuals: VGG-16 (Simonyan and Zisserman 2015, configuration D) and MiniONN's.

use super::builder::{Builder, conv1x1, conv3x3};
use super::{Arch, Conv};

/// Channels of VGG-16's convolutions between its five poolings.
const VGG16: [&[usize]; 5] = [&[64, 64], &[128, 128], &[256, 256, 256], &[512, 512, 512], &[512, 512, 512]];

/// 32x32 images and one linear layer. Keys are those of kuangliu/pytorch-cifar: `features.0` to `features.41` as
/// torchvision's, and `classifier`.
pub(super) fn cifar_vgg16(name: &str, classes: usize) -> Arch {
    let mut builder = Builder::new(32);
    vgg16_features(&mut builder);
    builder.linear("classifier", [512, 1, classes], false);
    builder.finish(name)
}

/// 224x224 images, three linear layers of which the first flattens `[512, 7, 7]`; torchvision's keys. Its dropout is of
/// training only.
pub(super) fn vgg16(name: &str, classes: usize) -> Arch {
    let mut builder = Builder::new(224);
    vgg16_features(&mut builder);
    builder.linear("classifier.0", [512 * 49, 7, 4096], true);
    builder.linear("classifier.3", [4096, 1, 4096], true);
    builder.linear("classifier.6", [4096, 1, classes], false);
    builder.finish(name)
}

/// Thirteen convolutions with bias and batch normalization. Places in torchvision's `features` count the convolution, the
/// normalization, the ReLU and the pooling.
fn vgg16_features(builder: &mut Builder) {
    let (mut place, mut channels) = (0, 3);
    for group in VGG16 {
        for &width in group {
            let batch_norm = Some(format!("features.{}", place + 1));
            let conv = Conv { batch_norm, ..conv3x3(builder.last(), channels, width, 1) };
            builder.conv(&format!("features.{place}"), conv);
            (place, channels) = (place + 3, width);
        }
        builder.max_pool(&format!("features.{place}"), [2, 2, 0]);
        place += 1;
    }
}

/// Liu et al. 2017 (MiniONN), figure 13, with max pooling in place of its mean pooling, as COINN's network BC1 has it
/// (Hussain et al. 2021): seven convolutions with bias, two poolings by 2, one linear layer. The paper fixes no names:
/// `conv1` to `conv7` and `fc` are ours.
pub(super) fn minionn(name: &str, classes: usize) -> Arch {
    let mut builder = Builder::new(32);
    for (index, channels) in [3, 64, 64, 64, 64].into_iter().enumerate() {
        let conv = conv3x3(builder.last(), channels, 64, 1);
        builder.conv(&format!("conv{}", index + 1), conv);
        if index == 1 || index == 3 {
            builder.max_pool(&format!("pool{}", index / 2 + 1), [2, 2, 0]);
        }
    }
    for (index, channels) in [(6, 64), (7, 16)] {
        let conv = conv1x1(builder.last(), 64, channels, 1);
        builder.conv(&format!("conv{index}"), conv);
    }
    builder.linear("fc", [16 * 64, 8, classes], false);
    builder.finish(name)
}
