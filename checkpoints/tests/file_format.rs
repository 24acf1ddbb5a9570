//! Files round-trip, and damaged ones are refused with words that help.

#![expect(clippy::unwrap_used, reason = "an Err is a failed test")]

use std::collections::BTreeMap;
use std::fs;

use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::graph::{Graph, Op};
use eqo_checkpoints::testing::{Block, Spec, random_checkpoint};
use serde_json::{Value, json};

#[test]
fn files_round_trip_and_equal_checkpoints_give_equal_bytes() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 0..20 {
        let checkpoint = random_checkpoint(seed, &Spec::random(seed));
        let path = folder.path().join("model.safetensors");
        checkpoint.write(&path).unwrap();
        assert!(Checkpoint::read(&path).unwrap() == checkpoint);
        assert_eq!(fs::read(&path).unwrap(), checkpoint.to_bytes());
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no .part is left behind");
}

#[test]
fn every_truncation_is_refused() {
    let bytes = small().to_bytes();
    for len in 0..bytes.len() {
        assert!(Checkpoint::read_bytes(&bytes[..len]).is_err(), "{len} of {} bytes", bytes.len());
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(Checkpoint::read_bytes(&longer).is_err());
}

#[test]
fn every_flipped_bit_is_refused_or_harms_only_free_text() {
    let original = small();
    let bytes = original.to_bytes();
    let mut survivors = 0;
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        if let Ok(read) = Checkpoint::read_bytes(&damaged) {
            survivors += 1;
            assert!(read.graph() == original.graph() && read.weights() == original.weights(), "bit {bit}");
        }
    }
    // Recipe, dataset and seed are free text; everything else is under a checksum or a rule.
    assert!(survivors < 200, "{survivors} flips went unnoticed");
}

#[test]
fn each_kind_of_damage_is_named() {
    let metadata = |key: &'static str, value: &'static str| {
        move |header: &mut Value| header["__metadata__"][key] = json!(value)
    };
    refused("version", "expected 1, found 9", metadata("version", "9"));
    refused("format", "expected eqo", metadata("format", "pt"));
    refused("checksum", "weights_blake3", metadata("weights_blake3", "00"));
    refused("graph checksum", "graph_blake3", metadata("graph_blake3", "00"));
    refused("seed", "unsigned integer", metadata("seed", "-1"));
    refused("accuracy", "0 to 1", metadata("accuracy", "NaN"));
    refused("dtype", "tensor conv1.u: expected I8", |header| header["conv1.u"]["dtype"] = json!("U8"));
    refused("shape", "tensor conv1.u: expected I8 [16, 4, 1], found I8 [4, 16, 1]", |header| {
        header["conv1.u"]["shape"] = json!([4, 16, 1]);
    });
    refused("missing", "tensor conv1.u: expected I8 [16, 4, 1], found none", |header| {
        let tensor = header["conv1.u"].take();
        header["other"] = tensor;
        header.as_object_mut().unwrap().remove("conv1.u");
    });
    refused("overlap", "structure", |header| header["linear.w"]["data_offsets"] = json!([0, 8]));
    refused("no metadata", "metadata format", |header| {
        header.as_object_mut().unwrap().remove("__metadata__");
    });
    refused("missing field", "metadata dataset: expected a value, found none", |header| {
        header["__metadata__"].as_object_mut().unwrap().remove("dataset");
    });
}

#[test]
fn a_graph_with_a_cycle_an_unprovable_range_an_escape_or_an_unknown_field_is_refused_and_the_file_named() {
    refused("cycle", "no cycles", |header| {
        with_graph(header, |json| json["nodes"][1]["op"]["conv"]["input"] = json!(1));
    });
    refused("logits of nine pixels", "node linear: shape of the logits: expected [", |header| {
        with_graph(header, |json| {
            let last = json["nodes"].as_array_mut().unwrap().last_mut().unwrap();
            last["op"]["conv"]["padding"] = json!(1);
        });
    });
    refused("range", "checkpoint: node conv1: ring_bits: expected at least", |header| {
        with_graph(header, |json| {
            let mut graph: Graph = serde_json::from_value(json.clone()).unwrap();
            let Op::Conv(conv) = &mut graph.nodes[1].op else { unreachable!() };
            conv.ring_bits[2] -= 1;
            *json = serde_json::to_value(graph).unwrap();
        });
    });
    refused("terminal escape", "no control characters", |header| {
        with_graph(header, |json| json["classes"][0] = json!("\u{1b}[2J"));
    });
    // What a reader of an earlier time does with `f4x4`.
    refused(
        "unknown algorithm",
        "unknown variant `f6x6`, expected one of `direct`, `f2x2`, `f4x4`",
        |header| {
            with_graph(header, |json| json["nodes"][1]["op"]["conv"]["algorithm"] = json!("f6x6"));
        },
    );
    refused("unknown field", "colour", |header| with_graph(header, |json| json["colour"] = json!("red")));
}

#[test]
fn positions_without_bits_are_refused_where_all_are_or_a_weight_isnt_zero_and_single_bits_without_an_offset()
{
    let lists = |header: &mut Value, change: &dyn Fn(&mut Vec<Value>)| {
        with_graph(header, |json| {
            let conv = &mut json["nodes"][1]["op"]["conv"];
            let mut lists = vec![conv["weight_exponents"][0].clone(); 16];
            change(&mut lists);
            conv["weight_exponents"] = json!(lists);
            conv.as_object_mut().unwrap().remove("weight_offset");
        });
    };
    let bits = "node conv1: weight bits: expected 2 to 8";
    refused("no list with bits", bits, |header| lists(header, &|lists| lists.fill(json!([]))));
    refused("one empty list", bits, |header| lists(header, &|lists| *lists = vec![json!([])]));
    refused("a sign alone", bits, |header| lists(header, &|lists| lists[3] = json!([3])));
    refused("nine bits", bits, |header| {
        lists(header, &|lists| lists[3] = json!([0, 1, 2, 3, 4, 5, 6, 7, 8]))
    });
    let code = "weight code: expected a signed integer of 0 bits at position 5";
    refused("a weight without bits", code, |header| lists(header, &|lists| lists[5] = json!([])));
}

#[test]
fn weights_outside_their_bits_and_extra_tensors_are_refused() {
    let checkpoint = small();
    let (header, mut data) = split(&checkpoint.to_bytes());
    let start = header["conv1.u"]["data_offsets"][0].as_u64().unwrap() as usize;
    data[start] = 127;
    let error = Checkpoint::read_bytes(&join(&header, &data)).err().unwrap().to_string();
    assert!(error.contains("weights_blake3"), "{error}");

    let (mut header, mut data) = split(&checkpoint.to_bytes());
    header["extra.u"] = json!({"dtype": "I8", "shape": [1], "data_offsets": [data.len(), data.len() + 1]});
    data.push(0);
    let error = Checkpoint::read_bytes(&join(&header, &data)).err().unwrap().to_string();
    assert!(error.contains("extra.u"), "{error}");
}

#[test]
fn duplicate_header_keys_are_refused() {
    let bytes = small().to_bytes();
    let (header, data) = split(&bytes);
    let text = header.to_string();
    let twice = text.replacen("\"seed\":", "\"seed\":\"1\",\"seed\":", 1);
    let error = Checkpoint::read_bytes(&join_text(&twice, &data)).err().unwrap().to_string();
    assert!(error.contains("duplicate key \"seed\""), "{error}");
}

#[test]
fn a_failed_write_leaves_the_old_file_whole_and_no_part() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = small();
    let path = folder.path().join("missing").join("model.safetensors");
    let error = checkpoint.write(&path).unwrap_err().to_string();
    assert!(error.contains("write failed") && error.contains("model.safetensors"), "{error}");
    // A directory in the file's place: the rename fails, the directory stays.
    let taken = folder.path().join("taken");
    fs::create_dir(&taken).unwrap();
    assert!(checkpoint.write(&taken).unwrap_err().to_string().contains("rename failed"));
    assert!(taken.is_dir() && fs::read_dir(folder.path()).unwrap().count() == 1);
}

/// `/dev/full` refuses every write for want of room.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error_and_leaves_the_old_file_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    fs::write(&path, "old").unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.path().join("model.safetensors.part")).unwrap();
    let error = small().write(&path).unwrap_err().to_string();
    assert!(error.contains("No space left"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
}

/// One Winograd and one linear layer, a few thousand bytes.
fn small() -> Checkpoint {
    let spec = Spec::new([1, 4, 4], 2, vec![Block::Direct { kernel: 1, stride: 1 }]);
    random_checkpoint(4, &spec)
}

fn refused(kind: &str, words: &str, damage: impl Fn(&mut Value)) {
    let (mut header, data) = split(&small().to_bytes());
    damage(&mut header);
    let error = Checkpoint::read_bytes(&join(&header, &data)).err().map(|error| error.to_string());
    let error = error.unwrap_or_else(|| panic!("{kind} was accepted"));
    assert!(error.contains(words) && error.contains("checkpoint"), "{kind}: {error}");
}

/// Changes the graph and its checksum.
fn with_graph(header: &mut Value, change: impl Fn(&mut Value)) {
    let metadata = &mut header["__metadata__"];
    let mut graph: Value = serde_json::from_str(metadata["graph"].as_str().unwrap()).unwrap();
    change(&mut graph);
    metadata["graph"] = json!(graph.to_string());
    metadata["graph_blake3"] = json!(blake3::hash(graph.to_string().as_bytes()).to_hex().to_string());
}

fn split(bytes: &[u8]) -> (Value, Vec<u8>) {
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + len]).unwrap(), bytes[8 + len..].to_vec())
}

fn join(header: &Value, data: &[u8]) -> Vec<u8> {
    let sorted: BTreeMap<_, _> = header.as_object().unwrap().iter().collect();
    join_text(&serde_json::to_string(&sorted).unwrap(), data)
}

fn join_text(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}
