//! Sandboxes that must not start, and what is said about them.

use plugbay::domain::{Code, Refusal as _};
use plugbay::sandbox::{SandboxError, SandboxSpec};

use super::bench::{Bench, config, docker, engine};
use super::kind::docker_is_there;

const SCRIPT: &str = "#!/bin/sh\necho 1\n";

/// Why this sandbox does not start. Nothing of it may be left.
async fn refusal(bench: &Bench) -> SandboxError {
    let error = bench.engine.start(&bench.spec).await.unwrap_err();
    assert_eq!(bench.sandbox_count(), 0);
    error
}

#[tokio::test]
async fn a_missing_image_is_named_with_the_command_that_makes_it() {
    if !docker_is_there() {
        return;
    }
    let Some(mut bench) = Bench::exec(SCRIPT) else { return };
    bench.spec.image = "plugbay/python:none".to_owned();
    let error = refusal(&bench).await;
    assert_eq!((error.code(), error.how().as_deref()), (Code::ImageMissing, Some("docker/python/build.sh")));
    assert_eq!(error.to_string(), "the image `plugbay/python:none` is not there");
    bench.spec.image = "example.invalid/other:1".to_owned();
    assert_eq!(refusal(&bench).await.how().as_deref(), Some("docker pull example.invalid/other:1"));
    assert!(matches!(bench.engine.plan(&bench.spec).await, Err(SandboxError::ImageMissing { .. })));
}

/// An image that is removed when the test ends.
struct Image(String);

impl Drop for Image {
    fn drop(&mut self) {
        docker(&["image", "rm", "--force", &self.0]).ok();
    }
}

#[tokio::test]
async fn an_image_with_a_volume_of_its_own_is_too_weak() {
    if !docker_is_there() {
        return;
    }
    let Some(mut bench) = Bench::exec(SCRIPT) else { return };
    let image = Image(format!("plugbay-test:{}", bench.spec.session));
    let base = docker(&["create", "plugbay/python:3", "true"]).unwrap();
    let made = docker(&["commit", "--change", "VOLUME /var/kept", "--change", "ENV OF_THE_IMAGE=1", &base, &image.0]);
    docker(&["rm", &base]).unwrap();
    made.unwrap();
    bench.spec.image.clone_from(&image.0);
    let error = refusal(&bench).await;
    assert_eq!(error.code(), Code::SandboxWeaker);
    let SandboxError::Weaker { differences } = error else { unreachable!() };
    assert_eq!(differences, ["Mounts: `/var/kept` (writable) was not asked for"]);
}

#[tokio::test]
async fn what_docker_refuses_is_told_in_its_words() {
    if !docker_is_there() {
        return;
    }
    let Some(bench) = Bench::exec(SCRIPT) else { return };
    let refuse = async |change: fn(&mut SandboxSpec)| {
        let mut spec = bench.spec.clone();
        change(&mut spec);
        let error = bench.engine.start(&spec).await.unwrap_err();
        assert_eq!(bench.sandbox_count(), 0);
        assert_eq!(error.code(), Code::PluginStartFailed, "{error}");
        format!("{error}: {}", std::error::Error::source(&error).unwrap())
    };
    let text = refuse(|spec| (spec.limits.memory_mb, spec.limits.tmp_mb) = (1, 1)).await;
    assert!(text.starts_with("Docker failed to make the container: "), "{text}");
    let text = refuse(|spec| spec.package = "/nonexistent/package".into()).await;
    assert!(text.contains("/nonexistent/package"), "{text}");
}

#[tokio::test]
async fn a_sandbox_that_ends_at_once_is_not_left_behind() {
    let Some(bench) = Bench::exec(SCRIPT) else { return };
    // Without the socket the shim has nobody to speak with.
    std::fs::remove_file(bench.spec.instance_dir.join("host.sock")).unwrap();
    match bench.engine.start(&bench.spec).await {
        Err(error) => {
            assert_eq!(error.to_string(), "the sandbox ended at once with exit code 72");
            assert_eq!(bench.sandbox_count(), 0);
        }
        // It ended only after Docker was asked.
        Ok(sandbox) => assert_eq!(bench.engine.wait(&sandbox.id).await.unwrap().exit_code, 72),
    }
}

#[tokio::test]
async fn an_unknown_runtime_is_refused_before_anything_is_made() {
    if !docker_is_there() {
        return;
    }
    let Some(bench) = Bench::exec(SCRIPT) else { return };
    let mut config = config();
    config.runtime = "unheard-of".to_owned();
    let error = engine("test", &config).start(&bench.spec).await.unwrap_err();
    assert_eq!(error.code(), Code::EngineTooOld);
    assert_eq!(error.to_string(), "Docker has no runtime named `unheard-of`");
    assert_eq!(error.how().as_deref(), Some("set `sandbox.runtime` to runc"));
}
