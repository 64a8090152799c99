//! The data directory: one service, a whole database, nothing left over.

use std::fs;

use plugbay::domain::Refusal;

use crate::support::app::TestApp;
use crate::support::author::{manifest, package};

#[tokio::test]
async fn a_second_service_on_the_directory_is_refused() {
    let app = TestApp::start().await;
    let (setup, error) = TestApp::setup()
        .with(|config| config.server.data_dir = app.data())
        .try_start()
        .await
        .err()
        .expect("the second one is refused");
    assert_eq!(error.code().as_str(), "data-dir-in-use");
    drop(setup);
    app.get("/api/plugins").await.expect(200);
}

#[tokio::test]
async fn a_lost_or_damaged_database_is_refused_and_not_made_anew() {
    let setup = TestApp::start().await.stop().await;
    let database = setup.data().join("plugbay.db");
    let whole = fs::read(&database).unwrap();

    fs::remove_file(&database).unwrap();
    let (setup, error) = setup.try_start().await.err().expect("it is refused");
    assert_eq!(error.code().as_str(), "database-corrupt");
    assert!(!database.exists());

    let mut damaged = whole.clone();
    for byte in &mut damaged[4096..8192] {
        *byte = 0xff;
    }
    fs::write(&database, &damaged).unwrap();
    let (setup, error) = setup.try_start().await.err().expect("it is refused");
    assert_eq!(error.code().as_str(), "database-corrupt");

    fs::write(&database, whole).unwrap();
    setup.start().await.get("/api/audit/verify").await.expect(200);
}

#[tokio::test]
async fn a_lost_or_readable_master_key_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let setup = TestApp::start().await.stop().await;
    let key = setup.data().join("master.key");
    let bytes = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    let (setup, error) = setup.try_start().await.err().expect("it is refused");
    assert!(error.to_string().contains("master.key"), "{error}");
    fs::write(&key, bytes).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let (_, error) = setup.try_start().await.err().expect("it is refused");
    assert!(error.how().unwrap().contains("chmod 600"), "{error}");
}

#[tokio::test]
async fn what_a_killed_install_left_is_removed_at_the_next_start() {
    let app = TestApp::setup().unsigned().start().await;
    app.install(&package(&manifest("my-plugin", "1.0.0")), None).await.expect(201);
    let setup = app.stop().await;
    let lost = "0".repeat(64);
    fs::create_dir_all(setup.data().join("staging/half")).unwrap();
    fs::create_dir_all(setup.data().join("packages").join(&lost)).unwrap();
    fs::write(setup.data().join("archives").join(&lost), b"x").unwrap();
    let app = setup.start().await;
    for (folder, kept) in [("staging", 0), ("packages", 1), ("archives", 1)] {
        assert_eq!(fs::read_dir(app.data().join(folder)).unwrap().count(), kept, "{folder}");
    }
    assert_eq!(app.get("/api/plugins").await.expect(200)["total"], 1);
}

#[tokio::test]
async fn a_nearly_full_disk_refuses_installs_and_nothing_else() {
    let app =
        TestApp::setup().unsigned().with(|config| config.storage.min_free_bytes = u64::MAX / 2).start_unready().await;
    app.install(&package(&manifest("my-plugin", "1.0.0")), None).await.expect_problem(507, "storage-full");
    app.get("/api/plugins").await.expect(200);
    let ready = app.get("/readyz").await.expect(503);
    assert!(ready["checks"]["disk"].as_str().unwrap().contains("free some space"), "{ready}");
}

/// A folder on a file system of its own, which can be filled. Needs root.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = run("mount", &["-t", "tmpfs", "-o", "size=4m", "tmpfs", folder.path().to_str().unwrap()]);
        mounted.then_some(Self(folder))
    }

    fn fill(&self) -> std::path::PathBuf {
        let file = self.0.path().join("fill");
        // Writing ends with an error when nothing is left.
        std::io::copy(&mut std::io::repeat(0), &mut fs::File::create(&file).unwrap()).unwrap_err();
        file
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run("umount", &["-l", self.0.path().to_str().unwrap()]);
    }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    #[expect(clippy::disallowed_methods, reason = "mounts a disk for the test")]
    let output = std::process::Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_is_forgotten_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        // Only root can mount a disk to fill.
        return;
    };
    let data = disk.0.path().join("data");
    let app = TestApp::setup().unsigned().with(|config| config.server.data_dir = data.clone()).start().await;
    let archive = package(&manifest("my-plugin", "1.0.0"));
    app.install(&archive, None).await.expect(201);
    let noise: Vec<u8> = (0..8_000_000_u32).flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let large =
        crate::support::author::pack(&[("plugin.yaml", manifest("large", "1.0.0").as_bytes()), ("main.py", &noise)]);
    app.install(&large, None).await.expect_problem(507, "storage-full");

    let fill = disk.fill();
    let body = serde_json::json!({"label": "x".repeat(200), "scopes": ["read"]});
    let mut refused = 0;
    while refused == 0 {
        // The write-ahead log may have some room left.
        let answer = app.post("/api/tokens", &body).await;
        if answer.status.as_u16() != 201 {
            answer.expect_problem(507, "storage-full");
            refused += 1;
        }
    }
    let backup = app.request(reqwest::Method::POST, "/api/system/backup");
    crate::support::app::send(backup).await.expect_problem(507, "storage-full");
    assert_eq!(fs::read_dir(data.join("staging")).unwrap().count(), 0, "nothing of the backup is left");
    app.delete("/api/plugins/my-plugin").await.expect_problem(507, "storage-full");
    app.get("/api/plugins/my-plugin").await.expect(200);

    fs::remove_file(fill).unwrap();
    app.post("/api/tokens", &body).await.expect(201);
    app.install(&package(&manifest("other", "1.0.0")), None).await.expect(201);
    app.get("/api/audit/verify").await.expect(200);
    drop(app.stop().await);
}
