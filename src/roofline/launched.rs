//! How the launches of a point were launched: what all of them have alike.

use crate::profile::KernelRecord;
use std::borrow::Borrow;

/// A property of several launches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Alike<T> {
    /// Not known of every launch.
    #[default]
    Unknown,
    /// The same for all.
    Same(T),
    /// Known of all, and not the same.
    Varies,
}

impl<T> Alike<T> {
    /// What all have; `None` where it is not known or not the same.
    pub fn same(&self) -> Option<&T> {
        match self {
            Self::Same(value) => Some(value),
            Self::Unknown | Self::Varies => None,
        }
    }

    /// Whether it is known of every launch.
    pub fn is_known(&self) -> bool {
        !matches!(self, Self::Unknown)
    }

    fn add<Q: ToOwned<Owned = T> + PartialEq + ?Sized>(&mut self, value: Option<&Q>, is_first: bool)
    where
        T: Borrow<Q>,
    {
        match (&*self, value) {
            (_, None) => *self = Self::Unknown,
            (_, Some(value)) if is_first => *self = Self::Same(value.to_owned()),
            (Self::Same(own), Some(value)) if own.borrow() != value => *self = Self::Varies,
            (Self::Same(_) | Self::Varies | Self::Unknown, Some(_)) => {}
        }
    }
}

/// Grid, block and what of a multiprocessor they take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaunchedAs {
    /// The grid as exported.
    pub grid: Alike<String>,
    /// The block as exported.
    pub block: Alike<String>,
    /// Registers of a thread.
    pub registers: Alike<u32>,
    /// Bytes of shared memory of a block that the kernel itself has.
    pub static_shared_bytes: Alike<u64>,
    /// Bytes of shared memory of a block that were asked for with the launch.
    pub dynamic_shared_bytes: Alike<u64>,
    /// Both together.
    pub shared_bytes: Alike<u64>,
}

impl LaunchedAs {
    /// Adds a launch; the first one begins.
    pub(super) fn add(&mut self, kernel: &KernelRecord, is_first: bool) {
        self.grid.add(kernel.grid.as_deref(), is_first);
        self.block.add(kernel.block.as_deref(), is_first);
        self.registers.add(kernel.registers.as_ref(), is_first);
        self.static_shared_bytes.add(kernel.static_shared_bytes.as_ref(), is_first);
        self.dynamic_shared_bytes.add(kernel.dynamic_shared_bytes.as_ref(), is_first);
        self.shared_bytes.add(kernel.shared_total().as_ref(), is_first);
    }

    /// Whether registers or shared memory are known.
    pub fn has_resources(&self) -> bool {
        self.registers.is_known() || self.shared_bytes.is_known()
    }

    /// The names of what differs between the launches.
    pub fn varying(&self) -> Vec<&'static str> {
        fn varies<T: PartialEq>(of: &Alike<T>) -> bool {
            matches!(of, Alike::Varies)
        }
        let all = [
            ("grid", varies(&self.grid)),
            ("block", varies(&self.block)),
            ("registers", varies(&self.registers)),
            ("static_shared_bytes", varies(&self.static_shared_bytes)),
            ("dynamic_shared_bytes", varies(&self.dynamic_shared_bytes)),
            ("shared_bytes", varies(&self.shared_bytes)),
        ];
        all.into_iter().filter(|(_, varies)| *varies).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launched(kernels: &[KernelRecord]) -> LaunchedAs {
        let mut launched = LaunchedAs::default();
        kernels.iter().enumerate().for_each(|(i, kernel)| launched.add(kernel, i == 0));
        launched
    }

    #[test]
    fn what_differs_or_is_not_known_of_every_launch_is_no_value() {
        let one = KernelRecord {
            grid: Some("(8, 1, 1)".into()),
            registers: Some(40),
            static_shared_bytes: Some(1024),
            dynamic_shared_bytes: Some(0),
            ..KernelRecord::default()
        };
        let other =
            KernelRecord { grid: Some("(16, 1, 1)".into()), dynamic_shared_bytes: Some(2048), ..one.clone() };
        let both = launched(&[one.clone(), other.clone()]);
        assert_eq!((&both.grid, both.registers.same()), (&Alike::Varies, Some(&40)));
        assert_eq!((both.static_shared_bytes.same(), both.block.is_known()), (Some(&1024), false));
        assert_eq!(both.varying(), ["grid", "dynamic_shared_bytes", "shared_bytes"]);
        assert_eq!(launched(std::slice::from_ref(&one)).shared_bytes, Alike::Same(1024));
        // Unknown of one launch, whether it is the first, between or the last.
        let unknown = KernelRecord { registers: None, ..one.clone() };
        for order in [[&unknown, &one, &one], [&one, &unknown, &one], [&one, &one, &unknown]] {
            let all: Vec<KernelRecord> = order.into_iter().cloned().collect();
            assert_eq!(launched(&all).registers, Alike::Unknown);
        }
    }

    #[test]
    fn a_sum_is_known_where_its_parts_are_not() {
        let kernel = KernelRecord { shared_bytes: Some(49_152), ..KernelRecord::default() };
        let launched = launched(&[kernel.clone(), kernel]);
        assert_eq!(launched.shared_bytes, Alike::Same(49_152));
        assert!(launched.has_resources() && !launched.static_shared_bytes.is_known());
        assert!(!LaunchedAs::default().has_resources());
    }
}
