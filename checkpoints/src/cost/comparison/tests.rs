//! The trees compute carries, at the least depth.

use super::*;

/// Runs the tree in the clear on `server + client`, as the gate does on shares.
fn run(tree: &Comparison, server: u64, shifted: u64, client: u64) -> [u64; 3] {
    let mut wires = vec![0; tree.wires];
    for digit in &tree.digits {
        let mask = (1 << digit.bits) - 1;
        let pick = |share: u64| (share >> digit.offset) & mask;
        for (variant, value) in [server, shifted].into_iter().enumerate() {
            let complement = mask - pick(value);
            let bits = [u64::from(complement < pick(client)), u64::from(complement == pick(client))];
            for (wire, bit) in
                (2 * variant..).zip(bits).take_while(|(wire, _)| *wire < digit.leaf.message_bits())
            {
                wires[digit.wire + wire] = bit;
            }
        }
    }
    for joint in &tree.joints {
        for term in &joint.terms {
            wires[term.out] =
                term.add.map_or(0, |add| wires[add]) ^ (wires[joint.factor] & wires[term.other]);
        }
    }
    [tree.carry, tree.sign, tree.saturation].map(|wire| wires[wire])
}

#[test]
fn the_three_carries_are_those_of_integer_addition_for_every_small_ring_shift_and_share() {
    for (ring, shift, act) in [(4, 1, 2), (5, 2, 2), (8, 3, 2), (9, 1, 2), (9, 5, 3), (8, 2, 4), (11, 2, 1)] {
        let tree = Comparison::new(ring, shift, act);
        let low = (1_u64 << (ring - 1)) - 1;
        for server in 0..1_u64 << ring {
            let shifted = server.wrapping_sub(1 << (shift + act)) & ((1 << ring) - 1);
            for client in 0..1_u64 << ring {
                let fraction = (1 << shift) - 1;
                let mut want = [
                    ((server & fraction) + (client & fraction)) >> shift,
                    ((server & low) + (client & low)) >> (ring - 1),
                    ((shifted & low) + (client & low)) >> (ring - 1),
                ];
                assert_eq!(shifted & ((1 << (shift + act)) - 1), server & ((1 << (shift + act)) - 1));
                if ring == shift + act + 1 {
                    want[2] = want[1];
                }
                assert_eq!(run(&tree, server, shifted, client), want, "{ring} {shift} {act}");
            }
        }
    }
}

#[test]
fn the_three_carries_are_those_of_integer_addition_in_wide_rings() {
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state ^ state >> 29
    };
    for ring in 12..=62_u8 {
        for shift in (1..ring - 8).step_by(3) {
            let (tree, bits) = (Comparison::new(ring, shift, 6), ring - 1);
            for near in 0..40 {
                // Sums near the limits: of both signs, in range and just out of it.
                let y = [0, 1 << (shift + 6), random() >> (64 - bits)][near % 3]
                    .wrapping_add(random() % 5)
                    .wrapping_sub(2);
                let client = random();
                let server = y.wrapping_sub(client);
                let shifted = server.wrapping_sub(1 << (shift + 6));
                let carry = |share: u64, bits: u8| {
                    let mask = (1 << bits) - 1;
                    ((share & mask) + (client & mask)) >> bits
                };
                let saturation = if ring == shift + 7 { carry(server, bits) } else { carry(shifted, bits) };
                assert_eq!(
                    run(&tree, server, shifted, client),
                    [carry(server, shift), carry(server, bits), saturation],
                    "{ring} {shift}"
                );
            }
        }
    }
}

#[test]
fn a_carry_alone_is_that_of_integer_addition_for_every_share_of_up_to_nine_bits() {
    for bits in 1..=9 {
        let tree = Comparison::carry_only(bits);
        for (server, client) in (0..1_u64 << bits).flat_map(|s| (0..1 << bits).map(move |c| (s, c))) {
            assert_eq!(run(&tree, server, server, client)[0], (server + client) >> bits);
        }
    }
}

#[test]
fn ands_read_only_wires_of_earlier_levels_and_depth_is_logarithmic() {
    for ring in 4..=62 {
        for shift in 1..ring - 2 {
            for act in 2..=8.min(ring - 1 - shift) {
                let tree = Comparison::new(ring, shift, act);
                let mut ready = vec![0; tree.wires];
                for joint in &tree.joints {
                    for term in &joint.terms {
                        let inputs = [Some(joint.factor), Some(term.other), term.add];
                        assert!(inputs.into_iter().flatten().all(|wire| ready[wire] <= joint.level));
                        ready[term.out] = joint.level + 1;
                    }
                }
                assert_eq!(tree.leaf_ots(), usize::from(ring) - 1);
                let low = usize::from(shift).div_ceil(4).next_power_of_two();
                let above = tree.digits.len() - usize::from(shift).div_ceil(4);
                // The low part is one node of depth log2(low); everything else is as balanced as it can be.
                let bound = (low + above).next_power_of_two().ilog2() as usize;
                assert!(tree.levels() <= bound, "{ring} {shift} {act}: {} > {bound}", tree.levels());
            }
        }
    }
}

#[test]
fn the_rings_of_real_networks_take_three_levels() {
    for ring in 14..=19 {
        for shift in 4..=ring - 7 {
            assert!(Comparison::new(ring, shift, 6).levels() <= 3, "{ring} {shift}");
        }
    }
}
