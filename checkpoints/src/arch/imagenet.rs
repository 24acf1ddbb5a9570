//! ResNets for 224x224 images (He et al. 2015, table 1) with torchvision's names: 7x7 stem of stride 2, 3x3 max pooling of
//! stride 2, four stages, global average.

use super::builder::{Builder, Residual, conv1x1, conv3x3};
use super::{Arch, Conv, NodeId};

/// Names of a block's projection in torchvision.
const PROJECTION: Residual<'static> = Residual::Projected("downsample");

/// ResNet-18 and 34: stages of so many basic blocks, 64 to 512 channels.
pub(super) fn basic(name: &str, blocks: [usize; 4], classes: usize) -> Arch {
    let mut builder = Builder::new(224);
    let mut x = stem(&mut builder);
    let mut channels = 64;
    for (prefix, width, stride) in places(blocks) {
        x = builder.basic_block(&prefix, x, [channels, width, stride], PROJECTION);
        channels = width;
    }
    builder.classify("fc", channels, classes);
    builder.finish(name)
}

/// ResNet-50 and deeper: blocks of three convolutions, the stride in the 3x3 one (torchvision's "ResNet V1.5"), 256 to
/// 2048 channels.
pub(super) fn bottleneck(name: &str, blocks: [usize; 4], classes: usize) -> Arch {
    let mut builder = Builder::new(224);
    let mut x = stem(&mut builder);
    let mut channels = 64;
    for (prefix, width, stride) in places(blocks) {
        let [from, to] = [channels, 4 * width];
        x = bottleneck_block(&mut builder, &prefix, x, [from, width, to, stride]);
        channels = to;
    }
    builder.classify("fc", channels, classes);
    builder.finish(name)
}

fn stem(builder: &mut Builder) -> NodeId {
    let conv = Conv { kernel: 7, padding: 3, ..conv3x3(0, 3, 64, 2) };
    builder.normalized("conv1", "bn1", conv);
    builder.max_pool("maxpool", [3, 2, 1])
}

/// State-dict prefix, inner channels and stride of every block.
fn places(blocks: [usize; 4]) -> impl Iterator<Item = (String, usize, usize)> {
    let stage = |(stage, blocks): (usize, usize)| {
        (0..blocks).map(move |block| {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            (format!("layer{}.{block}", stage + 1), 64 << stage, stride)
        })
    };
    blocks.into_iter().enumerate().flat_map(stage)
}

fn bottleneck_block(
    builder: &mut Builder,
    prefix: &str,
    x: NodeId,
    [from, width, to, stride]: [usize; 4],
) -> NodeId {
    let names = |part: usize| [format!("{prefix}.conv{part}"), format!("{prefix}.bn{part}")];
    let push = |builder: &mut Builder, part: usize, conv: Conv| {
        let [name, batch_norm] = names(part);
        builder.normalized(&name, &batch_norm, conv)
    };
    let narrow = push(builder, 1, conv1x1(x, from, width, 1));
    let strided = push(builder, 2, conv3x3(narrow, width, width, stride));
    let shortcut = Some(builder.residual(prefix, x, [from, to, stride], PROJECTION));
    push(builder, 3, Conv { shortcut, ..conv1x1(strided, width, to, 1) })
}
