//! `vendor.lock`: which packages lie in `vendor/`, for which Python they were chosen, and what their bytes were.

use serde::{Deserialize, Serialize};

use crate::Digest;

/// The file as packing writes it, in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VendorLock {
    /// The Python the packages were chosen for, such as `3.11`.
    pub python: String,
    /// The machines they were chosen for.
    pub platform: String,
    /// The packages, sorted by file name.
    pub packages: Vec<VendoredPackage>,
}

/// One wheel that was unpacked into `vendor/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VendoredPackage {
    /// Name of the package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What the wheel runs on, such as `cp311-cp311-manylinux_2_17_x86_64`.
    pub tags: String,
    /// The wheel's bytes.
    pub sha256: Digest,
}

impl VendoredPackage {
    /// Reads the parts of a wheel's file name: `name-version(-build)?-python-abi-platform.whl`.
    pub fn from_wheel(file_name: &str, sha256: Digest) -> Option<Self> {
        let parts: Vec<&str> = file_name.strip_suffix(".whl")?.split('-').collect();
        let [name, version, tags @ ..] = parts.as_slice() else { return None };
        let tags = if tags.len() == 4 { &tags[1..] } else { tags };
        let is_whole = tags.len() == 3 && parts.iter().all(|part| !part.is_empty());
        is_whole.then(|| Self {
            name: (*name).to_owned(),
            version: (*version).to_owned(),
            tags: tags.join("-"),
            sha256,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wheel_names_have_five_or_six_parts() {
        let digest = Digest::from_bytes([0; 32]);
        let wheel = VendoredPackage::from_wheel("a_b-1.0-cp311-cp311-manylinux_2_17_x86_64.whl", digest).unwrap();
        assert_eq!((wheel.name.as_str(), wheel.version.as_str()), ("a_b", "1.0"));
        assert_eq!(wheel.tags, "cp311-cp311-manylinux_2_17_x86_64");
        assert_eq!(VendoredPackage::from_wheel("a-1-2-py3-none-any.whl", digest).unwrap().tags, "py3-none-any");
        for name in ["a-1.whl", "a-1-py3-none-any.tar.gz", "a-1-2-3-py3-none-any.whl", "-1-py3-none-any.whl"] {
            assert!(VendoredPackage::from_wheel(name, digest).is_none(), "{name}");
        }
    }
}
