//! The process engine on other machines than this one: without cgroups, and with other programs than the machine's.

use std::fs;
use std::path::Path;
use std::process::Command;

use plugbay::config::Config;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::client::fixture;
use super::kind::process_is_there;
use super::machine::Machine;
use super::served::Served;

/// As on a machine whose cgroups are not there.
const WITHOUT_CGROUPS: &str = "mount -t tmpfs none /sys/fs/cgroup";

/// Processes that have a folder of this service mounted, as its sandboxes have.
fn processes_with(folder: &Path) -> usize {
    let folder = folder.strip_prefix("/tmp").unwrap_or(folder).to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mounts = processes.filter_map(|process| fs::read_to_string(process.path().join("mountinfo")).ok());
    mounts.filter(|mounts| mounts.contains(&format!("{folder}/session_"))).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_cgroups_nothing_starts_unless_the_operator_says_so() {
    if !process_is_there() {
        return;
    }
    let machine = Machine::with_config("sandbox: { engine: process }\n");
    let (mut process, client) = block_in_place(|| machine.serve_elsewhere(WITHOUT_CGROUPS));
    client.add(&fixture("probe"), &[]).await;
    let problem = client.enable("probe").await.expect_problem(503, "engine-too-old");
    let (detail, how) = (problem["detail"].as_str().unwrap(), problem["how"].as_str().unwrap());
    assert!(detail.contains("cannot limit memory and processes: the cgroup controller `memory`"), "{detail}");
    assert!(how.contains("sandbox.process.allow_without_cgroups: true"), "{how}");
    assert_eq!(client.plugin("probe").await["status"], "installed");
    assert!(block_in_place(|| process.stop()).success(), "{}", process.log());

    let config = fs::read_to_string(machine.config()).unwrap();
    let allowed = "sandbox: { engine: process, process: { allow_without_cgroups: true } }";
    fs::write(machine.config(), config.replace("sandbox: { engine: process }", allowed)).unwrap();
    let (mut process, client) = block_in_place(|| machine.serve_elsewhere(WITHOUT_CGROUPS));
    client.enable("probe").await.expect(200);
    assert_eq!(client.result("probe", "execute", json!({})).await, json!({"echo": {}}));
    let sandbox = client.about("probe", "sandbox").await;
    assert_eq!(
        sandbox["weaker"],
        json!(["nothing limits memory, processors and processes: there are no cgroups"]),
        "{sandbox}"
    );
    let system = client.get("/api/system").await.expect(200);
    let checks = system["doctor"].as_array().unwrap();
    let engine = checks.iter().find(|check| check["check"] == "engine").unwrap();
    assert!(engine["detail"].as_str().unwrap().ends_with("nothing limits memory and processes"), "{engine}");
    // What nothing measures is not told as nothing.
    assert_eq!(client.about("probe", "stats").await["memory_mb"], Value::Null);
    // Without a cgroup to count them in, all of it ends with its first process.
    assert!(processes_with(machine.run_dir()) >= 2);
    client.disable("probe").await.expect(200);
    assert_eq!(processes_with(machine.run_dir()), 0);
    assert!(block_in_place(|| process.stop()).success(), "{}", process.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "as an operator would do it")]
async fn plugins_see_the_programs_of_the_folder_that_the_operator_names() {
    if !process_is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("python");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/python/build.sh");
    let made = Command::new(script).args(["--no-install", "--folder"]).arg(&root).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    fs::write(root.join("usr/share/mark"), "of the folder").unwrap();
    let served = Served::start_with(|config: &mut Config| config.sandbox.process.root = Some(root.clone()));
    let served = served.await.unwrap();
    let main = "import os, ssl, sys\nclass Probe:\n    def execute(self, context):\n        \
                return [open('/usr/share/mark').read(), os.path.exists('/usr/bin/bwrap'), \
                ssl.create_default_context().cert_store_stats()['x509_ca'] > 0, sys.executable]\n";
    served.add(&fixture("probe"), &[("main.py", main)]).await;
    served.enable("probe").await.expect(200);
    let found = served.result("probe", "execute", json!({})).await;
    assert_eq!(found, json!(["of the folder", false, true, "/usr/bin/python3"]));
    let sandbox = served.about("probe", "sandbox").await;
    assert_eq!(sandbox["image"], root.to_str().unwrap(), "{sandbox}");
    assert_eq!((&sandbox["spec"]["image"], &sandbox["weaker"]), (&Value::Null, &json!([])), "{sandbox}");
    served.end().await;
}
