//! What is counted about plugins, as it is shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use plugbay_domain::{PluginName, PluginState, Word as _};
use plugbay_runtime::metrics::Page;
use plugbay_store::audit;

use crate::{EngineState, Fleet, FleetError, Member};

/// Writes the figures about the service, and about those plugins that may be shown.
pub async fn write_metrics(
    fleet: &Fleet,
    page: &mut Page,
    may_see: impl Fn(&PluginName) -> bool,
) -> Result<(), FleetError> {
    let rows = audit::head(&mut *fleet.store.reader().await?).await?.map_or(0, |head| head.seq);
    let mut members = fleet.members();
    members.retain(|member| may_see(&member.name));
    members.sort_by(|one, other| one.name.cmp(&other.name));
    write_service(fleet, page, rows.unsigned_abs());
    write_states(page, &members);
    write_calls(page, &members);
    write_rest(page, &members);
    Ok(())
}

fn write_service(fleet: &Fleet, page: &mut Page, audit_rows: u64) {
    page.gauge("plugbay_build_info", "Which plugbay this is.");
    page.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.gauge("plugbay_engine_up", "Whether what runs sandboxes answers.");
    page.sample(&[], matches!(fleet.engine_state(), EngineState::Up(_)).into());
    page.gauge("plugbay_audit_rows", "Rows of the audit log.");
    page.sample(&[], audit_rows);
    page.gauge("plugbay_calls_under_way", "Calls of all plugins that run or wait; `limits.in_flight` is the most.");
    page.sample(&[], fleet.in_flight.taken() as u64);
    let starts = fleet.launches.meters();
    page.counter("plugin_starts_total", "Starts of sandboxes by how they ended.");
    for (outcome, count) in starts.outcomes.each() {
        page.sample(&[("outcome", outcome.as_str())], count);
    }
    page.histogram("plugin_start_duration_seconds", "Time of a start from its turn until the plugin is active.");
    page.observed(&[], &starts.seconds);
    page.counter("plugin_host_requests_total", "Requests of plugins to host functions by how they ended.");
    for (function, outcome, count) in fleet.host_meters.each() {
        page.sample(&[("function", function.as_str()), ("outcome", outcome.as_str())], count);
    }
}

fn write_states(page: &mut Page, members: &[Arc<Member>]) {
    page.gauge("plugbay_plugins", "Plugins by state, of those that this process has had to do with.");
    for state in PluginState::ALL {
        let count = members.iter().filter(|member| member.state() == *state).count();
        page.sample(&[("state", state.as_str())], count as u64);
    }
}

fn write_calls(page: &mut Page, members: &[Arc<Member>]) {
    page.counter("plugin_calls_total", "Calls that reached the plugin, by how they ended.");
    for member in members {
        for (outcome, count) in member.record.outcomes.each() {
            page.sample(&[("plugin", member.name.as_str()), ("outcome", outcome.as_str())], count);
        }
    }
    page.histogram("plugin_execute_duration_seconds", "Time of a call from its arrival to its end.");
    for member in members {
        page.observed(&[("plugin", member.name.as_str())], &member.record.durations);
    }
    let count = |number: &AtomicUsize| number.load(Ordering::Relaxed) as u64;
    page.gauge("plugin_calls_queued", "Calls that wait for a place or for the plugin to start.");
    each(page, members, |member| count(&member.queued));
    page.gauge("plugin_calls_in_flight", "Calls that the plugin works on.");
    each(page, members, |member| count(&member.running));
}

fn write_rest(page: &mut Page, members: &[Arc<Member>]) {
    page.counter("plugin_restarts_total", "Starts after an end that nobody asked for.");
    each(page, members, |member| member.record.restarts());
    page.counter("plugin_breaker_opens_total", "How often calls were stopped because they only failed.");
    each(page, members, |member| member.breaker_opens.get());
    page.counter("plugin_egress_connections_total", "Connections and requests to other hosts, by what was decided.");
    for member in members {
        let reach = member.reach();
        let exit = &reach.exit;
        for (decision, count) in [("opened", exit.opened()), ("refused", exit.refused()), ("failed", exit.failed())] {
            page.sample(&[("plugin", member.name.as_str()), ("decision", decision)], count);
        }
    }
}

/// One number for each plugin.
fn each(page: &mut Page, members: &[Arc<Member>], number: impl Fn(&Member) -> u64) {
    for member in members {
        page.sample(&[("plugin", member.name.as_str())], number(member));
    }
}
