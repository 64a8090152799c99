//! `plugbay doctor`: whether the service has what it needs.

use std::os::unix::net::UnixStream;
use std::path::Path;

use serde::Serialize;

use super::connection::Connection;
use crate::cli::Context;
use crate::cli::failure::{Failure, Local};
use crate::startup::MissingLibraries;
use crate::wire::{Check, System};

/// Where Docker listens unless told otherwise.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// Where bubblewrap is.
const BUBBLEWRAP: &str = "/usr/bin/bwrap";

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: plugbay doctor --json\n\nEnds with 1 when something is missing. Where no service \
                        answers, what it would need on this machine is checked, and it ends with 7.")]
pub(in crate::cli) struct DoctorArguments {}

/// Why the service cannot be asked, with what was found without it.
#[derive(Serialize)]
struct Alone<'a> {
    #[serde(flatten)]
    failure: &'a Failure,
    doctor: &'a [Check],
}

pub(in crate::cli) fn doctor(_arguments: &DoctorArguments, context: &Context) -> Result<(), Failure> {
    let connection = Connection::open(context)?;
    let system: System = match connection.get("/api/system") {
        Ok(system) => system,
        Err(failure) if &*failure.code == Local::Unreachable.as_str() => return Err(alone(failure, context)),
        Err(failure) => return Err(failure),
    };
    let mut lines = vec![format!("plugbay {} at {}", system.version, connection.url())];
    if system.insecure_dev {
        lines.push("started with --insecure-dev, for development only".to_owned());
    }
    lines.push(format!("signatures are {}", system.signatures));
    lines.push(match &system.isolation {
        Some(isolation) => format!("plugins are isolated by {isolation}"),
        None => format!("nothing runs plugins yet; the engine is {}", system.engine),
    });
    lines.extend(system.doctor.iter().map(check_text));
    context.output.result(&lines.join("\n"), &system);
    if system.doctor.iter().all(Check::is_fine) { Ok(()) } else { Err(Failure::shown(Local::Failed)) }
}

/// Without a service only this machine can be looked at.
fn alone(mut failure: Failure, context: &Context) -> Failure {
    let docker = context.environment.get("PLUGBAY__SANDBOX__DOCKER_HOST").unwrap_or(DOCKER_SOCKET);
    let docker = check_docker(docker.strip_prefix("unix://").unwrap_or(docker));
    let mut checks = vec![docker, check_process(Path::new(BUBBLEWRAP))];
    checks.extend(MissingLibraries::find().as_ref().map(check_libraries));
    let text: Vec<_> = checks.iter().map(check_text).collect();
    context.output.result(&text.join("\n"), &Alone { failure: &failure, doctor: &checks });
    failure.shown = context.output.is_json();
    failure
}

fn check_docker(socket: &str) -> Check {
    let result = UnixStream::connect(socket);
    Check {
        check: "docker".to_owned(),
        ok: result.is_ok(),
        detail: match &result {
            Ok(_) => format!("answers at {socket}"),
            Err(error) => format!("nothing answers at {socket}: {error}"),
        },
        how: result.err().map(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => "sudo usermod -aG docker $USER, then log in again".to_owned(),
            std::io::ErrorKind::NotFound => "apt-get install docker.io".to_owned(),
            _ => "systemctl start docker".to_owned(),
        }),
    }
}

/// The service itself tries much more; this says what to install.
fn check_process(bubblewrap: &Path) -> Check {
    let missing = [
        (!bubblewrap.is_file(), "needs bubblewrap, which is not installed", "apt-get install bubblewrap"),
        (!rustix::process::geteuid().is_root(), "needs a service that is started by root", "sudo plugbay serve"),
    ];
    let missing: Vec<_> = missing.into_iter().filter(|(is_missing, ..)| *is_missing).collect();
    let joined = |parts: Vec<&str>| parts.join("; ");
    let detail = joined(missing.iter().map(|(_, detail, _)| *detail).collect());
    let how = joined(missing.iter().map(|(.., how)| *how).collect());
    let ok = missing.is_empty();
    Check {
        check: "process".to_owned(),
        ok,
        detail: if ok { "bubblewrap is installed".to_owned() } else { detail },
        how: (!ok).then_some(how),
    }
}

/// A warning: nothing but some wheels of plugins under bubblewrap needs them.
fn check_libraries(missing: &MissingLibraries) -> Check {
    let how = Some(MissingLibraries::HOW.to_owned());
    Check { check: "libraries".to_owned(), ok: true, detail: missing.to_string(), how }
}

fn check_text(check: &Check) -> String {
    // What is fine and still has a way out is a warning.
    let mark = match (check.ok, &check.how) {
        (true, None) => "ok     ",
        (true, Some(_)) => "warning",
        (false, _) => "missing",
    };
    let how = check.how.as_ref().map(|how| format!("\n        {how}")).unwrap_or_default();
    format!("{mark} {}: {}{how}", check.check, check.detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_comes_with_a_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let path = socket.to_str().unwrap();
        assert!(check_text(&check_docker(path)).contains("\n        apt-get install docker.io"));
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(check_text(&check_docker(path)), format!("ok      docker: answers at {path}"));
        assert!(check_text(&check_process(&folder.path().join("bwrap"))).contains("apt-get install bubblewrap"));
        drop(listener);
        assert!(check_text(&check_docker(path)).contains("systemctl start docker"));
    }
}
