//! What a plugin can see, reach and change from inside the sandbox that the service made for it.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use futures_util::future::FutureExt as _;
use serde_json::json;

use super::target::{Attack, Target, Victim, attack};

const EPERM: i64 = 1;
const ENOENT: i64 = 2;
const EACCES: i64 = 13;
const EROFS: i64 = 30;
const ENOSYS: i64 = 38;
const EAFNOSUPPORT: i64 = 97;
const SIGSYS: i64 = 31;

pub(crate) const TABLE: &[Attack] = &[
    attack(&["A.149"], "programs that it wrote by itself", |target| own_programs(target).boxed()),
    attack(&["A.150"], "system calls", |target| system_calls(target).boxed()),
    attack(&["A.152"], "device nodes and setuid programs", |target| devices(target).boxed()),
    attack(&["A.153"], "addresses", |target| addresses(target).boxed()),
    attack(&["A.154"], "sockets of others", |target| sockets(target).boxed()),
    attack(&["A.155", "A.156"], "others, the machine, secrets", |target| surroundings(target).boxed()),
    attack(&["A.157"], "its first process and the folder of its sockets", |target| tamper(target).boxed()),
];

async fn own_programs(target: &Target) {
    let victim = target.raw().await;
    let found = victim.result("look.execute_written", json!({})).await;
    // The service may not be root, and then says so: `data_quota` is `soft`.
    let data = (target.about(&victim.name, "stats").await["data_quota"] == "hard").then_some("/data");
    assert!(data.is_some() || !rustix::process::geteuid().is_root(), "root has volumes of its own");
    for folder in ["/tmp", "/dev/shm"].into_iter().chain(data) {
        assert_eq!(found[folder], EACCES, "{found}");
        assert_eq!(found[format!("{folder} mapped")], EPERM, "{found}");
    }
    assert_eq!(found["memfd"], EPERM, "{found}");
}

async fn system_calls(target: &Target) {
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    let victim = target.raw().await;
    let found = victim.result("look.system_calls", json!({})).await;
    for (name, errno) in found.as_object().unwrap() {
        let wanted = match name.as_str() {
            "clone3" => ENOSYS,
            "int80" | "x32" => SIGSYS,
            "amd64" => 0,
            family if family.starts_with("AF_") => EAFNOSUPPORT,
            _ => EPERM,
        };
        assert_eq!(*errno, wanted, "{name}");
    }
}

/// Where a folder of a plugin's sandbox is on the machine.
pub(crate) async fn source_of(target: &Target, plugin: &str, destination: &str) -> String {
    let field = match destination {
        "/plugin" => "package",
        "/opt/plugbay" => "runtime",
        "/run/plugbay" => "instance_dir",
        _ => "data",
    };
    let sandbox = target.about(plugin, "sandbox").await;
    sandbox["spec"][field].as_str().unwrap_or_else(|| panic!("{destination}: {sandbox}")).to_owned()
}

/// No archive can bring a setuid program; somebody who can write to the data directory can.
async fn devices(target: &Target) {
    let victim = target.raw().await;
    let path = PathBuf::from(source_of(target, &victim.name, "/plugin").await).join("id");
    fs::copy("/usr/bin/id", &path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)).unwrap();
    let found = victim.result("look.devices", json!({})).await;
    assert_eq!((&found["block"], &found["char"]), (&json!(EPERM), &json!(EPERM)), "{found}");
    assert_eq!(found["setuid"], true, "the program was there: {found}");
    assert!(found["uids"][0].as_u64().unwrap() >= 200_000 && found["uids"][0] == found["uids"][1], "{found}");
}

/// The address of this machine in the network around it.
fn own_address() -> String {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent by this.
    let known = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
    known.map_or_else(|_no_network| "192.0.2.7".to_owned(), |address| address.ip().to_string())
}

async fn addresses(target: &Target) {
    let victim = target.raw().await;
    let service = target.address.port();
    let addresses = json!([
        ["1.1.1.1", 53],
        ["169.254.169.254", 80],
        ["192.168.65.7", 2375],
        ["172.17.0.1", 2375],
        ["172.17.0.1", 22],
        [own_address(), service],
        [own_address(), 22],
        ["::1", service],
        ["fd00::1", 80],
        ["2606:4700:4700::1111", 53]
    ]);
    let found = victim.result("look.connect", json!({ "addresses": addresses })).await;
    for (address, errno) in found.as_object().unwrap() {
        // Unreachable, no such address, or nothing listens; never an answer, and never silence for two seconds.
        let is_refused = [99, 101, 111].contains(&errno.as_i64().unwrap_or(0)) || *errno == "failed";
        // Choosing the address of `lo` for datagrams asks nobody.
        assert!(is_refused || address.starts_with("::1 ") && address.ends_with("DGRAM"), "{address}: {errno}");
    }
    assert_eq!(found["lookup"], "failed");
    // The service's own port is the one thing on loopback that answers outside.
    let own = victim.result("look.connect", json!({"addresses": [["127.0.0.1", service]]})).await;
    assert_eq!(own[format!("127.0.0.1 {service} SOCK_STREAM")], 111, "{own}");
}

async fn sockets(target: &Target) {
    let victim = target.raw().await;
    let found = victim.result("look.sockets", json!({})).await;
    // Its own were removed when they had been connected to.
    assert_eq!(found["files"], json!([]));
    let folder = source_of(target, &victim.name, "/run/plugbay").await;
    let own = ["host.sock", "log.sock"].map(|name| format!("{folder}/{name}"));
    for name in found["named"].as_array().unwrap() {
        // The other ends of its own connections are all that has a name here; nothing abstract, nothing of others.
        assert!(own.iter().any(|own| name == own), "{name}");
    }
}

async fn surroundings(target: &Target) {
    let (victim, other) = (target.raw().await, target.raw().await);
    let others_data = source_of(target, &other.name, "/data").await;
    fs::write(PathBuf::from(&others_data).join("secret"), "x").unwrap();
    let paths = [
        source_of(target, &other.name, "/run/plugbay").await,
        others_data,
        source_of(target, &victim.name, "/run/plugbay").await,
        target.machine.data().to_str().unwrap().to_owned(),
        target.machine.run_dir().to_str().unwrap().to_owned(),
        "/data/secret".to_owned(),
        "/var/run/docker.sock".to_owned(),
        "/run/containerd/containerd.sock".to_owned(),
    ];
    let found = victim.result("look.surroundings", json!({ "paths": paths })).await;
    assert_eq!((&found["exists"], &found["readable"]), (&json!([]), &json!([])), "{found}");
    assert_eq!(found["pids"], 2, "the shim and itself");
    // What of the machine's paths can be read is where its own folders come from.
    let mut own = Vec::new();
    for path in ["/plugin", "/opt/plugbay", "/run/plugbay", "/data"] {
        own.push(source_of(target, &victim.name, path).await);
    }
    let folders = [target.machine.data(), target.machine.run_dir().to_owned()].map(|path| path.display().to_string());
    for mount in found["mounts"].as_array().unwrap() {
        let (root, inside) = (mount[0].as_str().unwrap(), mount[1].as_str().unwrap());
        let is_ours = folders.iter().any(|folder| root.contains(folder.trim_start_matches("/tmp")));
        let is_known = own.iter().any(|path| path.ends_with(root) || root.starts_with(path.as_str()));
        assert!(!is_ours || is_known, "{root} at {inside}");
        assert!(!root.contains(".sock"), "{root} at {inside}");
    }
    let names = ["HOME", "HOSTNAME", "LANG", "LC_CTYPE", "PATH", "PLUGIN_DIR", "PLUGIN_ID", "PWD"];
    for name in found["environment"].as_array().unwrap() {
        assert!(names.contains(&name.as_str().unwrap()), "{name}");
    }
    let token = fs::read_to_string(target.machine.data().join("admin.token")).unwrap();
    assert!(!found["values"].as_str().unwrap().contains(token.trim()));
}

async fn tamper(target: &Target) {
    let victim: Victim<'_> = target.raw().await;
    let found = victim.result("look.tamper", json!({})).await;
    for (what, errno) in found.as_object().unwrap() {
        let wanted: &[i64] = match what.as_str() {
            // The first process of a namespace cannot be killed from inside it.
            "kill" => &[0],
            "second connect" | "second log" | "nonce" => &[ENOENT],
            _ => &[EROFS, EACCES, EPERM, ENOENT],
        };
        assert!(wanted.contains(&errno.as_i64().unwrap()), "{what}: {errno}");
    }
    victim.works().await;
    victim.expect_restarts(0).await;
}
