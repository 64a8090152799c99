//! Sandboxes in a real Docker, looked at from inside, from outside and through the engine, and the whole service with
//! plugins that run in them. Needs Docker and the image
//! `plugbay/python:3` (`docker/python/build.sh`); without them these tests fail, unless `PLUGBAY_TEST_WITHOUT_DOCKER=1`
//! says that they may be left out.
#![expect(clippy::unwrap_used, reason = "a failed step should stop the test")]
#![expect(clippy::print_stdout, reason = "figures, for `--nocapture`")]

#[path = "../support/mod.rs"]
mod support;

mod asked;
mod backup;
mod bench;
mod breaker;
mod calls;
mod chat;
mod chat_host;
mod client;
mod configured;
mod container;
mod databases;
mod doctor;
mod elsewhere;
mod ends;
mod egress;
mod egress_attacks;
mod egress_programs;
mod engine;
mod engine_away;
mod entry_point;
mod examples;
mod exchanges;
mod fed;
mod fetched;
mod given_up;
mod granted;
mod hosts;
mod hurry;
mod inside;
mod killed;
mod kind;
mod lifecycle;
mod machine;
mod masked;
mod matrix;
mod metrics;
mod moment;
mod named;
mod observed;
mod ordered;
mod outside;
mod overload;
mod plugin_calls;
mod pressure;
mod process;
mod refused;
mod relays;
mod replaced;
mod required_example;
mod requires;
mod scanners;
mod served;
mod service_process;
mod soft_quota;
mod streams;
mod storms;
mod surroundings;
mod trial;
mod switching;
mod this_machine;
mod tools;
mod updates;
mod upstream;
mod volumes;
mod witnessed;
