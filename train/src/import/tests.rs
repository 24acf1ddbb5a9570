use ndarray::ArrayD;

use super::*;

fn two_tensors() -> NamedTensors {
    let values = |count: usize| (0..count).map(|i| i as f32 * 0.37 - 1.0).collect();
    let weight = ArrayD::from_shape_vec(vec![2, 3], values(6)).unwrap();
    let bias = ArrayD::from_shape_vec(vec![2], values(2)).unwrap();
    [("module.linear.weight", weight), ("linear.bias", bias)]
        .map(|(name, array)| (name.to_owned(), array))
        .into()
}

#[test]
fn saved_tensors_come_back_without_the_parallel_prefix_and_leave_no_part_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    save_tensors(&path, &two_tensors(), &[("arch", "tiny")]).unwrap();
    let read = read_tensors(&path).unwrap();
    assert_eq!(read.keys().collect::<Vec<_>>(), ["linear.bias", "linear.weight"]);
    assert_eq!(read["linear.weight"], two_tensors()["module.linear.weight"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let bytes = fs::read(&path).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(metadata.metadata().as_ref().unwrap()["arch"], "tiny");
}

#[test]
fn damaged_and_missing_files_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [("a.safetensors", b"not a file".as_slice()), ("b.pth", b"neither"), ("c.th", b"")] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let message = read_tensors(&path).unwrap_err().to_string();
        assert!(message.contains(name), "{message}");
    }
    assert!(matches!(read_tensors(&folder.path().join("absent.pth")), Err(Error::Io { .. })));
}

#[test]
fn integer_tensors_are_refused_and_counters_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let data = 7_i64.to_le_bytes();
    let write = |name: &str| {
        let view = TensorView::new(Dtype::I64, vec![1], &data).unwrap();
        fs::write(&path, safetensors::serialize([(name, view)], None).unwrap()).unwrap();
        read_tensors(&path)
    };
    assert!(write("bn.num_batches_tracked").unwrap().is_empty());
    assert!(write("conv.weight").unwrap_err().to_string().contains("conv.weight"));
}
