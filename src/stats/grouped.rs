//! Values in groups: repetitions by the process that measured them.

use super::{Sample, SampleError};

/// One or more groups of values, in the order measured. Values of a group share what a process has by chance and keeps:
/// where its memory lies, which cores it got, what the machine did meanwhile.
#[derive(Clone, Debug, PartialEq)]
pub struct Grouped {
    groups: Vec<Sample>,
}

impl Grouped {
    /// Takes the groups; empty ones are left out.
    ///
    /// # Errors
    /// When no group has a value, or one is not finite.
    pub fn new(groups: Vec<Vec<f64>>) -> Result<Self, SampleError> {
        let groups: Vec<Sample> =
            groups.into_iter().filter(|g| !g.is_empty()).map(Sample::new).collect::<Result<_, _>>()?;
        if groups.is_empty() { Err(SampleError::Empty) } else { Ok(Self { groups }) }
    }

    /// How many groups there are.
    pub fn count(&self) -> usize {
        self.groups.len()
    }

    /// All values as one sample.
    pub fn all(&self) -> Sample {
        let values: Vec<f64> = self.groups.iter().flat_map(|g| g.values()).copied().collect();
        // OK because groups are samples: not empty, and finite.
        Sample::new(values).expect("groups have values")
    }

    /// The logarithm of each group's median; `None` where one is not positive.
    pub(super) fn log_medians(&self) -> Option<Vec<f64>> {
        self.groups.iter().map(|g| Some(g.median()).filter(|m| *m > 0.0).map(f64::ln)).collect()
    }
}

impl From<Sample> for Grouped {
    fn from(sample: Sample) -> Self {
        Self { groups: vec![sample] }
    }
}
