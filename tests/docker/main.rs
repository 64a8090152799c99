//! Sandboxes in a real Docker, looked at from inside, from outside and through the engine. Needs Docker and the image
//! `plugbay/python:3` (`docker/python/build.sh`); without them these tests fail, unless `PLUGBAY_TEST_WITHOUT_DOCKER=1`
//! says that they may be left out.
#![expect(clippy::unwrap_used, reason = "a failed step should stop the test")]

#[path = "../support/mod.rs"]
mod support;

mod bench;
mod container;
mod engine;
mod examples;
mod inside;
mod lifecycle;
mod outside;
mod refused;
