//! Counts what an archive costs while it is read, and stops at the first byte over a limit.

use super::super::PackageError;
use super::super::error::Limit;
use plugbay_domain::ArchiveLimits;

/// Unpacked bytes below which the ratio is not looked at: small packages of small files compress arbitrarily well.
const RATIO_FROM_BYTES: u64 = 1024 * 1024;

/// The limits and what has been used of them.
#[derive(Debug)]
pub(super) struct Budget {
    limits: ArchiveLimits,
    packed: u64,
    unpacked: u64,
    entries: u64,
}

impl Budget {
    /// Starts counting for an archive of `packed` bytes. The ratio is that of the whole archive, so that the order of
    /// its files does not matter: it is exceeded once so much came out that no rest of the archive can make up for it.
    pub(super) fn new(limits: ArchiveLimits, packed: u64) -> Self {
        Self { limits, packed, unpacked: 0, entries: 0 }
    }

    /// Counts an entry, before anything else about it is looked at.
    pub(super) fn entry(&mut self) -> Result<(), PackageError> {
        self.entries = self.entries.saturating_add(1);
        self.announce_entries(self.entries)
    }

    /// Refuses a number of entries that the archive announces.
    pub(super) fn announce_entries(&self, count: u64) -> Result<(), PackageError> {
        if count > self.limits.entries {
            Err(exceeded("the archive", Limit::Entries, self.limits.entries))
        } else {
            Ok(())
        }
    }

    /// Refuses a file by the size its header announces. Readers refuse content that is longer than announced.
    pub(super) fn announce_file(&self, place: &str, size: u64) -> Result<(), PackageError> {
        if size > self.limits.file_bytes {
            return Err(exceeded(place, Limit::FileBytes, self.limits.file_bytes));
        }
        Ok(())
    }

    /// Counts bytes that came out of the decompressor.
    pub(super) fn unpacked(&mut self, count: usize) -> Result<(), PackageError> {
        self.unpacked = self.unpacked.saturating_add(count as u64);
        if self.unpacked > self.limits.unpacked_bytes {
            return Err(exceeded("the archive", Limit::UnpackedBytes, self.limits.unpacked_bytes));
        }
        if self.unpacked > RATIO_FROM_BYTES && self.unpacked > self.packed.saturating_mul(self.limits.ratio) {
            return Err(exceeded("the archive", Limit::Ratio, self.limits.ratio));
        }
        Ok(())
    }
}

fn exceeded(place: &str, limit: Limit, most: u64) -> PackageError {
    PackageError::ArchiveTooLarge { place: place.to_owned(), limit, most }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(packed: u64) -> Budget {
        let limits = ArchiveLimits { upload_bytes: 0, unpacked_bytes: 4 << 20, file_bytes: 10, entries: 2, ratio: 2 };
        Budget::new(limits, packed)
    }

    #[test]
    fn each_limit_lets_its_value_pass_and_nothing_more() {
        let mut budget = budget(4 << 20);
        assert!(budget.entry().is_ok() && budget.entry().is_ok() && budget.entry().is_err());
        assert!(budget.announce_file("x", 10).is_ok() && budget.announce_file("x", 11).is_err());
        assert!(budget.unpacked(4 << 20).is_ok() && budget.unpacked(1).is_err());
    }

    #[test]
    fn the_ratio_counts_past_the_first_mebibyte() {
        assert!(budget(1).unpacked(1 << 20).is_ok());
        assert!(budget(1).unpacked((1 << 20) + 1).is_err());
        assert!(budget(1 << 20).unpacked(2 << 20).is_ok());
        assert!(budget(1 << 20).unpacked((2 << 20) + 1).is_err());
    }
}
