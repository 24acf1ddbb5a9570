//! What must hold of a convolution and its shortcut.

use super::{MAX_SIZE, bounded, bounded_shape, earlier, fault};
use crate::Error;
use crate::graph::{Conv, Graph, Node, Op, Output};
use crate::layout::ConvLayout;
use crate::winograd::FITTING;

/// Largest number of values in a convolution's columns, see [`ConvLayout::gather`].
const MAX_COLUMN_VALUES: usize = 1 << 28;

pub(super) fn conv_shape(
    graph: &Graph,
    node: &Node,
    conv: &Conv,
    shapes: &[[usize; 3]],
) -> Result<[usize; 3], Error> {
    let [channels, height, width] = earlier(node, conv.input, shapes)?;
    if matches!(&graph.nodes[conv.input].op, Op::Conv(Conv { output: Output::Accumulator, .. })) {
        return Err(fault(node, "input", "the image, an activation or a sum", "an accumulator"));
    }
    if channels != conv.in_channels {
        return Err(fault(node, "in_channels", channels, conv.in_channels));
    }
    let [out_height, out_width] = conv_size(node, conv, [height, width])?;
    let shape = bounded_shape(node, [conv.out_channels, out_height, out_width])?;
    check_exponents(node, conv)?;
    check_channels(node, conv)?;
    let layout = ConvLayout::new(conv, shapes[conv.input], shape);
    let values = layout.taps() * layout.inner().max(conv.out_channels) * layout.columns();
    bounded(&node.name, "values of all columns", values, 1, MAX_COLUMN_VALUES)?;
    check_shortcut(graph, node, conv, shape, shapes)?;
    Ok(shape)
}

fn conv_size(node: &Node, conv: &Conv, input: [usize; 2]) -> Result<[usize; 2], Error> {
    bounded(&node.name, "out_channels", conv.out_channels, 1, MAX_SIZE)?;
    bounded(&node.name, "kernel", conv.kernel, 1, 15)?;
    bounded(&node.name, "stride", conv.stride, 1, 8)?;
    bounded(&node.name, "padding", conv.padding, 0, 7)?;
    if !conv.algorithm.fits(conv.kernel, conv.stride) {
        return Err(fault(node, "algorithm", FITTING, conv.algorithm.name()));
    }
    output_size(node, [conv.kernel, conv.stride, conv.padding], input)
}

/// Windows `[kernel, stride, padding]` on a map `[height, width]`, in both directions.
pub(super) fn output_size(
    node: &Node,
    [kernel, stride, padding]: [usize; 3],
    [height, width]: [usize; 2],
) -> Result<[usize; 2], Error> {
    let out = |size: usize| (size + 2 * padding).checked_sub(kernel).map(|room| room / stride + 1);
    match (out(height), out(width)) {
        (Some(out_height), Some(out_width)) => Ok([out_height, out_width]),
        _ => {
            let expected = format!("at most {}", height.min(width) + 2 * padding);
            Err(fault(node, "kernel", expected, kernel))
        }
    }
}

fn check_exponents(node: &Node, conv: &Conv) -> Result<(), Error> {
    let lists = conv.weight_exponents.len();
    if lists != 1 && lists != conv.positions() {
        return Err(fault(node, "weight_exponents", format!("1 or {} lists", conv.positions()), lists));
    }
    bounded(&node.name, "weight_offset", usize::from(conv.weight_offset), 0, 1)?;
    for list in &conv.weight_exponents {
        // A sign alone has no positive value without an offset.
        let fewest = 2 - usize::from(conv.weight_offset);
        let dropped = list.is_empty() && conv.pair_bits() > 0;
        if !dropped && !(fewest..=8).contains(&list.len()) {
            return Err(fault(
                node,
                "weight bits",
                format!("{fewest} to 8, or none at some taps"),
                list.len(),
            ));
        }
        if !list.is_sorted_by(|a, b| a < b) || list.last().is_some_and(|&top| top > 24) {
            return Err(fault(
                node,
                "weight_exponents",
                "strictly increasing, at most 24",
                format!("{list:?}"),
            ));
        }
    }
    Ok(())
}

fn check_channels(node: &Node, conv: &Conv) -> Result<(), Error> {
    let out = conv.out_channels;
    if conv.ring_bits.len() != out || conv.ring_bits.iter().any(|bits| !(2..=62).contains(bits)) {
        return Err(fault(
            node,
            "ring_bits",
            format!("{out} widths of 2 to 62"),
            format!("{:?}", conv.ring_bits),
        ));
    }
    let taps = conv.algorithm.taps();
    if conv.tap_shifts.len() != taps || conv.tap_shifts.iter().any(|row| row.len() != out) {
        return Err(fault(node, "tap_shifts", format!("{taps} rows of {out}"), conv.tap_shifts.len()));
    }
    for position in 0..conv.positions() {
        let top = conv.exponents(position).last().copied().unwrap_or(0);
        for channel in 0..out {
            let (shift, ring) = (conv.tap_shift(position, channel), conv.ring_bits[channel]);
            if u32::from(shift) + u32::from(top) >= u32::from(ring) {
                return Err(fault(
                    node,
                    "tap shift plus top exponent",
                    format!("below the ring of {ring} bits"),
                    shift,
                ));
            }
        }
    }
    if let Output::Activation { bits, shifts } = &conv.output {
        if !(2..=8).contains(bits) {
            return Err(fault(node, "activation bits", "2 to 8", bits));
        }
        let fits =
            |(&shift, &ring): (&u8, &u8)| shift >= 1 && u32::from(shift) + u32::from(*bits) < u32::from(ring);
        if shifts.len() != out || !shifts.iter().zip(&conv.ring_bits).all(fits) {
            return Err(fault(
                node,
                "output shifts",
                format!("{out} of 1 to ring - {bits} - 1"),
                format!("{shifts:?}"),
            ));
        }
    }
    Ok(())
}

fn check_shortcut(
    graph: &Graph,
    node: &Node,
    conv: &Conv,
    shape: [usize; 3],
    shapes: &[[usize; 3]],
) -> Result<(), Error> {
    let Some(shortcut) = &conv.shortcut else { return Ok(()) };
    let [channels, height, width] = earlier(node, shortcut.input, shapes)?;
    bounded(&node.name, "shortcut stride", shortcut.stride, 1, 8)?;
    let strided = [height.div_ceil(shortcut.stride), width.div_ceil(shortcut.stride)];
    if strided != shape[1..] {
        return Err(fault(node, "shortcut shape", format!("{:?}", &shape[1..]), format!("{strided:?}")));
    }
    if shortcut.channel_offset > conv.out_channels || channels > conv.out_channels - shortcut.channel_offset {
        return Err(fault(node, "shortcut channels", format!("at most {}", conv.out_channels), channels));
    }
    let fits = |(&shift, &ring): (&u8, &u8)| shift < ring;
    if shortcut.shifts.len() != conv.out_channels || !shortcut.shifts.iter().zip(&conv.ring_bits).all(fits) {
        return Err(fault(
            node,
            "shortcut shifts",
            "one below the ring for each output channel",
            shortcut.shifts.len(),
        ));
    }
    match &graph.nodes[shortcut.input].op {
        Op::Conv(Conv { output: Output::Activation { .. }, .. }) | Op::MaxPool(_) => Ok(()),
        Op::Conv(inner) => (0..channels).try_for_each(|channel| {
            let out = channel + shortcut.channel_offset;
            let needed = conv.ring_bits[out] - shortcut.shifts[out];
            if inner.ring_bits[channel] >= needed {
                return Ok(());
            }
            Err(fault(
                node,
                "shortcut accumulator ring",
                format!("at least {needed} bits"),
                inner.ring_bits[channel],
            ))
        }),
        Op::Input(_) | Op::SumPool { .. } => {
            Err(fault(node, "shortcut", "an activation or accumulator", "another"))
        }
    }
}
