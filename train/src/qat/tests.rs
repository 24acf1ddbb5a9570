use burn::module::Module;
use burn::tensor::Device;
use eqo_checkpoints::plan::BitPlan;
use eqo_checkpoints::winograd::Algorithm;

use super::*;
use crate::Error;
use crate::tensors::NamedTensors;
use crate::testing::{NORMALIZATION, pooled_arch, tiny_arch, tiny_images};

/// Weights of a network without batch normalization, as `quant` would fold them.
pub(crate) fn folded(arch: &Arch) -> FoldedWeights {
    let random = crate::state_dict::random(arch, 5);
    let layers = interpret::weighted_nodes(arch).map(|node| {
        let shape = interpret::weight_shape(node);
        let mut weight =
            random[&format!("{}.weight", node.name)].clone().into_shape_with_order(shape.as_slice()).unwrap();
        weight *= match node.name.as_str() {
            "stem" => 1.0 / 64.0,
            "linear" => 1.0 / 9.0,
            _ => 1.0,
        };
        let bias = (0..shape[0]).map(|out| 0.1 * out as f32 - 0.2).collect();
        (node.name.clone(), FoldedLayer { weight, bias })
    });
    layers.collect()
}

pub(super) fn net(weight_bits: u8, act_bits: u8, device: &Device) -> QatNet {
    planned(&BitPlan::uniform(&tiny_arch(), weight_bits, act_bits), device)
}

pub(crate) fn planned(plan: &BitPlan, device: &Device) -> QatNet {
    planned_for(&tiny_arch(), plan, device)
}

pub(crate) fn planned_for(arch: &Arch, plan: &BitPlan, device: &Device) -> QatNet {
    QatNet::from_folded(arch, plan, &folded(arch), NORMALIZATION, &tiny_images(12), device).unwrap()
}

fn logits(net: &QatNet) -> Vec<f32> {
    let pixels = pixels::to_tensor(tiny_images(6).pixels(), [6, 6], &Device::flex());
    net.valid().logits(pixels).into_data_as::<f32>().iter::<f32>().collect()
}

#[test]
fn more_bits_come_closer_to_the_float_network() {
    let reference = logits(&net(8, 8, &Device::flex()));
    let error = |bits: u8| -> f32 {
        logits(&net(bits, bits, &Device::flex())).iter().zip(&reference).map(|(a, b)| (a - b).powi(2)).sum()
    };
    let errors = [2, 4, 6].map(error);
    assert!(errors[0] > errors[1] && errors[1] > errors[2], "{errors:?}");
}

#[test]
fn the_forward_pass_on_a_training_device_equals_the_plain_one_bit_for_bit() {
    let training = Device::flex().autodiff();
    let net = net(4, 6, &training);
    let pixels = pixels::to_tensor(tiny_images(6).pixels(), [6, 6], &training);
    let tracked: Vec<f32> = net.logits(pixels).into_data_as::<f32>().iter::<f32>().collect();
    assert_eq!(tracked, logits(&net));
}

#[test]
fn export_holds_codes_of_the_planned_bits_and_shifts_of_the_wired_scales() {
    let net = net(3, 4, &Device::flex());
    let layers = net.export().unwrap();
    assert_eq!(
        layers.iter().map(|layer| layer.name.as_str()).collect::<Vec<_>>(),
        ["stem", "down", "second", "proj", "third", "linear"]
    );
    for (layer, spec) in layers.iter().zip(&net.specs) {
        let [out, inputs, ..] = spec.shape;
        let positions = spec.step_shape()[0].max(spec.shape[2] * spec.shape[3]);
        assert_eq!(layer.codes.len(), positions * out * inputs);
        let half = 1_i16 << (spec.codebook(0).bits() - 1);
        assert!(layer.codes.iter().all(|&code| (-half..half).contains(&i16::from(code))));
        assert_eq!(layer.bias.len(), out);
        assert_eq!(layer.output_shifts.is_empty(), spec.act_bits.is_none());
        let finest = spec.codebook(0).bits() + 7;
        assert!(layer.output_shifts.iter().all(|&shift| i32::from(shift) <= finest), "{}", layer.name);
    }
    let shortcuts: Vec<usize> = layers.iter().map(|layer| layer.shortcut_shifts.len()).collect();
    assert_eq!(shortcuts, [0, 0, 8, 0, 6, 0]);
    let logits = &layers[5].acc_exponents;
    assert!(logits.iter().all(|exponent| exponent == &logits[0]));
}

/// A gain of up to 2^6 by the output transform of F(4x4, 3x3) allows finer taps, down to those of 8-bit weights.
#[test]
fn taps_are_no_finer_than_their_gain_and_exact_sums_allow() {
    for weight_bits in [2_u8, 4, 8] {
        for (tiles, gain) in [(Algorithm::F2x2, 0), (Algorithm::F4x4, 6), (Algorithm::P2x2, 0)] {
            let plan = BitPlan::uniform(&tiny_arch(), weight_bits, 6).with_tiles(&tiny_arch(), tiles);
            let net = planned(&plan, &Device::flex());
            for (layer, spec) in net.export().unwrap().iter().zip(&net.specs) {
                let most = (spec.codebook(0).bits() + 6 + gain).min(14);
                assert!(layer.output_shifts.iter().all(|&shift| i32::from(shift) <= most), "{}", layer.name);
            }
        }
    }
}

#[test]
fn the_integer_trace_is_the_forward_pass_in_steps_of_each_scale() {
    let net = net(4, 6, &Device::flex());
    let images = tiny_images(6);
    let trace = net.trace(images.pixels()).unwrap();
    let offsets = NORMALIZATION.integer_input(&images.pixels()[..108]).map(i64::from);
    assert!(trace[0].iter().zip(offsets).all(|(&found, want)| found == want));
    for (node, largest) in [(1, 63), (2, 63), (3, 63), (5, 63), (6, 63 * 9)] {
        assert!(trace[node].iter().all(|value| (0..=largest).contains(value)), "node {node}");
        assert!(trace[node].iter().any(|&value| value > 0), "node {node}");
    }
    let exponent = net.export().unwrap()[5].acc_exponents[0];
    let real: Vec<f32> = trace[7].iter().map(|&value| value as f32 * 2.0_f32.powi(exponent)).collect();
    assert_eq!(real, logits(&net));
}

#[test]
fn a_quantized_network_is_rebuilt_exactly_from_its_tensors() {
    let first = net(4, 6, &Device::flex());
    let tensors = first.to_tensors();
    let again = first.with_tensors(&tensors, "itself", &Device::flex()).unwrap();
    assert_eq!(again.to_tensors(), tensors);
    assert_eq!(logits(&again), logits(&first));
    let error = first.with_tensors(&NamedTensors::new(), "nothing", &Device::flex()).err().unwrap();
    assert!(error.to_string().contains("missing stem.log2_scale"));
}

#[test]
fn trained_taps_start_as_those_of_the_kernel_and_stay_in_their_domain() {
    for tiles in [Algorithm::F2x2, Algorithm::F4x4, Algorithm::P2x2] {
        let kernels =
            planned(&BitPlan::uniform(&tiny_arch(), 3, 6).with_tiles(&tiny_arch(), tiles), &Device::flex());
        let taps = kernels.in_winograd_domain().unwrap();
        assert!(taps.export().unwrap() == kernels.export().unwrap());
        assert_eq!(logits(&taps), logits(&kernels));
        let tensors = taps.to_tensors();
        for (layer, stride) in [("second", 1), ("down", 2)] {
            let side = tiles.beside(3, stride).transform().map_or(3, |transform| transform.tile);
            assert_eq!(tensors[&format!("{layer}.weight")].shape()[2..], [side; 2], "{layer}");
        }
        let again = kernels.with_tensors(&tensors, "taps", &Device::flex()).unwrap();
        assert_eq!(logits(&again), logits(&taps));
        let coarser =
            taps.replan(&BitPlan::uniform(&tiny_arch(), 2, 6).with_tiles(&tiny_arch(), tiles)).unwrap();
        assert_eq!(coarser.to_tensors()["second.weight"], tensors["second.weight"]);
        let other =
            taps.replan(&BitPlan::uniform(&tiny_arch(), 2, 6).with_tiles(&tiny_arch(), Algorithm::Direct));
        assert!(matches!(other.err(), Some(Error::StateDict { .. })));
    }
}

#[test]
fn every_parameter_gets_a_gradient() {
    let device = Device::flex().autodiff();
    let net = net(4, 6, &device);
    let grads = net.logits(pixels::to_tensor(tiny_images(6).pixels(), [6, 6], &device)).sum().backward();
    for layer in &net.layers {
        assert!(layer.weight.val().grad(&grads).is_some() && layer.bias.val().grad(&grads).is_some());
        assert!(layer.log2_step.val().grad(&grads).is_some());
        assert!(layer.log2_scale.as_ref().is_none_or(|scale| scale.val().grad(&grads).is_some()));
    }
}

/// Values of all gradients, by parameter.
fn gradients(net: &QatNet, device: &Device) -> Vec<Vec<f32>> {
    let pixels = pixels::to_tensor(tiny_images(6).pixels(), [6, 6], device);
    let weights = Tensor::<2>::from_floats([[1.0, -0.5, 0.3]], device);
    let grads = (net.logits(pixels).powi_scalar(2) * weights).sum().backward();
    let values = |gradient: TensorData| gradient.iter::<f32>().collect::<Vec<f32>>();
    net.layers.iter().fold(Vec::new(), |mut all, layer| {
        all.push(values(layer.weight.val().grad(&grads).unwrap().into_data()));
        all.push(values(layer.bias.val().grad(&grads).unwrap().into_data()));
        all.push(values(layer.log2_step.val().grad(&grads).unwrap().into_data()));
        if let Some(scale) = &layer.log2_scale {
            all.push(values(scale.val().grad(&grads).unwrap().into_data()));
        }
        all
    })
}

#[test]
fn kernels_and_generic_operations_are_the_same_network_with_the_same_gradients() {
    let device = Device::flex().autodiff();
    let tap_bits = Some(vec![1, 2, 0, 1, 2, 5, 3, 2, 0, 2, 1, 1, 0, 2, 1, 1]);
    for (bits, exponents, tap_bits, mid_rise, domain) in [
        (4, None, None, false, Domain::Spatial),
        (2, None, None, false, Domain::Spatial),
        (3, Some(vec![0, 1, 3]), None, false, Domain::Spatial),
        (2, None, None, true, Domain::Spatial),
        (5, None, tap_bits.clone(), true, Domain::Spatial),
        (3, Some(vec![0, 1, 3]), None, true, Domain::Winograd),
        (5, None, tap_bits, true, Domain::Winograd),
    ] {
        let mut plan = BitPlan::uniform(&tiny_arch(), bits, 5);
        plan.layers.values_mut().for_each(|layer| layer.mid_rise = mid_rise);
        let third = plan.layers.get_mut("third").unwrap();
        (third.exponents, third.tap_bits) = (exponents, tap_bits);
        let net = planned(&plan, &device);
        let net = if domain == Domain::Winograd { net.in_winograd_domain().unwrap() } else { net };
        equals_its_generic_form(&net, &device);
    }
    let plan = BitPlan::uniform(&pooled_arch(), 4, 5);
    equals_its_generic_form(&planned_for(&pooled_arch(), &plan, &device), &device);
}

fn equals_its_generic_form(net: &QatNet, device: &Device) {
    let generic = net.clone().with_generic_operations();
    assert_eq!(logits(net), logits(&generic));
    let all = gradients(net, device).into_iter().zip(gradients(&generic, device));
    for (parameter, (found, want)) in all.enumerate() {
        let largest = want.iter().fold(1e-3_f32, |largest, value| largest.max(value.abs()));
        for (found, want) in found.iter().zip(&want) {
            assert!((found - want).abs() <= 2e-5 * largest, "{parameter}: {found} {want} of {largest}");
        }
    }
}

#[test]
fn plans_that_cannot_be_followed_are_refused_by_layer() {
    let refuse = |change: &dyn Fn(&mut BitPlan)| {
        let mut plan = BitPlan::uniform(&tiny_arch(), 4, 6);
        change(&mut plan);
        let made = QatNet::from_folded(
            &tiny_arch(),
            &plan,
            &folded(&tiny_arch()),
            NORMALIZATION,
            &tiny_images(3),
            &Device::flex(),
        );
        match made {
            Err(Error::Plan { layer, what, .. }) => (layer, what),
            other => panic!("{:?}", other.map(|_| ())),
        }
    };
    let second = |plan: &mut BitPlan| plan.layers.get_mut("second").cloned().unwrap();
    let set = |plan: &mut BitPlan, layer| plan.layers.insert("second".to_owned(), layer);
    assert_eq!(refuse(&|plan| drop(plan.layers.remove("second"))), ("second".to_owned(), "entry"));
    let repeated = |plan: &mut BitPlan| {
        let layer = second(plan);
        set(plan, eqo_checkpoints::plan::LayerPlan { exponents: Some(vec![0, 1, 1, 4]), ..layer });
    };
    assert_eq!(refuse(&repeated), ("second".to_owned(), "bit exponents"));
    let wide = |plan: &mut BitPlan| {
        let layer = second(plan);
        set(plan, eqo_checkpoints::plan::LayerPlan { weight_bits: 9, ..layer });
    };
    assert_eq!(refuse(&wide), ("second".to_owned(), "weight bits"));
    for bits in [vec![4; 9], vec![3; 16], [vec![4; 15], vec![1]].concat()] {
        let by_tap = |plan: &mut BitPlan| {
            let layer = second(plan);
            set(plan, eqo_checkpoints::plan::LayerPlan { tap_bits: Some(bits.clone()), ..layer });
        };
        assert_eq!(refuse(&by_tap), ("second".to_owned(), "bits of the taps"));
    }
    let tiles = |plan: &mut BitPlan| {
        plan.layers.get_mut("down").unwrap().algorithm = Algorithm::F2x2;
    };
    assert_eq!(refuse(&tiles), ("down".to_owned(), "algorithm"));
}
