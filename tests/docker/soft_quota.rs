//! `/data` of a service that is not root: a folder, which is measured. Run by root, the service is started as another
//! user of Docker.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::client::{Client, fixture};
use super::kind::docker_is_there;
use super::machine::Machine;
use super::support::process::Process;

/// Nobody.
const USER: u32 = 65_534;

/// A service of an ordinary user, with the folder that its program was copied into.
fn serve(machine: &Machine) -> (Process, Client, tempfile::TempDir) {
    let program = tempfile::tempdir().unwrap();
    let path = program.path().join("plugbay");
    fs::copy(env!("CARGO_BIN_EXE_plugbay"), &path).unwrap();
    fs::set_permissions(program.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let config = machine.config();
    #[expect(clippy::disallowed_methods, reason = "the service as another user")]
    let mut command = if rustix::process::geteuid().is_root() {
        let folder = config.parent().unwrap();
        for owned in [folder, machine.run_dir(), config.as_path()] {
            chown(owned, Some(USER), Some(USER)).unwrap();
        }
        let group = fs::metadata("/var/run/docker.sock").unwrap().gid();
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={USER}"), format!("--regid={USER}"), format!("--groups={group}")]).arg(&path);
        command
    } else {
        Command::new(&path)
    };
    command.args(["serve", "--listen", "127.0.0.1:0", "--insecure-dev", "--data-dir"]).arg(machine.data());
    command.arg("--config").arg(&config);
    let process = Process::start(command);
    let token = fs::read_to_string(machine.data().join("admin.token")).unwrap();
    let client = Client::new(process.address.parse().unwrap(), token.trim());
    (process, client, program)
}

/// How much was written into the files. The blocks that they take are no measure: a file system may still give back
/// what it set aside for a file that has grown.
fn bytes(folder: &Path) -> u64 {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_keeps_too_much_is_ended_and_stays_so_until_there_is_less() {
    // Only Docker starts sandboxes for a service that is not root.
    if !docker_is_there() {
        return;
    }
    let machine = Machine::with_config("");
    let (mut process, client, _program) = serve(&machine);
    client.run(&fixture("probe")).await;
    let stats = client.about("probe", "stats").await;
    assert_eq!((&stats["data_quota"], &stats["data_used_mb"]), (&json!("soft"), &json!(0.0)), "{stats}");
    client.result("probe", "fill", json!({"bytes": 8 << 20})).await;
    let stats = client.about("probe", "stats").await;
    assert_eq!(stats["data_used_mb"], 8.0, "{stats}");

    let began = Instant::now();
    // 6 MiB in each second: it goes on until somebody ends it.
    let filling = client.call("probe", "fill", json!({"pause": 0.01})).await;
    let problem = filling.expect_problem(422, "quota-exceeded");
    assert!(problem["detail"].as_str().unwrap().contains("16 MiB"), "{problem}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let failed = client.until("probe", |plugin| plugin["last_failure"]["kind"] == "quota-exceeded").await;
    assert_eq!(failed["status"], "enabled", "{failed}");
    let volume = fs::read_dir(machine.data().join("volumes")).unwrap().next().unwrap().unwrap().path();
    client.disable("probe").await.expect(200);
    let kept = bytes(&volume);
    assert!((16 << 20..48 << 20).contains(&kept), "{kept}");
    client.enable("probe").await.expect_problem(422, "quota-exceeded");
    assert_eq!(bytes(&volume), kept, "it was not started again");
    fs::write(volume.join("filled"), "").unwrap();
    client.enable("probe").await.expect(200);
    client.result("probe", "execute", json!({})).await;
    assert!(tokio::task::block_in_place(|| process.stop()).success(), "{}", process.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_can_insist_on_a_hard_quota() {
    if !docker_is_there() {
        return;
    }
    let machine = Machine::with_config("storage: { require_hard_quota: true }");
    let (mut process, client, _program) = serve(&machine);
    client.add(&fixture("probe"), &[]).await;
    let problem = client.enable("probe").await.expect_problem(503, "hard-quota-missing");
    assert!(problem["detail"].as_str().unwrap().contains("not root"), "{problem}");
    let doctor = client.get("/api/system").await.expect(200)["doctor"].take();
    let data = doctor.as_array().unwrap().iter().find(|check| check["check"] == "data").unwrap();
    assert_eq!(data["ok"], false, "{data}");
    assert!(tokio::task::block_in_place(|| process.stop()).success(), "{}", process.log());
}
