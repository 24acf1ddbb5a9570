//! A network small enough to check by hand, with every kind of node (tests only).

use eqo_checkpoints::arch::{Arch, ArchNode, ArchOp, Conv, Shortcut};
use eqo_datasets::{Dataset, Normalization};

pub(crate) const NORMALIZATION: Normalization = Normalization::SYNTHETIC;

/// Image 3x6x6, stem of 4 channels, a stride-2 convolution to 8 with an option-A shortcut around its follower, a
/// projection block, pooling, 3 classes.
pub(crate) fn tiny_arch() -> Arch {
    let conv = |input, [from, to]: [usize; 2], norm: &str| Conv {
        input,
        in_channels: from,
        out_channels: to,
        kernel: 3,
        stride: 1,
        padding: 1,
        bias: false,
        batch_norm: Some(norm.to_owned()),
        shortcut: None,
        relu: true,
    };
    let option_a = Shortcut { input: 1, stride: 2, channel_offset: 2 };
    let projected = Shortcut { input: 4, stride: 1, channel_offset: 0 };
    let projection = Conv { kernel: 1, padding: 0, relu: false, ..conv(3, [8, 6], "proj_bn") };
    let nodes = [
        ("input", ArchOp::Input { shape: [3, 6, 6] }),
        ("stem", ArchOp::Conv(conv(0, [3, 4], "stem_bn"))),
        ("down", ArchOp::Conv(Conv { stride: 2, ..conv(1, [4, 8], "down_bn") })),
        ("second", ArchOp::Conv(Conv { shortcut: Some(option_a), ..conv(2, [8, 8], "second_bn") })),
        ("proj", ArchOp::Conv(projection)),
        ("third", ArchOp::Conv(Conv { shortcut: Some(projected), ..conv(3, [8, 6], "third_bn") })),
        ("pool", ArchOp::GlobalAvgPool { input: 5 }),
        ("linear", ArchOp::Linear { input: 6, in_features: 6, kernel: 1, out_features: 3, relu: false }),
    ];
    let nodes = nodes.map(|(name, op)| ArchNode { name: name.to_owned(), op });
    Arch { name: "tiny".to_owned(), nodes: nodes.into() }
}

/// The nodes that [`tiny_arch`] lacks, on the same images: a 5x5 stem of stride 2 with a bias before its normalization, max
/// pooling with padding, a bottleneck block with a projection, a linear layer that flattens a map and ends in a ReLU.
pub(crate) fn pooled_arch() -> Arch {
    let conv = |input, [from, to]: [usize; 2], [kernel, stride, padding]: [usize; 3]| Conv {
        input,
        in_channels: from,
        out_channels: to,
        kernel,
        stride,
        padding,
        bias: true,
        batch_norm: None,
        shortcut: None,
        relu: true,
    };
    let stem = Conv { batch_norm: Some("stem_bn".to_owned()), ..conv(0, [3, 4], [5, 2, 2]) };
    let projection = Conv { relu: false, ..conv(2, [4, 8], [1, 1, 0]) };
    let shortcut = Some(Shortcut { input: 5, stride: 1, channel_offset: 0 });
    let nodes = [
        ("input", ArchOp::Input { shape: [3, 6, 6] }),
        ("stem", ArchOp::Conv(stem)),
        ("pool", ArchOp::MaxPool { input: 1, kernel: 3, stride: 1, padding: 1 }),
        ("narrow", ArchOp::Conv(conv(2, [4, 2], [1, 1, 0]))),
        ("inner", ArchOp::Conv(conv(3, [2, 2], [3, 1, 1]))),
        ("proj", ArchOp::Conv(projection)),
        ("wide", ArchOp::Conv(Conv { shortcut, ..conv(4, [2, 8], [1, 1, 0]) })),
        ("hidden", ArchOp::Linear { input: 6, in_features: 72, kernel: 3, out_features: 5, relu: true }),
        ("linear", ArchOp::Linear { input: 7, in_features: 5, kernel: 1, out_features: 3, relu: false }),
    ];
    let nodes = nodes.map(|(name, op)| ArchNode { name: name.to_owned(), op });
    Arch { name: "pooled".to_owned(), nodes: nodes.into() }
}

/// `count` images of 3x6x6 whose class shows in their brightest plane.
pub(crate) fn tiny_images(count: usize) -> Dataset {
    let classes = ["red", "green", "blue"].map(String::from).into();
    let labels: Vec<u16> = (0..count).map(|index| (index % 3) as u16).collect();
    let pixel = |index: usize, plane: usize, at: usize| {
        let noise = (index * 53 + plane * 17 + at * 29) % 97;
        (noise + if plane == index % 3 { 150 } else { 20 }) as u8
    };
    let pixels = (0..count).flat_map(|index| (0..108).map(move |at| pixel(index, at / 36, at)));
    Dataset::new("tiny", classes, (6, 6), pixels.collect(), labels).unwrap()
}
