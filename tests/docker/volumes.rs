//! What plugins keep in `/data`: how much, with which rights, and for how long. As root: the file system is the limit.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Client, fixture};
use super::machine::Machine;
use super::served::Served;
use super::support::app::{Answer, form, send};
use super::support::author::{Author, pack_folder};
use super::support::process::until;

const ENOSPC: i64 = 28;
const EACCES: i64 = 13;

/// The probe's limit.
const LIMIT: u64 = 16 << 20;

/// Images of a service.
fn images(data: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(data.join("volumes")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// Lines of the kernel about mounts of a service.
fn mounts(instance: &str) -> usize {
    fs::read_to_string("/proc/self/mountinfo").unwrap().lines().filter(|line| line.contains(instance)).count()
}

/// Loop devices for files below a folder.
fn devices(data: &Path) -> usize {
    let backing =
        |entry: std::io::Result<fs::DirEntry>| fs::read_to_string(entry.unwrap().path().join("loop/backing_file"));
    let files = fs::read_dir("/sys/block").unwrap().filter_map(|entry| backing(entry).ok());
    files.filter(|file| Path::new(file.trim()).starts_with(data)).count()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_volume_refuses_more_and_the_machine_notices_nothing() {
    let Some(served) = Served::with("probe").await else { return };
    if !is_root() {
        return served.end().await;
    }
    served.add_as(&fixture("probe"), "neighbour").await;
    served.enable("neighbour").await.expect(200);
    let stats = served.about("probe", "stats").await;
    assert_eq!((&stats["data_quota"], &stats["data_limit_mb"]), (&json!("hard"), &json!(16)), "{stats}");
    assert!(stats["data_used_mb"].as_f64().unwrap() < 0.2, "{stats}");
    let filled = served.result("probe", "fill", json!({})).await;
    assert_eq!(filled["errno"], ENOSPC, "{filled}");
    assert!((15 << 20..=LIMIT).contains(&filled["written"].as_u64().unwrap()), "{filled}");
    let written: u64 = images(&served.data()).iter().map(|image| fs::metadata(image).unwrap().blocks() * 512).sum();
    assert!(written < LIMIT + (1 << 20), "{written}");
    let stats = served.about("probe", "stats").await;
    assert!((15.0..=16.0).contains(&stats["data_used_mb"].as_f64().unwrap()), "{stats}");
    assert_eq!(served.result("neighbour", "store", json!({"text": "room"})).await, "room");
    assert_eq!(served.result("neighbour", "start_own", json!({})).await, json!({"errno": EACCES}));
    let sandbox = served.about("neighbour", "sandbox").await;
    let data = &sandbox["report"]["mounts"]["/data"];
    for flag in ["rw", "noexec", "nosuid", "nodev", "noatime"] {
        assert!(data["flags"].as_array().unwrap().contains(&json!(flag)), "{data}");
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_does_not_fit_is_told_as_a_full_volume() {
    let Some(served) = Served::with("probe").await else { return };
    if !is_root() {
        return served.end().await;
    }
    let problem = served.call("probe", "map", json!({"bytes": 2 * LIMIT})).await.expect_problem(502, "plugin-crashed");
    assert_eq!(problem["signal"], 7, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("/data is full"), "{problem}");
    served.until_logged("probe", "/data is full").await;
    let plugin = served.until_active("probe").await;
    assert!(plugin["last_failure"]["text"].as_str().unwrap().contains("/data is full"), "{plugin}");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_outlive_stops_and_restarts_and_nothing_stays_mounted() {
    let Some(mut served) = Served::with("probe").await else { return };
    served.result("probe", "store", json!({"text": "kept"})).await;
    served.disable("probe").await.expect(200);
    assert_eq!((mounts(served.instance()), devices(&served.data())), (0, 0));
    let stats = served.about("probe", "stats").await;
    assert!(stats["data_used_mb"].is_number(), "{stats}");
    served.enable("probe").await.expect(200);
    assert_eq!(served.result("probe", "store", json!({})).await, "kept");
    served.call("probe", "crash", json!({"code": 1})).await.expect_problem(502, "plugin-crashed");
    assert_eq!(served.result("probe", "store", json!({})).await, "kept");
    served.restart().await;
    served.until_active("probe").await;
    assert_eq!(served.result("probe", "store", json!({})).await, "kept");
    let data = served.data();
    served.stop_service().await;
    assert_eq!((mounts(served.instance()), devices(&data)), (0, 0));
}

/// A sandbox that was made while another one's volume was mounted must not keep it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_is_free_when_its_plugin_ends_whoever_started_meanwhile() {
    let Some(served) = Served::with("probe").await else { return };
    served.add_as(&fixture("probe"), "neighbour").await;
    served.enable("neighbour").await.expect(200);
    served.disable("probe").await.expect(200);
    let left = devices(&served.data());
    assert_eq!(left, usize::from(is_root()), "the neighbour's own");
    served.enable("probe").await.expect(200);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_service_finds_its_data_again_and_leaves_no_mounts() {
    let Some(machine) = Machine::new() else { return };
    let (mut process, client) = machine.serve();
    client.run(&fixture("probe")).await;
    client.result("probe", "store", json!({"text": "kept"})).await;
    tokio::task::block_in_place(|| process.kill());
    assert_eq!(mounts(&machine.instance()), usize::from(is_root()), "a killed service unmounts nothing");
    let (mut process, client) = machine.serve();
    client.until_active("probe").await;
    assert_eq!(client.result("probe", "store", json!({})).await, "kept");
    assert_eq!(mounts(&machine.instance()), usize::from(is_root()));
    assert!(tokio::task::block_in_place(|| process.stop()).success(), "{}", process.log());
    assert_eq!(mounts(&machine.instance()), 0);
    let gone = || devices(&machine.data()) == 0;
    tokio::task::block_in_place(|| until("no loop device is left", Duration::from_secs(5), gone));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_follows_its_limit_and_never_cuts_what_is_kept() {
    let Some(served) = Served::with("probe").await else { return };
    if !is_root() {
        return served.end().await;
    }
    served.result("probe", "fill", json!({"bytes": 6 << 20})).await;
    let limit = async |data_mb: u64| {
        served.put("/api/plugins/probe/limits", &json!({ "data_mb": data_mb })).await.expect(200);
    };
    limit(32).await;
    served.until_active("probe").await;
    let stats = served.about("probe", "stats").await;
    assert_eq!((&stats["data_used_mb"], &stats["data_limit_mb"]), (&json!(6.0), &json!(32)), "{stats}");
    let filled = served.result("probe", "fill", json!({"bytes": 20 << 20})).await;
    assert_eq!(filled, json!({"written": 20 << 20}), "larger than before");
    limit(8).await;
    let failed = served.until("probe", |plugin| plugin["last_failure"]["kind"] == "quota-exceeded").await;
    assert!(failed["last_failure"]["text"].as_str().unwrap().contains("8 MiB"), "{failed}");
    served.disable("probe").await.expect(200);
    let problem = served.enable("probe").await.expect_problem(422, "quota-exceeded");
    assert!(problem["how"].as_str().unwrap().contains("plugbay limits set probe"), "{problem}");
    limit(28).await;
    served.enable("probe").await.expect(200);
    let stats = served.about("probe", "stats").await;
    assert_eq!(stats["data_used_mb"], 26.0, "{stats}");
    let filled = served.result("probe", "fill", json!({})).await;
    assert_eq!(filled["errno"], ENOSPC, "smaller than before");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_volume_is_told_and_kept() {
    let Some(served) = Served::with("probe").await else { return };
    if !is_root() {
        return served.end().await;
    }
    served.disable("probe").await.expect(200);
    let image = images(&served.data()).remove(0);
    let mut bytes = fs::read(&image).unwrap();
    bytes[..1 << 20].fill(0xa5);
    fs::write(&image, &bytes).unwrap();
    let problem = served.enable("probe").await.expect_problem(503, "data-unavailable");
    assert!(problem["detail"].as_str().unwrap().contains("is damaged"), "{problem}");
    assert!(problem["how"].as_str().unwrap().contains("e2fsck"), "{problem}");
    assert!(fs::read(&image).unwrap() == bytes, "untouched");
    assert_eq!(served.plugin("probe").await["status"], "disabled", "no quarantine");
    served.end().await;
}

/// Installs the probe, signed or not.
async fn install(client: &Client, author: Option<&Author>) -> Value {
    let archive = pack_folder(&fixture("probe"), &[]);
    let signature = author.map(|author| author.sign(&archive));
    let request = client.request(reqwest::Method::POST, "/api/plugins/install");
    let answer: Answer = send(request.multipart(form(&archive, signature.as_deref()))).await;
    let installed = answer.expect(201);
    client.enable("probe").await.expect(200);
    installed
}

fn aside(installed: &Value) -> bool {
    let warnings = installed["warnings"].as_array().unwrap();
    warnings.iter().any(|warning| warning.as_str().unwrap().contains("plugbay uninstall probe --purge"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_data_go_to_the_same_signer_alone() {
    let Some(served) = Served::start().await else { return };
    let (acme, other) = (Author::new(), Author::new());
    for author in [&acme, &other] {
        let body = json!({"public_key": author.public_key(), "label": author.key_id(), "names": ["*"]});
        served.post("/api/keys", &body).await.expect(201);
    }
    let uid = async || served.about("probe", "sandbox").await["spec"]["uid"].clone();
    let uninstall = async |purge: &str| served.delete(&format!("/api/plugins/probe{purge}")).await.expect(204);
    let count = || images(&served.data()).len();

    let first = install(&served, Some(&acme)).await;
    assert!(!aside(&first), "{first}");
    let acmes = uid().await;
    served.result("probe", "store", json!({"text": "acme's"})).await;
    uninstall("").await;
    assert_eq!(count(), 1);

    // Another signer begins anew, beside it, and removes only what is its own.
    let installed = install(&served, Some(&other)).await;
    assert!(aside(&installed), "{installed}");
    assert_ne!(uid().await, acmes, "the files of one user are not another's");
    assert_eq!(served.result("probe", "store", json!({})).await, "");
    assert_eq!(count(), 2);
    uninstall("?purge=true").await;
    assert_eq!(count(), 1);

    let installed = install(&served, None).await;
    assert!(aside(&installed), "{installed}");
    assert_eq!(served.result("probe", "store", json!({"text": "nobody's"})).await, "nobody's");
    uninstall("").await;
    let installed = install(&served, None).await;
    assert!(aside(&installed), "{installed}");
    assert_eq!(served.result("probe", "store", json!({})).await, "", "unsigned packages are nobody's");
    uninstall("?purge=true").await;
    assert_eq!(count(), 2, "acme's and one of nobody's");

    let installed = install(&served, Some(&acme)).await;
    assert_ne!(installed["plugin_id"], first["plugin_id"]);
    assert_eq!(served.result("probe", "store", json!({})).await, "acme's");
    assert_eq!(uid().await, acmes);
    uninstall("?purge=true").await;
    assert_eq!(count(), 1);
    // Nothing is installed: what was left goes.
    uninstall("?purge=true").await;
    assert_eq!(count(), 0);
    served.delete("/api/plugins/probe?purge=true").await.expect_problem(404, "plugin-unknown");
    served.end().await;
}
