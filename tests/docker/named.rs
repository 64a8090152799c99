//! A name that stands in the machine's `/etc/hosts` alone, reached by every way out that a plugin has. The service runs
//! where another hosts file is mounted, and asks the machine's own resolver.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::kind::{choice, engine_is_there};
use super::machine::Machine;
use super::this_machine::{OTHER_WAYS, ollama, recipe};

const NAME: &str = "models.internal";

/// A folder whose mounts are seen by Docker, too, though the service is elsewhere.
struct Shared(PathBuf);

impl Shared {
    fn new(folder: &Path) -> Self {
        let folder = folder.to_owned();
        mount(&["--bind"], &folder);
        mount(&["--make-shared"], &folder);
        Self(folder)
    }
}

impl Drop for Shared {
    #[expect(clippy::disallowed_methods, reason = "undoes what the test has mounted")]
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(&self.0).status().ok();
    }
}

#[expect(clippy::disallowed_methods, reason = "only `mount` mounts")]
fn mount(how: &[&str], folder: &Path) {
    let both = if how == ["--bind"] { vec![folder, folder] } else { vec![folder] };
    assert!(Command::new("mount").args(how).args(both).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_of_the_hosts_file_is_reached_by_every_way_out() {
    if !engine_is_there() {
        return;
    }
    let port = ollama();
    let engine = choice();
    let machine = Machine::with_config(&format!(
        "sandbox: {{ engine: {} }}\negress: {{ allow_private: [\"{NAME}:{port}\"] }}\n",
        engine.as_str()
    ));
    let shared = Shared::new(machine.run_dir());
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    fs::write(&hosts, format!("127.0.0.1 localhost {NAME}\n")).unwrap();
    let here = |text: &str| text.replace("host.plugbay.internal", NAME).replace("11434", &port.to_string());
    let [_, manifest] = recipe("yaml").try_into().expect("two blocks of YAML");
    let [main] = recipe("python").try_into().expect("one block of Python");
    let plugin = folder.path().join("models");
    fs::create_dir(&plugin).unwrap();
    fs::write(plugin.join("plugin.yaml"), format!("{}class: Models\n", here(&manifest))).unwrap();
    fs::write(plugin.join("main.py"), here(&main) + OTHER_WAYS).unwrap();
    // What lies above the hosts file is made private, and nothing else: the mount is for the service alone.
    let change = format!(
        "{{ mount --make-private / && {{ mount --make-private /etc/hosts || true; }} && mount --bind {} /etc/hosts; }} 2>/dev/null",
        hosts.display()
    );
    let (mut process, client) = machine.serve_beside(&change);
    client.add(&plugin, &[]).await;
    let grant = json!({"grant": ["network_access"]});
    client.post("/api/plugins/models/permissions/approve", &grant).await.expect(200);
    client.enable("models").await.expect(200);
    assert_eq!(client.result("models", "execute", json!({})).await, json!(["llama3.2:latest"]));
    let url = format!("http://{NAME}:{port}/api/tags");
    for (way, arguments) in [
        ("direct", json!({"url": url})),
        ("client", json!({"host": NAME, "port": port})),
        ("service", json!({"url": url})),
    ] {
        let found = client.result("models", way, arguments).await;
        assert_eq!(found["models"][0]["name"], "llama3.2:latest", "{way}: {found}");
    }
    assert!(tokio::task::block_in_place(|| process.stop()).success(), "{}", process.log());
    drop(shared);
}
