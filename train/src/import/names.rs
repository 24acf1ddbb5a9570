//! State dicts of other projects for the same networks: what their names and shapes are here.

use std::collections::BTreeMap;

use crate::tensors::NamedTensors;

/// Parts of names with one meaning: akamaster and kuangliu (CIFAR) write `shortcut` and `linear`, torchvision and chenyaofo
/// `downsample`, `fc` and `classifier.6`, timm `head.fc` and `pre_logits`.
const SYNONYMS: [&[&str]; 4] = [
    &["shortcut", "downsample"],
    &["linear", "fc", "head.fc", "classifier", "classifier.6"],
    &["classifier.0", "pre_logits.fc1"],
    &["classifier.3", "pre_logits.fc2"],
];

/// The tensors under the names and in the shapes that `expected` has; what has no place there stays as it is.
///
/// - a prefix that all names share is removed if the network has some of the names without it;
/// - [`SYNONYMS`] are exchanged where the file lacks an expected name and has its synonym;
/// - a fully connected `[out, channels·k·k]` becomes the convolution `[out, channels, k, k]` that reads the same values, and a
///   1x1 convolution the fully connected layer it is.
pub(super) fn adapt(expected: &BTreeMap<String, Vec<usize>>, found: NamedTensors) -> NamedTensors {
    let mut tensors = without_common_prefix(expected, found);
    for (name, shape) in expected {
        if !tensors.contains_key(name)
            && let Some(other) = synonyms(name).find(|other| is_spare(expected, &tensors, other))
            && let Some(tensor) = tensors.remove(&other)
        {
            tensors.insert(name.clone(), tensor);
        }
        if let Some(tensor) = tensors.get_mut(name)
            && is_reshaped(tensor.shape(), shape)
        {
            // Moved, not copied: VGG's first linear layer has 400 MB.
            let values = std::mem::take(tensor).into_shape_with_order(shape.as_slice());
            *tensor = values.unwrap_or_default();
        }
    }
    tensors
}

fn is_spare(expected: &BTreeMap<String, Vec<usize>>, tensors: &NamedTensors, name: &str) -> bool {
    tensors.contains_key(name) && !expected.contains_key(name)
}

fn without_common_prefix(expected: &BTreeMap<String, Vec<usize>>, found: NamedTensors) -> NamedTensors {
    let first = |name: &String| name.split_once('.').map(|(first, _)| format!("{first}."));
    let Some(prefix) = found.keys().next().and_then(first) else { return found };
    let inner = |name: &String| name.strip_prefix(&prefix).is_some_and(|inner| expected.contains_key(inner));
    if !found.keys().all(|name| name.starts_with(&prefix)) || !found.keys().any(inner) {
        return found;
    }
    found.into_iter().map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor)).collect()
}

/// `name` with a whole part of it replaced by each of its synonyms.
fn synonyms(name: &str) -> impl Iterator<Item = String> {
    let dotted = format!(".{name}.");
    SYNONYMS.iter().flat_map(move |set| {
        let dotted = dotted.clone();
        let pairs = set.iter().flat_map(|from| set.iter().map(move |to| (*from, *to)));
        pairs.filter(|(from, to)| from != to).filter_map(move |(from, to)| {
            let replaced = dotted.replacen(&format!(".{from}."), &format!(".{to}."), 1);
            (replaced != dotted).then(|| replaced.trim_matches('.').to_owned())
        })
    })
}

/// Whether both shapes are of one linear map in the same order: a full window's kernel and its rows.
fn is_reshaped(found: &[usize], expected: &[usize]) -> bool {
    let rows = |shape: &[usize]| shape.iter().skip(1).product::<usize>();
    let sides = found.len().min(expected.len()) == 2 && found.len().max(expected.len()) == 4;
    sides && found[0] == expected[0] && rows(found) == rows(expected)
}

#[cfg(test)]
mod tests {
    use ndarray::ArrayD;

    use super::*;

    fn tensors(names: &[(&str, &[usize])]) -> NamedTensors {
        let tensor = |shape: &[usize]| {
            let count = shape.iter().product::<usize>();
            ArrayD::from_shape_vec(shape, (0..count).map(|at| at as f32).collect()).unwrap()
        };
        names.iter().map(|&(name, shape)| (name.to_owned(), tensor(shape))).collect()
    }

    fn adapted(expected: &[(&str, &[usize])], found: &[(&str, &[usize])]) -> Vec<(String, Vec<usize>)> {
        let expected = expected.iter().map(|&(name, shape)| (name.to_owned(), shape.to_vec())).collect();
        let found = adapt(&expected, tensors(found));
        found.iter().map(|(name, tensor)| (name.clone(), tensor.shape().to_vec())).collect()
    }

    #[test]
    fn projections_and_heads_are_found_under_every_projects_name() {
        for (here, there) in [
            ("layer2.0.downsample.0.weight", "layer2.0.shortcut.0.weight"),
            ("layer2.0.shortcut.1.running_mean", "layer2.0.downsample.1.running_mean"),
            ("fc.bias", "linear.bias"),
            ("linear.weight", "head.fc.weight"),
            ("classifier.weight", "linear.weight"),
            ("classifier.6.bias", "head.fc.bias"),
            ("classifier.0.weight", "pre_logits.fc1.weight"),
            ("classifier.3.bias", "pre_logits.fc2.bias"),
        ] {
            assert_eq!(adapted(&[(here, &[2])], &[(there, &[2])]), [(here.to_owned(), vec![2])]);
        }
    }

    #[test]
    fn nothing_is_renamed_that_the_network_has_itself() {
        let both: [(&str, &[usize]); 2] = [("linear.weight", &[2]), ("fc.weight", &[3])];
        assert_eq!(adapted(&both, &both[1..]), [("fc.weight".to_owned(), vec![3])]);
        assert_eq!(adapted(&both[..1], &both).len(), 2);
    }

    #[test]
    fn a_prefix_of_all_names_is_removed_where_the_network_has_the_rest() {
        let file: [(&str, &[usize]); 2] = [("backbone.conv1.weight", &[2]), ("backbone.fc.bias", &[3])];
        let names = |expected: &[(&str, &[usize])]| -> Vec<String> {
            adapted(expected, &file).into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names(&[("conv1.weight", &[2])]), ["conv1.weight", "fc.bias"]);
        assert_eq!(names(&[("backbone.conv1.weight", &[2])]), ["backbone.conv1.weight", "backbone.fc.bias"]);
    }

    #[test]
    fn a_fully_connected_layer_is_the_convolution_over_its_whole_window() {
        let expected = [("head".to_owned(), vec![2, 3, 2, 2])].into();
        let found = adapt(&expected, tensors(&[("head", &[2, 12])]));
        assert_eq!(found["head"], tensors(&[("head", &[2, 3, 2, 2])])["head"]);
        assert_eq!(adapted(&[("fc", &[2, 3])], &[("fc", &[2, 3, 1, 1])]), [("fc".to_owned(), vec![2, 3])]);
        // Another number of inputs, another rank, another order: left for the check to refuse.
        for shape in [&[2, 11][..], &[12, 2], &[24]] {
            assert_eq!(
                adapted(&[("head", &[2, 3, 2, 2])], &[("head", shape)]),
                [("head".to_owned(), shape.to_vec())]
            );
        }
    }
}
