//! Compares the container that Docker made with the one it was asked for. Docker echoes much of it, so this finds what an
//! engine dropped, changed or took from the image; what the kernel does is told by the shim (`report.rs`).

use std::collections::BTreeSet;

use bollard::models::{ContainerCreateBody, ContainerInspectResponse, ImageConfig};
use serde_json::Value;

use super::config::readable;

/// Longest value in a difference: some hold a whole table.
const MAX_SHOWN: usize = 120;

/// What Docker protects from writing unless told otherwise, and we never do.
const READONLY_PATHS: [&str; 2] = ["/proc/sys", "/proc/sysrq-trigger"];

/// What was asked for, and what the image adds by itself.
#[derive(Debug)]
pub(super) struct Wanted {
    body: Value,
    image_env: BTreeSet<String>,
}

impl Wanted {
    /// Takes the body as it is sent.
    pub(super) fn new(body: &ContainerCreateBody, image: Option<&ImageConfig>) -> Self {
        let env = image.and_then(|image| image.env.clone()).unwrap_or_default();
        Self { body: readable(body), image_env: env.into_iter().collect() }
    }

    /// Every difference, with what was wanted and what was found.
    pub(super) fn differences(&self, found: &ContainerInspectResponse) -> Vec<String> {
        let mut differences = Vec::new();
        let config = serde_json::to_value(&found.config).unwrap_or_default();
        let host = serde_json::to_value(&found.host_config).unwrap_or_default();
        for (key, wanted) in self.body.as_object().into_iter().flatten() {
            match key.as_str() {
                "HostConfig" => compare("HostConfig", wanted, &host, &mut differences),
                // The image's own variables come beside ours.
                "Env" => self.compare_env(wanted, &config["Env"], &mut differences),
                _ => compare(key, wanted, &config[key], &mut differences),
            }
        }
        if found.image.as_deref() != self.body["Image"].as_str() {
            differences.push(difference("Image", &self.body["Image"], &found.image.as_deref().into()));
        }
        self.compare_mounts(found, &mut differences);
        let protected = found.host_config.as_ref().and_then(|host| host.readonly_paths.as_ref());
        for path in READONLY_PATHS {
            if !protected.is_some_and(|paths| paths.iter().any(|found| found == path)) {
                differences.push(format!("HostConfig.ReadonlyPaths: `{path}` is missing"));
            }
        }
        let options = self.body["HostConfig"]["SecurityOpt"].as_array();
        let profile = options.into_iter().flatten().find_map(|option| option.as_str()?.strip_prefix("apparmor="));
        if profile.is_some() && found.app_armor_profile.as_deref() != profile {
            differences.push(difference(
                "AppArmorProfile",
                &profile.into(),
                &found.app_armor_profile.as_deref().into(),
            ));
        }
        differences
    }

    fn compare_env(&self, wanted: &Value, found: &Value, differences: &mut Vec<String>) {
        let texts = |value: &Value| -> BTreeSet<String> {
            value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let (wanted, found) = (texts(wanted), texts(found));
        // Values stay unsaid: an image may hold something that is nobody's business.
        let name = |text: &String| text.split('=').next().unwrap_or_default().to_owned();
        for missing in wanted.difference(&found) {
            differences.push(format!("Env: `{}` is missing or has another value", name(missing)));
        }
        for more in found.difference(&wanted).filter(|text| !self.image_env.contains(*text)) {
            differences.push(format!("Env: `{}` was not asked for", name(more)));
        }
    }

    /// An image can declare volumes, which Docker makes, writable and without limit.
    fn compare_mounts(&self, found: &ContainerInspectResponse, differences: &mut Vec<String>) {
        let wanted = self.body["HostConfig"]["Mounts"].as_array().into_iter().flatten();
        let wanted: BTreeSet<(&str, bool)> = wanted
            .filter_map(|mount| Some((mount["Target"].as_str()?, mount["ReadOnly"] != Value::Bool(true))))
            .collect();
        let found: BTreeSet<(&str, bool)> = found
            .mounts
            .iter()
            .flatten()
            .map(|mount| (mount.destination.as_deref().unwrap_or("?"), mount.rw.unwrap_or(true)))
            .collect();
        let shown = |(target, is_writable): &(&str, bool)| {
            format!("`{target}` ({})", if *is_writable { "writable" } else { "read-only" })
        };
        differences.extend(wanted.difference(&found).map(|mount| format!("Mounts: {} is missing", shown(mount))));
        differences
            .extend(found.difference(&wanted).map(|mount| format!("Mounts: {} was not asked for", shown(mount))));
    }
}

/// Compares what was asked for with what was found; fields that were not asked for do not matter.
fn compare(path: &str, wanted: &Value, found: &Value, differences: &mut Vec<String>) {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            for (key, wanted) in wanted {
                compare(&format!("{path}.{key}"), wanted, found.get(key).unwrap_or(&Value::Null), differences);
            }
        }
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            for (index, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                compare(&format!("{path}[{index}]"), wanted, found, differences);
            }
        }
        _ if wanted == found || (is_empty(wanted) && is_empty(found)) => {}
        _ => differences.push(difference(path, wanted, found)),
    }
}

/// Engines differ in how they write that there is nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(Value::is_null),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn difference(path: &str, wanted: &Value, found: &Value) -> String {
    format!("{path}: wanted {}, found {}", shown(wanted), shown(found))
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    let short: String = text.chars().take(MAX_SHOWN).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}

#[cfg(test)]
mod tests {
    use bollard::models::MountPoint;
    use serde_json::json;

    use super::*;
    use crate::docker::config::{Machine, Settings, create_body};
    use crate::testing::spec;

    fn body() -> ContainerCreateBody {
        let machine = Machine { cpus: 2, has_apparmor: true, limits_swap: true };
        let settings = Settings { runtime: "runc".to_owned(), message_bytes: 4 << 20 };
        create_body(&spec(), "sha256:1234", machine, &settings)
    }

    /// What an honest engine answers, changed at one place.
    fn differences(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let body = body();
        let mut answer = json!({ "Image": "sha256:1234", "AppArmorProfile": "docker-default" });
        answer["Config"] = readable(&body);
        answer["HostConfig"] = answer["Config"]["HostConfig"].take();
        answer["HostConfig"]["RestartPolicy"]["MaximumRetryCount"] = 0.into();
        answer["HostConfig"]["CapAdd"] = Value::Null;
        answer["HostConfig"]["ReadonlyPaths"] = json!(["/proc/bus", "/proc/sys", "/proc/sysrq-trigger"]);
        answer["Config"]["Env"].as_array_mut().unwrap().push("GPG_KEY=1".into());
        let mounts: Vec<_> = body.host_config.iter().flat_map(|host| host.mounts.iter().flatten()).collect();
        let mounts = mounts.iter().map(|mount| MountPoint {
            destination: mount.target.clone(),
            rw: Some(mount.read_only.is_none()),
            ..MountPoint::default()
        });
        answer["Mounts"] = serde_json::to_value(mounts.collect::<Vec<_>>()).unwrap();
        change(&mut answer);
        let image = ImageConfig { env: Some(vec!["GPG_KEY=1".to_owned()]), ..ImageConfig::default() };
        Wanted::new(&body, Some(&image)).differences(&serde_json::from_value(answer).unwrap())
    }

    #[test]
    fn an_honest_engine_has_no_differences() {
        assert_eq!(differences(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn every_field_that_is_asked_for_is_compared() {
        let body = readable(&body());
        let fields = body["HostConfig"].as_object().unwrap();
        let asked: Vec<_> = fields.iter().filter(|(_, wanted)| !is_empty(wanted)).map(|(field, _)| field).collect();
        assert!(asked.len() > 20);
        for field in asked {
            let found = differences(|answer| answer["HostConfig"][field] = Value::Null);
            assert!(found.iter().any(|text| text.starts_with(&format!("HostConfig.{field}"))), "{field}: {found:?}");
        }
        let openings = [
            ("CapAdd", json!(["SYS_ADMIN"])),
            ("Binds", json!(["/:/host"])),
            ("VolumesFrom", json!(["other"])),
            ("Devices", json!([{ "PathOnHost": "/dev/sda" }])),
            ("DeviceRequests", json!([{ "Driver": "nvidia" }])),
            ("DeviceCgroupRules", json!(["a *:* rwm"])),
            ("GroupAdd", json!(["0"])),
            ("PidMode", json!("host")),
            ("UTSMode", json!("host")),
            ("UsernsMode", json!("host")),
        ];
        for (field, opening) in openings {
            let found = differences(|answer| answer["HostConfig"][field] = opening);
            assert_eq!(found.len(), 1, "{field}: {found:?}");
        }
        for field in ["User", "Entrypoint", "NetworkDisabled", "Labels", "Hostname", "Tty", "Healthcheck"] {
            let found = differences(|answer| answer["Config"][field] = Value::Null);
            assert_eq!(found.len(), 1, "{field}: {found:?}");
        }
    }

    #[test]
    fn both_sides_are_told() {
        let found = differences(|answer| answer["HostConfig"]["Mounts"][0]["ReadOnly"] = false.into());
        assert_eq!(found, ["HostConfig.Mounts[0].ReadOnly: wanted true, found false"]);
        let found = differences(|answer| answer["Config"]["Env"].as_array_mut().unwrap().push("TOKEN=secret".into()));
        assert_eq!(found, ["Env: `TOKEN` was not asked for"]);
        let found = differences(|answer| answer["Image"] = "sha256:other".into());
        assert_eq!(found, ["Image: wanted \"sha256:1234\", found \"sha256:other\""]);
        let found = differences(|answer| answer["AppArmorProfile"] = "".into());
        assert_eq!(found, ["AppArmorProfile: wanted \"docker-default\", found \"\""]);
    }

    #[test]
    fn what_docker_protects_by_itself_stays_protected() {
        let found = differences(|answer| answer["HostConfig"]["ReadonlyPaths"] = json!([]));
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn volumes_of_an_image_are_found() {
        let volume = json!({ "Destination": "/var/lib/x", "RW": true });
        let found = differences(|answer| answer["Mounts"].as_array_mut().unwrap().push(volume));
        assert_eq!(found, ["Mounts: `/var/lib/x` (writable) was not asked for"]);
        let found = differences(|answer| answer["Mounts"] = json!([]));
        assert_eq!(found.len(), 5, "{found:?}");
    }
}
