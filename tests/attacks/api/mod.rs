//! Attacks on the HTTP interface: who asks, how requests are framed, what is in them, and what is left of them.
//! A request that reaches no use case (refused for its token, its form or its address) writes no row of the audit
//! log; an upload or address that is too large or refused (413, 422) writes one, like a refused install. The number that
//! each attack expects counts these and the changes made.
#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod access;
mod bodies;
mod framing;
mod json;
mod texts;
mod trail;

use crate::Attack;

pub const TABLES: [&[Attack]; 6] =
    [access::TABLE, bodies::TABLE, framing::TABLE, json::TABLE, texts::TABLE, trail::TABLE];

#[test]
fn callers_without_the_right_token_or_name() {
    crate::run(access::TABLE);
}

#[test]
fn uploads_that_are_malformed_or_too_many() {
    crate::run(bodies::TABLE);
}

#[test]
fn requests_that_are_framed_wrongly_or_slowly() {
    crate::run(framing::TABLE);
}

#[test]
fn json_at_its_edges() {
    crate::run(json::TABLE);
}

#[test]
fn texts_that_mean_something_elsewhere() {
    crate::run(texts::TABLE);
}

#[test]
fn traces_that_are_changed_or_tell_too_much() {
    crate::run(trail::TABLE);
}
