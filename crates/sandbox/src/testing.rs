//! A specification for the tests of the engines.

use semver::Version;

use crate::{EntryPoint, Network, SandboxSpec};
use plugbay_domain::ResourceLimits;

/// A Python plugin without any opening.
pub(super) fn spec() -> SandboxSpec {
    let hex = "0".repeat(32);
    SandboxSpec {
        instance: "instance-1".to_owned(),
        session: format!("session_{hex}").parse().unwrap(),
        plugin_id: format!("plugin_{hex}").parse().unwrap(),
        name: "my-plugin".parse().unwrap(),
        version: Version::new(1, 2, 3),
        image: "plugbay/python:3".to_owned(),
        uid: 200_001,
        limits: ResourceLimits::default(),
        entry_point: EntryPoint::Python { arguments: vec!["--main".to_owned(), "main.py".to_owned()] },
        package: "/data/packages/1".into(),
        runtime: "/data/runtime/1".into(),
        instance_dir: "/run/plugbay/1".into(),
        data: None,
        folders: Vec::new(),
        network: Network::None,
    }
}
