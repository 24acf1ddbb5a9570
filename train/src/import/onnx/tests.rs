//! Models that PyTorch wrote (`train/fixtures/make_networks.py`), and models that nobody should write.

use burn::tensor::Device;
use eqo_datasets::Normalization;
use prost::Message;

use super::proto::{Attribute, Dimension, Model, Node, Shape, Tensor, TensorType, Type, Value};
use super::*;
use crate::import::tests::{assert_logits, fixture};
use crate::import::{architecture, read_network};
use crate::net::Net;

#[test]
fn networks_of_every_exporter_give_pytorchs_logits() {
    for network in ["residual", "plain"] {
        for exporter in ["traced", "unfolded", "exported"] {
            let path = fixture(&format!("{network}-{exporter}.onnx"));
            let arch = architecture("onnx", Some(&path), Some(10)).unwrap_or_else(|error| panic!("{error}"));
            assert_logits(network, &arch, &read_network(&path, &arch).unwrap());
        }
    }
}

#[test]
fn units_carry_the_names_of_pytorchs_modules() {
    let arch = read(&fixture("residual-unfolded.onnx")).unwrap_or_else(|error| panic!("{error}")).0;
    let names: Vec<&str> = arch.nodes.iter().map(|node| node.name.as_str()).collect();
    let block = ["layer1.0.downsample.0", "layer1.0.conv1", "layer1.0.conv2", "layer1.0.conv3"];
    assert_eq!(names[..7], [["input", "conv1", "maxpool"].as_slice(), &block].concat());
    let ArchOp::Conv(last) = &arch.nodes[6].op else { panic!("{:?}", arch.nodes[6]) };
    assert!(last.relu && last.shortcut.as_ref().is_some_and(|shortcut| shortcut.input == 3));
    let traced = read(&fixture("residual-traced.onnx")).unwrap_or_else(|error| panic!("{error}")).0;
    assert_eq!(traced.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), names);
}

#[test]
fn other_numbers_of_classes_and_other_files_are_refused() {
    let refuse = |weights: Option<&Path>, classes, parts: &[&str]| {
        let message = architecture("onnx", weights, classes).map(|_| ()).unwrap_err().to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    };
    refuse(Some(&fixture("plain-traced.onnx")), Some(7), &["7, as the images have", "found 10"]);
    refuse(None, None, &[".onnx", "none"]);
    refuse(Some(&fixture("plain.pth")), None, &["plain.pth"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.onnx");
    std::fs::write(&path, "neither protobuf nor a network").unwrap();
    refuse(Some(&path), None, &["text.onnx", "ONNX model"]);
}

fn floats(name: &str, dims: &[i64]) -> Tensor {
    let count = dims.iter().product::<i64>() as usize;
    let float_data = (0..count).map(|at| (at % 5) as f32 - 2.0).collect();
    Tensor { name: name.to_owned(), dims: dims.to_vec(), data_type: 1, float_data, ..Tensor::default() }
}

fn node(op_type: &str, input: &[&str], output: &str) -> Node {
    let input = input.iter().map(|&name| name.to_owned()).collect();
    let name = format!("the_{output}");
    Node { name, op_type: op_type.to_owned(), input, output: vec![output.to_owned()], ..Node::default() }
}

fn with(mut node: Node, name: &str, ints: &[i64]) -> Node {
    let i = ints.first().copied().unwrap_or(0);
    node.attribute.push(Attribute { name: name.to_owned(), ints: ints.to_vec(), i, ..Attribute::default() });
    node
}

/// An image 3x4x4, a convolution to 2 channels, its ReLU, a global average, a linear layer.
fn graph() -> Graph {
    let value = |name: &str, dims: &[i64]| {
        let dim = dims.iter().map(|&dim_value| Dimension { dim_value }).collect();
        let tensor = Some(TensorType { shape: Some(Shape { dim }) });
        Value { name: name.to_owned(), r#type: Some(Type { tensor }) }
    };
    Graph {
        node: vec![
            node("Conv", &["image", "w", "b"], "conv"),
            node("Relu", &["conv"], "relu"),
            node("GlobalAveragePool", &["relu"], "pooled"),
            node("Flatten", &["pooled"], "flat"),
            node("Gemm", &["flat", "m"], "logits"),
        ],
        initializer: vec![floats("w", &[2, 3, 3, 3]), floats("b", &[2]), floats("m", &[2, 4])],
        input: vec![value("image", &[0, 3, 4, 4])],
        output: vec![value("logits", &[0, 4])],
    }
}

fn import(change: impl FnOnce(&mut Graph)) -> Result<(Arch, NamedTensors)> {
    let mut graph = graph();
    change(&mut graph);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made.onnx");
    std::fs::write(&path, Model { graph: Some(graph) }.encode_to_vec()).unwrap();
    read(&path)
}

#[test]
fn a_minimal_model_becomes_the_layers_it_has() {
    let (arch, tensors) = import(|_| ()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(arch.shapes(), [[3, 4, 4], [2, 2, 2], [2, 1, 1], [4, 1, 1]]);
    // `m` is `[in, out]` without transB: -2 -1 0 1; 2 -2 -1 0.
    let weight: Vec<f32> = tensors["the_logits.weight"].iter().copied().collect();
    assert_eq!(weight, [-2.0, 2.0, -1.0, -2.0, 0.0, -1.0, 1.0, 0.0]);
    let net = Net::from_tensors(&arch, Normalization::IMAGENET, &tensors, "made", &Device::flex());
    assert!(net.is_ok(), "{:?}", net.err().map(|error| error.to_string()));
}

#[test]
fn what_has_no_place_in_a_unit_is_refused_by_node_and_operation() {
    let refuse = |change: &dyn Fn(&mut Graph), parts: &[&str]| {
        let message = import(change).map(|_| ()).unwrap_err().to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{parts:?}: {message}");
    };
    refuse(
        &|graph| graph.node[1].op_type = "Sigmoid".to_owned(),
        &["made.onnx", "the_relu (Sigmoid)", "Relu"],
    );
    refuse(
        &|graph| graph.node[0] = with(graph.node[0].clone(), "group", &[3]),
        &["the_conv", "group = 1", "3"],
    );
    refuse(
        &|graph| graph.node[0] = with(graph.node[0].clone(), "pads", &[0, 0, 1, 1]),
        &["the_conv", "pads", "[0, 0, 1, 1]"],
    );
    refuse(
        &|graph| graph.node[0] = with(graph.node[0].clone(), "strides", &[-1, -1]),
        &["the_conv", "strides", "[-1, -1]"],
    );
    refuse(
        &|graph| graph.node[0] = with(graph.node[0].clone(), "dilations", &[2, 2]),
        &["the_conv", "dilations of 1", "2"],
    );
    refuse(
        &|graph| graph.initializer[0] = floats("w", &[2, 3, 5, 5]),
        &["the_conv", "within the padded map", "kernel 5"],
    );
    refuse(
        &|graph| graph.initializer[0] = floats("w", &[2, 4, 3, 3]),
        &["the_conv", "3 channels", "[2, 4, 3, 3]"],
    );
    refuse(&|graph| graph.initializer[0].dims = vec![1 << 40, 1 << 40, 3, 3], &["the_conv", "54 values"]);
    refuse(&|graph| graph.initializer[0].dims[0] = -2, &["the_conv", "-2"]);
    refuse(&|graph| graph.initializer[0].data_type = 10, &["the_conv", "float32", "type 10"]);
    refuse(
        &|graph| graph.initializer[2] = floats("m", &[3, 4]),
        &["the_logits (Gemm)", "[2, 1, 1]", "[4, 3]"],
    );
    refuse(&|graph| drop(graph.initializer.remove(0)), &["the_conv", "a constant", "\"w\""]);
    refuse(
        &|graph| graph.node[1].input[0] = "later".to_owned(),
        &["the_relu", "computed from the image", "later"],
    );
    refuse(&|graph| drop(graph.node.remove(1)), &["the_pooled", "computed from the image", "relu"]);
    refuse(
        &|graph| graph.node[1].op_type = "Identity".to_owned(),
        &["the_pooled", "a ReLU on what it reads"],
    );
    refuse(&|graph| graph.output[0].name = "relu".to_owned(), &["conv", "linear layer without ReLU"]);
    refuse(&|graph| graph.input[0].r#type = None, &["image", "fixed height and width", "[]"]);
}

#[test]
fn sums_and_rectifiers_of_values_that_others_read_too_are_refused() {
    let refuse = |nodes: &[Node], parts: &[&str]| {
        let change = |graph: &mut Graph| drop(graph.node.splice(1..2, nodes.iter().cloned()));
        let message = import(change).map(|_| ()).unwrap_err().to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{parts:?}: {message}");
    };
    // `relu` is what the rest of the graph reads.
    let activation = node("Relu", &["conv"], "first");
    refuse(
        &[activation.clone(), node("Add", &["conv", "first"], "relu")],
        &["the_first", "nothing else reads"],
    );
    refuse(&[node("Add", &["conv", "conv"], "relu")], &["the_relu", "two values of one shape"]);
    refuse(&[node("Add", &["conv", "image"], "relu")], &["the_relu", "two values of one shape"]);
    let pools = ["one", "two"].map(|name| with(node("MaxPool", &["first"], name), "kernel_shape", &[2, 2]));
    let [one, two] = pools;
    refuse(
        &[activation, one, two, node("Add", &["one", "two"], "relu")],
        &["the_relu", "convolution", "none"],
    );
}

#[test]
fn external_data_are_read_from_beside_the_model_and_from_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made.onnx");
    let bytes: Vec<u8> = (0..54).flat_map(|at| (at as f32).to_le_bytes()).collect();
    std::fs::write(folder.path().join("data.bin"), [vec![7; 12], bytes].concat()).unwrap();
    let read_from = |location: &str| {
        let mut graph = graph();
        let entry = |key: &str, value: &str| proto::Entry { key: key.to_owned(), value: value.to_owned() };
        let weight = &mut graph.initializer[0];
        (weight.data_location, weight.float_data) = (1, Vec::new());
        weight.external_data =
            vec![entry("location", location), entry("offset", "12"), entry("length", "216")];
        std::fs::write(&path, Model { graph: Some(graph) }.encode_to_vec()).unwrap();
        read(&path)
    };
    let (_, tensors) = read_from("data.bin").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(tensors["the_conv.weight"].iter().copied().collect::<Vec<f32>>()[52..], [52.0, 53.0]);
    for elsewhere in ["../data.bin", "/etc/hostname", "folder/data.bin", "..", ""] {
        let message = read_from(elsewhere).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains("not a file beside the model"), "{message}");
    }
    assert!(read_from("absent.bin").map(|_| ()).unwrap_err().to_string().contains("absent.bin"));
}

#[test]
fn damaged_models_are_refused_without_a_panic() {
    let whole = std::fs::read(fixture("plain-unfolded.onnx")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.onnx");
    for at in 0..400 {
        let mut bytes = whole.clone();
        let place = at * 2_654_435_761 % bytes.len();
        match at % 2 {
            0 => bytes.truncate(place),
            _ => bytes[place] ^= 1 << (at % 8),
        }
        std::fs::write(&path, bytes).unwrap();
        // Some bits are weights' or names', so not every change can be noticed.
        if let Ok((arch, tensors)) = read(&path) {
            let _ = Net::from_tensors(&arch, Normalization::IMAGENET, &tensors, "damaged", &Device::flex());
        }
    }
}
