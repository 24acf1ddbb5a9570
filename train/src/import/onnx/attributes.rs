//! What a node's attributes say, in the forms that an [`eqo_checkpoints::arch::Arch`] has.

use super::Refusal;
use super::proto::{Attribute, Node};

/// Kernel, stride, padding.
pub(super) type Sizes = [usize; 3];

/// Largest kernel, stride and padding of the integer engine ([`eqo_checkpoints::graph`]): refused before any training.
const LARGEST: Sizes = [15, 8, 7];
/// More than any of these.
const TOO_LARGE: i64 = 1 << 12;

impl Node {
    /// How errors call the node.
    pub(super) fn label(&self) -> String {
        match (self.name.as_str(), self.output.first()) {
            ("", Some(output)) => format!("{} that gives {output}", self.op_type),
            (name, _) => format!("{} ({})", name, self.op_type),
        }
    }

    /// The name of input `at`; absent if it is left out.
    pub(super) fn input(&self, at: usize) -> Option<&str> {
        self.input.get(at).map(String::as_str).filter(|name| !name.is_empty())
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attribute.iter().find(|attribute| attribute.name == name)
    }

    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.i)
    }

    pub(super) fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).map_or(default, |attribute| attribute.f)
    }

    /// Refuses an attribute with another value than `expected`, which is what its absence means.
    pub(super) fn require(&self, name: &str, expected: i64) -> Result<(), Refusal> {
        let found = self.int(name, expected);
        if found == expected { Ok(()) } else { Err(self.refuse(format!("{name} = {expected}"), found)) }
    }

    /// Kernel, stride and padding of square windows that lie on `[height, width]`. `kernel`: that of the weights, or
    /// nothing if an attribute has it.
    pub(super) fn sizes(&self, kernel: Option<usize>, map: [usize; 2]) -> Result<Sizes, Refusal> {
        self.require("ceil_mode", 0)?;
        self.alike("dilations", 1).and_then(|dilation| match dilation {
            1 => Ok(()),
            other => Err(self.refuse("dilations of 1".to_owned(), other)),
        })?;
        let automatic = self.attribute("auto_pad").map_or("NOTSET".into(), |a| String::from_utf8_lossy(&a.s));
        let padding = match automatic.as_ref() {
            "NOTSET" | "" => self.alike("pads", 0)?,
            "VALID" => 0,
            other => return Err(self.refuse("auto_pad NOTSET or VALID".to_owned(), other)),
        };
        let kernel = kernel.map_or_else(|| self.alike("kernel_shape", 1), Ok)?;
        let stride = self.alike("strides", 1)?;
        let sizes = [kernel, stride, padding];
        let fits = map.iter().all(|side| side + 2 * padding >= kernel);
        let small = sizes.iter().zip(LARGEST).all(|(&size, largest)| size <= largest);
        if kernel == 0 || stride == 0 || padding >= kernel || !fits || !small {
            let found = format!("kernel {kernel}, stride {stride}, padding {padding} on {map:?}");
            let expected = format!(
                "windows within the padded map, padding below the kernel, kernel, stride and padding at most {LARGEST:?}"
            );
            return Err(self.refuse(expected, found));
        }
        Ok(sizes)
    }

    /// The number that all of a list are.
    fn alike(&self, name: &str, default: usize) -> Result<usize, Refusal> {
        let Some(list) = self.attribute(name).map(|attribute| &attribute.ints) else { return Ok(default) };
        let first = list.first().copied().filter(|first| (0..TOO_LARGE).contains(first));
        match first.filter(|first| list.iter().all(|other| other == first)) {
            Some(first) => Ok(usize::try_from(first).unwrap_or(default)),
            None => Err(self.refuse(
                format!("{name} that are alike in both directions and on all sides"),
                format!("{list:?}"),
            )),
        }
    }

    pub(super) fn refuse(&self, expected: String, found: impl ToString) -> Refusal {
        Refusal::new(&self.label(), expected, found.to_string(), PLAIN)
    }
}

/// What is understood.
pub(super) const PLAIN: &str = "see docs/training.md for the networks that can be imported";
