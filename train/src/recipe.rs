//! The recipe: one TOML file that says what to train and how; see `configs/README.md` for a table of every key.
//!
//! Unknown keys are refused with the nearest valid one; `--set section.key=value` overrides any key.

use std::path::{Path, PathBuf};

use eqo_checkpoints::arch::Arch;
use serde::{Deserialize, Serialize};

use crate::import;

mod bits;
mod error;
mod fit;
mod keys;
mod plan;

pub use bits::{BitsSection, LayerBits};
pub use error::RecipeError;
pub use fit::{FitSection, Keep, OptimizerKind, QatSection};
pub use plan::{CurvatureKind, Measure, PlanSection};

/// A whole recipe; every field has a default except where noted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// Name of the run; outputs go to `runs/<name>` unless `--out` is given.
    pub name: String,
    /// Seed of everything random: initial weights, order of images, augmentation, splits.
    pub seed: u64,
    /// A name of [`crate::device::DEVICES`].
    pub device: String,
    /// The network.
    pub model: ModelSection,
    /// Images.
    pub data: DataSection,
    /// Float (fine-)tuning; `steps = 0` skips it.
    pub float: FitSection,
    /// Winograd-domain quantization-aware fine-tuning; `steps = 0` quantizes after calibration only.
    pub qat: QatSection,
    /// Bit widths and algorithms.
    pub bits: BitsSection,
    /// How `eqo plan` chooses them.
    pub plan: PlanSection,
}

/// `[model]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSection {
    /// An architecture name, see [`eqo_checkpoints::arch::Arch::NAMES`], or `onnx`: that of `weights`.
    pub arch: String,
    /// Pretrained float weights (`.safetensors`, `.th`, `.pth`, `.onnx`); absent means random initial weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
}

impl ModelSection {
    /// The network's architecture for images of so many classes, see [`crate::import::architecture`].
    ///
    /// # Errors
    /// Those of [`crate::import::architecture`].
    pub fn architecture(&self, classes: Option<usize>) -> crate::Result<Arch> {
        import::architecture(&self.arch, self.weights.as_deref(), classes)
    }
}

/// Where images come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataKind {
    /// `train` and `test` are image folders with one sub-folder a class.
    Folder,
    /// `train` is the directory of the CIFAR-10 binaries.
    Cifar10,
    /// `train` is the directory of the CIFAR-100 binaries.
    Cifar100,
    /// The built-in seeded set; paths are ignored.
    Synthetic,
}

/// `[data]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSection {
    /// What kind of set.
    pub kind: DataKind,
    /// Training images (folder, or directory of the binaries).
    pub train: PathBuf,
    /// Test images (folder; unused for the other kinds).
    pub test: PathBuf,
    /// Images generated for training (synthetic only).
    pub train_images: usize,
    /// Images generated for testing (synthetic only).
    pub test_images: usize,
    /// Images of the training set that are held out of training and validate it; 0 means none.
    pub validation_images: usize,
    /// Images of the training set used to choose activation scales and to verify the lowering.
    pub calibration_images: usize,
    /// Mean of each channel of x/255.
    pub mean: [f32; 3],
    /// Standard deviation of each channel of x/255.
    pub std: [f32; 3],
    /// Count and skip images that can't be decoded instead of stopping.
    pub skip_corrupt: bool,
    /// Pixels to which the shorter side of training images is brought before a square of it is cut out (folder only); 0:
    /// the network's size.
    pub train_resize: usize,
    /// The same for test images, of which a square of the network's size is cut out; 0: the network's size.
    pub test_resize: usize,
    /// Where decoded image folders are kept, see [`eqo_datasets::cache::CachePlace::from_setting`].
    pub cache: String,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            name: "unnamed".to_owned(),
            seed: 1,
            device: "flex".to_owned(),
            model: ModelSection::default(),
            data: DataSection::default(),
            float: FitSection::default(),
            qat: QatSection::default(),
            bits: BitsSection::default(),
            plan: PlanSection::default(),
        }
    }
}

impl Default for ModelSection {
    fn default() -> Self {
        Self { arch: "cifar-resnet20".to_owned(), weights: None }
    }
}

impl Default for DataSection {
    fn default() -> Self {
        Self {
            kind: DataKind::Synthetic,
            train: "datasets/data/cifar10/train".into(),
            test: "datasets/data/cifar10/test".into(),
            train_images: 8000,
            test_images: 1000,
            validation_images: 0,
            calibration_images: 512,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
            skip_corrupt: false,
            train_resize: 0,
            test_resize: 0,
            cache: "auto".to_owned(),
        }
    }
}

impl Recipe {
    /// Reads a recipe and applies `overrides` (`section.key=value`, the value in TOML or a bare string).
    ///
    /// # Errors
    /// [`RecipeError`]: unreadable file, TOML mistake, unknown key, value out of range.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self, RecipeError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| RecipeError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, &path.display().to_string(), overrides)
    }

    /// Like [`Recipe::read`] for text that comes from `origin`.
    ///
    /// # Errors
    /// As [`Recipe::read`].
    pub fn parse(text: &str, origin: &str, overrides: &[String]) -> Result<Self, RecipeError> {
        let parse_error = |error: &dyn std::fmt::Display| RecipeError::Parse {
            origin: origin.to_owned(),
            message: error.to_string(),
        };
        let mut written: toml::Table = text.parse().map_err(|error: toml::de::Error| parse_error(&error))?;
        keys::refuse_unknown(&written, origin)?;
        for assignment in overrides {
            keys::assign(&mut written, assignment)?;
        }
        // Over the defaults of the whole recipe, because those of `[float]` and `[qat]` differ.
        let mut table = toml::Table::try_from(Self::default()).map_err(|error| parse_error(&error))?;
        keys::merge(&mut table, written);
        let recipe: Self = table.try_into().map_err(|error: toml::de::Error| parse_error(&error))?;
        recipe.check()?;
        Ok(recipe)
    }

    /// The recipe as TOML with every key in force, as it is kept beside the outputs.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }

    fn check(&self) -> Result<(), RecipeError> {
        self.bits.check()?;
        self.plan.check()?;
        require("name", "letters, digits, '.', '_' or '-'", &self.name, keys::is_plain(&self.name))?;
        let positive = self.data.std.iter().all(|&std| std > 0.0 && std.is_finite());
        require("data.std", "three positive numbers", format!("{:?}", self.data.std), positive)?;
        let in_range = self.data.mean.iter().all(|mean| (0.0..=1.0).contains(mean));
        require("data.mean", "three numbers from 0 to 1", format!("{:?}", self.data.mean), in_range)?;
        require(
            "data.calibration_images",
            "at least 1",
            self.data.calibration_images,
            self.data.calibration_images > 0,
        )?;
        self.float.check("float")?;
        self.qat.check(self.bits.weight)
    }
}

fn require(
    key: impl Into<String>,
    expected: &'static str,
    found: impl ToString,
    holds: bool,
) -> Result<(), RecipeError> {
    if holds {
        Ok(())
    } else {
        Err(RecipeError::Value { key: key.into(), expected, found: found.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_recipe_is_the_default_and_round_trips() {
        let recipe = Recipe::parse("", "test", &[]).unwrap();
        assert_eq!(recipe, Recipe::default());
        assert_eq!(Recipe::parse(&recipe.to_toml(), "test", &[]).unwrap(), recipe);
    }

    #[test]
    fn a_section_that_is_written_keeps_the_defaults_of_its_other_keys() {
        let recipe = Recipe::parse("[qat]\nsteps = 7\n[float]\nsteps = 8", "test", &[]).unwrap();
        assert_eq!((recipe.qat.fit.steps, recipe.qat.fit.distill_weight), (7, 1.0));
        assert_eq!((recipe.float.steps, recipe.float.distill_weight), (8, 0.0));
    }

    #[test]
    fn gradual_bits_fall_and_stay_above_the_last() {
        let parse = |text: &str| Recipe::parse(text, "test", &[]).map(|recipe| recipe.qat);
        let qat = parse("[qat]\ngradual = [8, 6]\ngradual_steps = 50\nwarmup_steps = 60").unwrap();
        assert_eq!(qat.gradual, [8, 6]);
        let phase = qat.phase();
        assert_eq!((phase.steps, phase.warmup_steps), (50, 5));
        for wrong in ["[6, 8]", "[8, 8]", "[6, 4]", "[9]", "[8, 3]"] {
            let error = parse(&format!("[qat]\ngradual = {wrong}")).unwrap_err().to_string();
            assert!(error.contains("qat.gradual"), "{error}");
        }
        assert!(parse("[qat]\ngradual = [8]\ngradual_steps = 0").is_err());
        assert!(Recipe::parse("[float]\ngradual = [8]", "test", &[]).is_err());
    }

    #[test]
    fn a_misspelt_key_is_refused_with_the_nearest_one() {
        let error = Recipe::parse("[qat]\nlearning_rat = 0.1", "r.toml", &[]).unwrap_err().to_string();
        assert!(
            error.contains("r.toml")
                && error.contains("`qat.learning_rat`")
                && error.contains("`qat.learning_rate`"),
            "{error}"
        );
        let error = Recipe::parse("[bitz]\nweight = 4", "r.toml", &[]).unwrap_err().to_string();
        assert!(error.contains("`bitz`") && error.contains("`bits`"), "{error}");
    }

    #[test]
    fn the_table_in_configs_has_every_key() {
        let table = include_str!("../../configs/README.md");
        for key in keys::known_keys() {
            let row = match key.strip_prefix("float").or_else(|| key.strip_prefix("qat")) {
                Some(rest) => rest.to_owned(),
                None => key,
            };
            assert!(
                row.is_empty() || table.contains(&format!("{row}`")) || table.contains(&format!("[{row}]")),
                "{row}"
            );
        }
    }

    #[test]
    fn overrides_set_any_key_and_are_checked_like_the_file() {
        let overrides =
            ["bits.weight=2", "model.weights=a/b.th", "name=\"x\"", "float.flip=false"].map(String::from);
        let recipe = Recipe::parse("", "test", &overrides).unwrap();
        assert_eq!((recipe.bits.weight, recipe.name.as_str(), recipe.float.flip), (2, "x", false));
        assert_eq!(recipe.model.weights, Some(PathBuf::from("a/b.th")));
        for wrong in ["bits.weigth=2", "bits.weight=9", "bits.weight=many", "bits", "bits.weight.x=1"] {
            assert!(Recipe::parse("", "test", &[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }
}
