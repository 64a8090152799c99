//! What tests of the running service share: a real server on a free port, its database in a temporary folder,
//! a clock that the test moves, and packages made on the spot.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

pub mod app;
pub mod author;
pub mod database;
pub mod process;
pub mod prometheus;
pub mod raw;
