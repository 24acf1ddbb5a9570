//! `[bits]`: how many bits every layer has, and how its products are arranged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use eqo_checkpoints::arch::Arch;
use eqo_checkpoints::plan::{BitPlan, LayerPlan};
use eqo_checkpoints::winograd::Algorithm;
use serde::{Deserialize, Serialize};
use toml::Table;

use super::{RecipeError, keys, require};

/// `[bits]`: the same bits everywhere, then the plan's layers, then the overrides of single layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BitsSection {
    /// Bits of a weight, 2 to 8; first and last layer have 8.
    pub weight: u8,
    /// Bits of an activation, 2 to 8.
    pub activation: u8,
    /// How the products of convolutions are arranged where it fits, see [`Algorithm::beside`]: `direct`; `f2x2` or `f4x4` for 3x3
    /// kernels of stride 1; `p2x2` for those of stride 2, beside `f2x2`.
    pub algorithm: Algorithm,
    /// Whether weights of `bits.weight` bits lie half a step above their codes, see [`LayerPlan::mid_rise`].
    pub mid_rise: bool,
    /// Widest ring of the accumulators of all layers but the first and the last where the plan says nothing else, 8 to 40 bits; 0: as
    /// wide as their weights need. See [`LayerPlan::ring_bits`].
    pub ring: u8,
    /// A [`BitPlan`] as TOML, for some or all layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PathBuf>,
    /// Overrides of single layers, by node name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub layers: BTreeMap<String, LayerBits>,
}

/// `[bits.layers.<layer>]`: what differs in one layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LayerBits {
    /// Bits of a weight, 2 to 8, in the first and last layer too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u8>,
    /// Bits of the activation that the layer puts out, 2 to 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<u8>,
    /// Whether its weights lie half a step above their codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mid_rise: Option<bool>,
    /// Widest ring of its accumulators, 8 to 40 bits; 0: as wide as its weights need.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ring: Option<u8>,
    /// How its products are arranged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Algorithm>,
}

impl Default for BitsSection {
    fn default() -> Self {
        Self {
            weight: 4,
            activation: 6,
            algorithm: Algorithm::F2x2,
            mid_rise: false,
            ring: 0,
            plan: None,
            layers: BTreeMap::new(),
        }
    }
}

impl BitsSection {
    /// The plan in force for every layer of `arch`.
    ///
    /// # Errors
    /// [`RecipeError`] for a plan file that can't be read, or a layer that `arch` doesn't have.
    pub fn plan(&self, arch: &Arch) -> Result<BitPlan, RecipeError> {
        let mut plan = BitPlan::uniform(arch, self.weight, self.activation).with_tiles(arch, self.algorithm);
        for layer in plan.layers.values_mut().filter(|layer| layer.weight_bits == self.weight) {
            layer.mid_rise = self.mid_rise;
        }
        if let Some(path) = &self.plan {
            for (name, layer) in read_plan(path)? {
                *layer_of(&mut plan, arch, &name, &path.display().to_string())? = layer;
            }
        }
        let inner = arch.nodes.iter().filter(|node| plan.layers.contains_key(&node.name)).skip(1);
        let inner: Vec<String> = inner.map(|node| node.name.clone()).collect();
        for name in inner.iter().take(inner.len().saturating_sub(1)).filter(|_| self.ring > 0) {
            if let Some(layer) = plan.layers.get_mut(name) {
                layer.ring_bits.get_or_insert(self.ring);
            }
        }
        for (name, bits) in &self.layers {
            let layer = layer_of(&mut plan, arch, name, "bits.layers")?;
            let same = |&weight: &u8| layer.tap_bits.is_none() && weight == layer.weight_bits;
            if let Some(weight) = bits.weight.filter(|weight| !same(weight)) {
                // Re-weighted exponents and bits of taps belong to the number of bits they were chosen for.
                *layer = layer.clone().with_weight_bits(weight);
            }
            layer.act_bits = bits.activation.unwrap_or(layer.act_bits);
            layer.mid_rise = bits.mid_rise.unwrap_or(layer.mid_rise);
            layer.algorithm = bits.algorithm.unwrap_or(layer.algorithm);
            layer.ring_bits = bits.ring.map_or(layer.ring_bits, |ring| (ring > 0).then_some(ring));
        }
        Ok(plan)
    }

    pub(super) fn check(&self) -> Result<(), RecipeError> {
        let bits = |key: String, value: u8| require(key, "2 to 8", value, (2..=8).contains(&value));
        bits("bits.weight".to_owned(), self.weight)?;
        bits("bits.activation".to_owned(), self.activation)?;
        let ring = |key: String, value: u8| {
            require(key, "0, or 8 to 40", value, value == 0 || (8..=40).contains(&value))
        };
        ring("bits.ring".to_owned(), self.ring)?;
        for (name, layer) in &self.layers {
            let key = |part: &str| format!("bits.layers.{name:?}.{part}");
            layer.weight.map_or(Ok(()), |value| bits(key("weight"), value))?;
            layer.activation.map_or(Ok(()), |value| bits(key("activation"), value))?;
            layer.ring.map_or(Ok(()), |value| ring(key("ring"), value))?;
        }
        Ok(())
    }
}

/// The layers of a plan file.
fn read_plan(path: &Path) -> Result<BTreeMap<String, LayerPlan>, RecipeError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| RecipeError::Read { path: path.to_owned(), source })?;
    let fault = |message: String| RecipeError::Parse { origin: path.display().to_string(), message };
    let table: Table = text.parse().map_err(|error: toml::de::Error| fault(error.to_string()))?;
    if let Some(key) = table.keys().find(|key| *key != "layers") {
        return Err(fault(format!("expected tables [layers.<layer>] only, found `{key}`")));
    }
    let plan: BitPlan = toml::from_str(&text).map_err(|error| fault(error.to_string()))?;
    Ok(plan.layers)
}

fn layer_of<'a>(
    plan: &'a mut BitPlan,
    arch: &Arch,
    name: &str,
    origin: &str,
) -> Result<&'a mut LayerPlan, RecipeError> {
    let nearest = keys::nearest(plan.layers.keys(), name);
    plan.layers.get_mut(name).ok_or_else(|| RecipeError::UnknownLayer {
        origin: origin.to_owned(),
        layer: name.to_owned(),
        arch: arch.name.clone(),
        nearest,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Recipe;
    use super::*;

    fn arch() -> Arch {
        Arch::by_name("cifar-resnet8", 10).unwrap()
    }

    fn plan(text: &str) -> Result<BitPlan, RecipeError> {
        Recipe::parse(text, "test", &[]).and_then(|recipe| recipe.bits.plan(&arch()))
    }

    #[test]
    fn without_a_plan_it_is_the_uniform_one() {
        assert_eq!(plan("").unwrap(), BitPlan::uniform(&arch(), 4, 6));
        assert_eq!(plan("[bits]\nweight = 3\nactivation = 5").unwrap(), BitPlan::uniform(&arch(), 3, 5));
    }

    #[test]
    fn the_algorithm_is_that_of_3x3_convolutions_where_it_fits() {
        let direct = plan("[bits]\nalgorithm = \"direct\"").unwrap();
        assert!(direct.layers.values().all(|layer| layer.algorithm == Algorithm::Direct));
        let tiled = plan("").unwrap();
        assert_eq!(tiled.layers["layer1.0.conv1"].algorithm, Algorithm::F2x2);
        assert_eq!(tiled.layers["layer2.0.conv1"].algorithm, Algorithm::Direct);
        let phases = plan("[bits]\nalgorithm = \"p2x2\"").unwrap();
        assert_eq!(phases.layers["layer1.0.conv1"].algorithm, Algorithm::F2x2);
        assert_eq!(phases.layers["layer2.0.conv1"].algorithm, Algorithm::P2x2);
    }

    #[test]
    fn a_ring_is_for_all_layers_but_the_first_and_the_last_and_for_single_ones() {
        let found = plan("[bits]\nring = 15\n[bits.layers.linear]\nring = 20").unwrap();
        let rings = |name: &str| found.layers[name].ring_bits;
        assert_eq!([rings("conv1"), rings("linear")], [None, Some(20)]);
        let inner = found.layers.iter().filter(|(name, _)| !["conv1", "linear"].contains(&name.as_str()));
        assert!(inner.map(|(_, layer)| layer.ring_bits).all(|ring| ring == Some(15)));
        for text in ["[bits]\nring = 7", "[bits.layers.conv1]\nring = 41"] {
            assert!(plan(text).unwrap_err().to_string().contains("8 to 40"));
        }
    }

    #[test]
    fn mid_rise_is_for_weights_of_the_recipes_bits_and_single_layers() {
        let found =
            plan("[bits]\nweight = 2\nmid_rise = true\n[bits.layers.linear]\nmid_rise = true").unwrap();
        let pinned: Vec<&str> =
            found.layers.iter().filter(|(_, layer)| !layer.mid_rise).map(|(name, _)| name.as_str()).collect();
        assert_eq!(pinned, ["conv1"]);
    }

    #[test]
    fn a_single_layer_is_overridden_and_the_rest_stays() {
        let text = "[bits.layers.\"layer1.0.conv1\"]\nweight = 2\nalgorithm = \"direct\"\n\
                    [bits.layers.conv1]\nweight = 6\nactivation = 3";
        let mut want = BitPlan::uniform(&arch(), 4, 6);
        let layer = want.layers.get_mut("layer1.0.conv1").unwrap();
        (layer.weight_bits, layer.algorithm) = (2, Algorithm::Direct);
        let first = want.layers.get_mut("conv1").unwrap();
        (first.weight_bits, first.act_bits) = (6, 3);
        assert_eq!(plan(text).unwrap(), want);
        let set =
            ["bits.layers.\"layer1.0.conv1\".weight=2", "bits.layers.\"layer1.0.conv1\".algorithm=direct"]
                .map(String::from);
        let recipe = Recipe::parse("", "test", &set).unwrap();
        assert_eq!(
            recipe.bits.plan(&arch()).unwrap().layers["layer1.0.conv1"],
            want.layers["layer1.0.conv1"]
        );
        assert_eq!(Recipe::parse(&recipe.to_toml(), "test", &[]).unwrap(), recipe);
    }

    #[test]
    fn a_plan_file_gives_its_layers_and_overrides_come_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.toml");
        let mut want = BitPlan::uniform(&arch(), 3, 4);
        want.layers.remove("linear");
        for (name, exponents) in [("conv1", (0..8).collect()), ("layer1.0.conv1", vec![0, 1, 3])] {
            want.layers.get_mut(name).unwrap().exponents = Some(exponents);
        }
        std::fs::write(&path, toml::to_string(&want).unwrap()).unwrap();
        let section = format!("[bits]\nplan = {:?}\n[bits.layers.conv1]\nweight = 7", path.to_str().unwrap());
        let found = plan(&section).unwrap();
        let first = want.layers.get_mut("conv1").unwrap();
        (first.weight_bits, first.exponents) = (7, None);
        want.layers.insert("linear".to_owned(), BitPlan::uniform(&arch(), 4, 6).layers["linear"].clone());
        assert_eq!(found, want);
        for (text, parts) in [
            ("[layers.conv9]\nalgorithm = \"direct\"\nweight_bits = 3\nact_bits = 4", ["conv9", "`conv1`"]),
            ("[layres.conv1]\nweight_bits = 3", ["layres", "[layers.<layer>]"]),
            ("[layers.conv1]\nweight_bits = 3", ["plan.toml", "algorithm"]),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = plan(&section).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
    }

    #[test]
    fn unknown_layers_keys_and_values_are_refused_by_name() {
        for (text, parts) in [
            ("[bits.layers.\"layer1.0.conv3\"]\nweight = 2", ["layer1.0.conv3", "`layer1.0.conv"]),
            ("[bits.layers.conv1]\nwieght = 2", ["wieght", "`bits.layers.<layer>.weight`"]),
            ("[bits.layers.conv1]\nweight = 1", ["bits.layers.\"conv1\".weight", "2 to 8"]),
            ("[bits]\nalgorithm = \"f3x3\"", ["f3x3", "f2x2"]),
        ] {
            let error = plan(text).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
    }
}
