//! Quantization-aware training in phases: every one is trained, resumed and cached by itself.

use std::time::Instant;

use eqo_checkpoints::plan::BitPlan;
use eqo_train::qat::{BatchNorm, Domain};
use eqo_train::recipe::FitSection;
use eqo_train::tensors::NamedTensors;
use eqo_train::{Classifier, QatNet, fit, import};

use super::{Hooks, Pipeline};
use crate::rings::{self, Rings};
use crate::stages::{hash_inputs, hash_tensors};
use crate::{Error, fold};

/// Counts up when the gradients change: what was trained by an earlier rule isn't taken for finished, or resumed. 2: weights
/// are clipped half a step beyond their outermost value.
const RULE: u32 = 2;

/// One training at one plan.
pub(super) struct Phase {
    /// `qat-8`, `qat-6`, …, and `qat` for the last.
    pub(super) stage: String,
    pub(super) section: FitSection,
    pub(super) plan: BitPlan,
    /// Hash of whatever decides its network.
    inputs: String,
}

impl Pipeline {
    /// Fine-tunes the quantized network from the float one into `<out>/qat.safetensors`, phase by phase
    /// (`qat.gradual`: `<out>/qat-8.safetensors`, …).
    ///
    /// # Errors
    /// As [`Pipeline::train_float`].
    pub fn train_qat(&mut self, hooks: &Hooks<'_>) -> Result<QatNet, Error> {
        let float = self.train_float(hooks)?;
        self.train_qat_from(&float, hooks)
    }

    pub(super) fn train_qat_from(
        &mut self,
        float: &NamedTensors,
        hooks: &Hooks<'_>,
    ) -> Result<QatNet, Error> {
        let phases = self.phases();
        let is_fresh =
            |phase: &Phase| self.stages.is_fresh(&phase.stage, &phase.inputs, &self.weights_of(phase));
        let fresh = phases.iter().rposition(is_fresh);
        let mut net = match fresh {
            Some(last) => self.read_phase(&phases[last])?,
            None => self.calibrated(float, &phases[0].plan)?,
        };
        for phase in phases.iter().skip(fresh.map_or(0, |last| last + 1)) {
            net = self.train_phase(phase, &net, float, hooks)?;
        }
        Ok(net)
    }

    /// The phases in order; never empty.
    pub(super) fn phases(&self) -> Vec<Phase> {
        let (qat, bits) = (&self.recipe.qat, &self.recipe.qat.gradual);
        let gradual =
            bits.iter().map(|&bits| (format!("qat-{bits}"), qat.phase(), at_least(&self.plan, bits)));
        let last = ("qat".to_owned(), qat.fit.clone(), self.plan.clone());
        let mut inputs = hash_inputs(&[&self.float_inputs, &qat.domain, &qat.batch_norm, &RULE]);
        let phase = |(stage, section, plan): (String, FitSection, BitPlan)| {
            inputs = hash_inputs(&[&inputs, &section, &plan]);
            if self.rings(&plan).asked() {
                inputs = hash_inputs(&[&inputs, &rings::RULE]);
            }
            Phase { stage, section, plan, inputs: inputs.clone() }
        };
        gradual.chain([last]).map(phase).collect()
    }

    /// The quantized network before any training.
    pub(super) fn calibrated(&self, float: &NamedTensors, plan: &BitPlan) -> Result<QatNet, Error> {
        let net = self.folded(float, plan)?;
        let net = match self.recipe.qat.batch_norm {
            BatchNorm::Folded => net,
            BatchNorm::Live => net.with_live_normalization(float)?,
        };
        match self.recipe.qat.domain {
            Domain::Spatial => Ok(net),
            Domain::Winograd => Ok(net.in_winograd_domain()?),
        }
    }

    /// The float network with its normalizations folded in, quantized; its weights are kernels.
    pub(super) fn folded(&self, float: &NamedTensors, plan: &BitPlan) -> Result<QatNet, Error> {
        let normalization = self.normalization();
        let folded = fold::fold(&self.arch, float, &normalization)?;
        let calibration = &self.images.calibration;
        Ok(QatNet::from_folded(&self.arch, plan, &folded, normalization, calibration, &self.device)?)
    }

    fn train_phase(
        &mut self,
        phase: &Phase,
        previous: &QatNet,
        float: &NamedTensors,
        hooks: &Hooks<'_>,
    ) -> Result<QatNet, Error> {
        self.stages.start(&phase.stage)?;
        let started = Instant::now();
        let start =
            if *previous.plan() == phase.plan { previous.clone() } else { previous.replan(&phase.plan)? };
        let rings = self.rings(&phase.plan);
        let mut net = rings.within(&start)?;
        if phase.section.steps > 0 {
            let teacher = self.float_net(float)?;
            let teacher = |pixels| teacher.logits(pixels);
            let (start, float) = (hash_tensors(&net.to_tensors()), hash_tensors(float));
            let rule = (RULE, rings.asked().then_some(rings::RULE));
            let identity = hash_inputs(&[&self.arch, &phase.plan, &start, &float, &rule]);
            let config = self.fit_config(&phase.section, &phase.stage, identity);
            let project = |tensors: &NamedTensors| rings.projected(&net, tensors);
            let project = rings.asked().then_some(&project as fit::Project<'_>);
            net = self.fit(&phase.stage, net.clone(), Some(&teacher), (&config, project), hooks)?;
        }
        import::save_tensors(&self.weights_of(phase), &net.to_tensors(), &[("arch", &self.arch.name)])?;
        self.finish(&phase.stage, &phase.inputs, started)?;
        Ok(net)
    }

    /// What training at `plan` keeps to.
    pub(super) fn rings<'a>(&'a self, plan: &'a BitPlan) -> Rings<'a> {
        let (normalization, classes) = (self.normalization(), self.images.train.classes());
        Rings { arch: &self.arch, plan, normalization, classes }
    }

    fn read_phase(&self, phase: &Phase) -> Result<QatNet, Error> {
        let path = self.weights_of(phase);
        let (tensors, origin) = (import::read_tensors(&path)?, path.display().to_string());
        let normalization = self.normalization();
        Ok(QatNet::from_tensors(&self.arch, &phase.plan, normalization, &tensors, &origin, &self.device)?)
    }

    fn weights_of(&self, phase: &Phase) -> std::path::PathBuf {
        self.out.join(format!("{}.safetensors", phase.stage))
    }
}

/// `plan` with at least `bits` bits a weight: layers that are pinned to more keep theirs.
fn at_least(plan: &BitPlan, bits: u8) -> BitPlan {
    let mut plan = plan.clone();
    for layer in plan.layers.values_mut() {
        // More bits may need more than the ring of the last phase.
        layer.ring_bits = None;
        if let Some(tap_bits) = &mut layer.tap_bits {
            tap_bits.iter_mut().for_each(|own| *own = bits.max(*own));
            layer.weight_bits = bits.max(layer.weight_bits);
        } else if layer.weight_bits < bits {
            // Re-weighted exponents are those of the last phase.
            *layer = layer.clone().with_weight_bits(bits);
        }
    }
    plan
}
