//! Engines that are not there, not allowed, or talk nonsense. None of these needs Docker but the first.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use plugbay::config::{Config, SandboxConfig};
use plugbay::domain::{Code, Refusal as _};
use plugbay::sandbox::{DockerEngine, Sandbox as _, SandboxError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;

use super::bench::config;
use super::kind::docker_is_there;

fn engine_at(socket: &Path) -> DockerEngine {
    let mut config = config();
    config.docker_host = format!("unix://{}", socket.display());
    docker_engine(&config)
}

fn docker_engine(config: &SandboxConfig) -> DockerEngine {
    DockerEngine::new("test", config, Config::for_testing(Path::new("/tmp/unused")).calls)
}

#[tokio::test]
async fn docker_tells_who_it_is() {
    if !docker_is_there() {
        return;
    }
    let info = docker_engine(&config()).probe().await.unwrap();
    assert!(info.name.starts_with("Docker ") && !info.name.contains('+'), "{info:?}");
    assert!([1, 2].contains(&info.cgroup_version) && info.cpus > 0 && info.uid_base >= 20_000, "{info:?}");
}

/// Every question fails with this code, and the advice contains this.
async fn assert_all_fail(engine: &DockerEngine, code: Code, advice: &str) {
    let failures: [SandboxError; 5] = [
        engine.probe().await.unwrap_err(),
        engine.list().await.unwrap_err(),
        engine.remove("0123456789ab").await.unwrap_err(),
        engine.usage("0123456789ab").await.unwrap_err(),
        engine.wait("0123456789ab").await.unwrap_err(),
    ];
    for failure in failures {
        assert_eq!(failure.code(), code, "{failure}: {:?}", std::error::Error::source(&failure));
        let how = failure.how().unwrap_or_default();
        assert!(how.contains(advice), "{how}");
    }
    assert!(engine.events().await.is_err());
}

#[tokio::test]
async fn each_way_of_not_being_there_has_its_own_advice() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let missing = engine_at(&at("missing.sock"));
    assert_all_fail(&missing, Code::EngineUnavailable, "apt-get install docker.io").await;
    let text = missing.probe().await.unwrap_err().to_string();
    assert_eq!(text, format!("Docker cannot be reached at {}", at("missing.sock").display()));
    std::fs::write(at("file"), "").unwrap();
    assert_all_fail(&engine_at(&at("file")), Code::EngineUnavailable, "set `sandbox.docker_host`").await;
    drop(UnixListener::bind(at("refused.sock")).unwrap());
    assert_all_fail(&engine_at(&at("refused.sock")), Code::EngineUnavailable, "systemctl start docker").await;
}

/// An engine that gives this answer to everything and keeps the connection open if told so.
fn fake(folder: &Path, answer: &'static str, stays: bool) -> DockerEngine {
    let path = folder.join("engine.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let serve = async move {
        let mut open = Vec::new();
        loop {
            let Ok((mut connection, _)) = listener.accept().await else { return };
            let mut request = [0; 4096];
            // The request is not looked at, but an answer before it would not be one.
            if connection.read(&mut request).await.is_ok_and(|count| count > 0) {
                connection.write_all(answer.as_bytes()).await.ok();
            }
            if stays {
                open.push(connection);
            }
        }
    };
    #[expect(clippy::disallowed_methods, reason = "the runtime of the test ends it")]
    tokio::spawn(serve);
    engine_at(&path)
}

#[tokio::test]
async fn an_engine_that_refuses_everything_is_told_apart_from_one_that_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let answer = "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: 24\r\n\r\n{\"message\":\"disk broken\"}";
    let engine = fake(folder.path(), answer, false);
    let error = engine.probe().await.unwrap_err();
    assert!(matches!(error, SandboxError::Failed { .. }), "{error}");
    assert_eq!(error.to_string(), "Docker failed to tell what it can do");
}

#[tokio::test]
async fn nonsense_is_an_error_and_never_a_panic() {
    let answers = [
        "",
        "hello\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"half\":",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 301 Moved\r\nLocation: http://example.invalid/\r\nContent-Length: 0\r\n\r\n",
    ];
    for answer in answers {
        let folder = tempfile::tempdir().unwrap();
        let engine = fake(folder.path(), answer, false);
        assert!(engine.probe().await.is_err(), "{answer}");
        assert!(engine.usage("0123456789ab").await.is_err(), "{answer}");
        assert!(engine.wait("0123456789ab").await.is_err(), "{answer}");
        if let Ok(found) = engine.list().await {
            assert_eq!(found, []);
        }
    }
}

#[tokio::test]
async fn an_engine_without_what_is_needed_is_too_old() {
    let folder = tempfile::tempdir().unwrap();
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{\"ApiVersion\":\"1.40\"}";
    let error = fake(folder.path(), answer, false).probe().await.unwrap_err();
    assert_eq!(error.code(), Code::EngineTooOld);
    assert!(error.to_string().contains("1.40"), "{error}");
    assert!(error.how().unwrap().contains("20.10"));
}

#[tokio::test]
async fn a_silent_engine_does_not_hang_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let engine = fake(folder.path(), "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"half\":", true);
    let (probe, list) = tokio::join!(engine.probe(), engine.list());
    for error in [probe.unwrap_err(), list.unwrap_err()] {
        assert_eq!(error.code(), Code::EngineUnavailable);
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "no answer within 10 s");
        assert_eq!(error.how().as_deref(), Some("systemctl restart docker"));
    }
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn a_socket_that_may_not_be_opened_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    // Root may open everything, and this test says nothing then.
    let opened = tokio::net::UnixStream::connect(&path).await;
    if opened.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
        assert_all_fail(&engine_at(&path), Code::EngineUnavailable, "usermod -aG docker").await;
    }
}
