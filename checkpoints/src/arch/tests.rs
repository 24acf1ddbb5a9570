use super::*;

#[test]
fn every_known_name_builds_with_topological_inputs_unique_names_and_ten_logits() {
    for name in Arch::NAMES {
        let arch = Arch::by_name(name, 10).unwrap();
        assert_eq!(arch.shapes().last(), Some(&[10, 1, 1]), "{name}");
        let names: std::collections::BTreeSet<_> = arch.nodes.iter().map(|node| &node.name).collect();
        assert_eq!(names.len(), arch.nodes.len(), "{name}");
        for (id, node) in arch.nodes.iter().enumerate() {
            if let Some(conv) = node.op.as_conv() {
                assert!(conv.input < id);
                assert!(conv.shortcut.as_ref().is_none_or(|s| s.input < id));
                assert!(conv.bias || conv.batch_norm.is_some());
                let [channels, ..] = arch.shapes()[conv.input];
                assert_eq!(channels, conv.in_channels, "{name}: {}", node.name);
            }
        }
    }
}

#[test]
fn linear_layers_flatten_exactly_the_map_they_read() {
    for name in Arch::NAMES {
        let arch = Arch::by_name(name, 10).unwrap();
        for node in &arch.nodes {
            if let ArchOp::Linear { input, in_features, kernel, .. } = node.op {
                let shape = arch.shapes()[input];
                assert_eq!(shape, [in_features / (kernel * kernel), kernel, kernel], "{name}: {}", node.name);
            }
        }
    }
}

#[test]
fn shortcuts_have_the_shape_they_are_added_to() {
    for name in Arch::NAMES {
        let arch = Arch::by_name(name, 10).unwrap();
        let shapes = arch.shapes();
        for (id, node) in arch.nodes.iter().enumerate() {
            let ArchOp::Conv(Conv { shortcut: Some(shortcut), .. }) = &node.op else { continue };
            let [channels, height, width] = shapes[shortcut.input];
            let strided = [height, width].map(|size| size.div_ceil(shortcut.stride));
            assert_eq!(strided, shapes[id][1..], "{name}: {}", node.name);
            assert!(channels + shortcut.channel_offset <= shapes[id][0], "{name}: {}", node.name);
        }
    }
}

/// Counts that torchvision documents with its weights (`num_params`); those of the CIFAR forms are known of the repositories.
#[test]
fn parameters_are_as_many_as_the_originals_have() {
    for (name, classes, want) in [
        ("resnet18", 1000, 11_689_512),
        ("resnet34", 1000, 21_797_672),
        ("resnet50", 1000, 25_557_032),
        ("vgg16-bn", 1000, 138_365_992),
        ("cifar-resnet18", 10, 11_173_962),
        ("cifar-vgg16-bn", 10, 14_728_266),
        ("cifar-resnet20", 10, 269_722),
    ] {
        let arch = Arch::by_name(name, classes).unwrap();
        let trained = |(key, _): &(&String, &Vec<usize>)| !key.contains("running");
        let found: usize =
            arch.state_dict().iter().filter(trained).map(|(_, shape)| shape.iter().product::<usize>()).sum();
        assert_eq!(found, want, "{name}");
    }
}

#[test]
fn maps_shrink_as_the_papers_tables_say() {
    for (name, node, shape) in [
        ("resnet18", "conv1", [64, 112, 112]),
        ("resnet18", "maxpool", [64, 56, 56]),
        ("resnet18", "layer4.1.conv2", [512, 7, 7]),
        ("resnet50", "layer1.0.conv3", [256, 56, 56]),
        ("resnet50", "layer2.0.conv1", [128, 56, 56]),
        ("resnet50", "layer2.0.conv2", [128, 28, 28]),
        ("resnet50", "layer4.2.conv3", [2048, 7, 7]),
        ("vgg16-bn", "features.43", [512, 7, 7]),
        ("cifar-vgg16-bn", "features.43", [512, 1, 1]),
        ("cifar-resnet18", "layer4.1.conv2", [512, 4, 4]),
        ("tiny-resnet18", "layer4.1.conv2", [512, 8, 8]),
        ("minionn", "pool2", [64, 8, 8]),
        ("minionn", "conv7", [16, 8, 8]),
    ] {
        let arch = Arch::by_name(name, 10).unwrap();
        let id = arch.nodes.iter().position(|found| found.name == node);
        assert_eq!(id.map(|id| arch.shapes()[id]), Some(shape), "{name}: {node}");
    }
}

#[test]
fn keys_are_those_of_the_original_state_dicts() {
    for (name, present, absent) in [
        ("resnet18", "layer2.0.downsample.1.running_var", "layer1.0.downsample.0.weight"),
        ("resnet50", "layer1.0.downsample.0.weight", "layer1.1.downsample.0.weight"),
        ("resnet50", "layer3.5.bn3.bias", "layer3.6.bn3.bias"),
        ("vgg16-bn", "features.0.bias", "features.2.weight"),
        ("vgg16-bn", "features.41.running_mean", "features.42.weight"),
        ("vgg16-bn", "classifier.6.bias", "classifier.1.weight"),
        ("cifar-resnet18", "layer2.0.shortcut.0.weight", "layer1.0.shortcut.0.weight"),
        ("cifar-resnet20", "layer2.0.conv1.weight", "conv1.bias"),
        ("minionn", "conv7.bias", "conv7.running_mean"),
    ] {
        let keys = Arch::by_name(name, 10).unwrap().state_dict();
        assert!(keys.contains_key(present) && !keys.contains_key(absent), "{name}");
    }
    // Counted in torchvision's own files without `num_batches_tracked`.
    for (name, tensors) in [("resnet18", 102), ("resnet34", 182), ("resnet50", 267), ("vgg16-bn", 84)] {
        assert_eq!(Arch::by_name(name, 1000).unwrap().state_dict().len(), tensors, "{name}");
    }
    let linear = &Arch::by_name("vgg16-bn", 1000).unwrap().state_dict()["classifier.0.weight"];
    assert_eq!(*linear, [4096, 25_088]);
}

#[test]
fn resnet20_has_nineteen_convolutions_and_pytorch_keys() {
    let arch = Arch::by_name("cifar-resnet20", 10).unwrap();
    let convs = arch.nodes.iter().filter(|n| matches!(n.op, ArchOp::Conv(_))).count();
    assert_eq!(convs, 19);
    assert!(arch.nodes.iter().any(|n| n.name == "layer2.0.conv1"));
}

#[test]
fn unknown_names_are_refused_with_the_known_ones() {
    let error = Arch::by_name("resnet21", 10).unwrap_err().to_string();
    assert!(error.contains("resnet21") && error.contains("cifar-resnet20"));
}
