//! Commands that speak to a running service: plugins.

use super::support::process::Process;
use super::*;

/// A service, and a folder with a signed plugin in two versions and the pair of keys that signed it.
pub(super) struct Site {
    pub(super) process: Process,
    pub(super) folder: tempfile::TempDir,
}

impl Site {
    pub(super) fn start() -> Self {
        let folder = demo();
        let path = folder.path();
        plugbay(path, &["keygen", "--no-password", "--output", "author"]).ok();
        for version in ["1.0.0", "1.1.0"] {
            let manifest = fs::read_to_string(path.join("demo/plugin.yaml")).unwrap();
            fs::write(
                path.join("demo/plugin.yaml"),
                manifest.replace("version: 1.0.0", &format!("version: {version}")),
            )
            .unwrap();
            let archive = format!("demo-{version}.tar.gz");
            plugbay(path, &["pack", "demo", "-o", &archive]).ok();
            plugbay(path, &["sign", &archive, "--key", "author.key"]).ok();
        }
        fs::copy(path.join("demo-1.0.0.tar.gz"), path.join("unsigned.tar.gz")).unwrap();
        fs::write(path.join("plugbay.yaml"), "").unwrap();
        let process = Process::serve(&path.join("data"), &path.join("plugbay.yaml"), &[]);
        Self { process, folder }
    }

    /// A service that has the plugin.
    pub(super) fn with_plugin() -> Self {
        let site = Self::start();
        site.run(&["install", "demo-1.0.0.tar.gz", "--trust", "author.pub"]).ok();
        site
    }

    fn command(&self) -> Command {
        let mut command = command(self.folder.path(), env!("CARGO_BIN_EXE_plugbay"));
        command.env("PLUGBAY_URL", format!("http://{}", self.process.address));
        command
    }

    /// Runs a command with the first token, which is found in ./data.
    pub(super) fn run(&self, arguments: &[&str]) -> Run {
        finish(&self.command().args(arguments).output().unwrap())
    }

    pub(super) fn run_as(&self, token: &str, arguments: &[&str]) -> Run {
        finish(&self.command().env("PLUGBAY_TOKEN", token).args(arguments).output().unwrap())
    }

    /// Runs a command with --json, which must write one value and nothing else.
    #[track_caller]
    pub(super) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let run = self.run(&[arguments, &["--json"]].concat()).ok();
        assert_eq!(run.stdout.lines().count(), 1, "{}", run.stdout);
        run.json()
    }

    /// Runs a command that fails with --json: one value too, with this code.
    #[track_caller]
    pub(super) fn json_failure(&self, arguments: &[&str], exit: i32, code: &str) {
        let run = self.run(&[arguments, &["--json"]].concat());
        let failure = run.json();
        assert_eq!((run.code, failure["code"].as_str()), (exit, Some(code)), "{failure}");
        assert!(failure["how"].as_str().is_some_and(|how| !how.is_empty()), "{failure}");
    }
}

#[test]
fn install_says_what_was_installed_and_who_signed_it() {
    let site = Site::start();
    let archive = "demo-1.0.0.tar.gz";
    site.run(&["install", archive]).failed(5, "The signing key is not trusted");
    let run = site.run(&["install", archive, "--trust", "author.pub"]).ok();
    assert!(run.stdout.starts_with("installed demo 1.0.0 (plugin_"), "{}", run.stdout);
    assert!(run.stdout.contains("signed by   author ("), "{}", run.stdout);
    assert!(run.stderr.contains("trusted key ") && run.stderr.contains(" for demo"), "{}", run.stderr);
    site.run(&["install", archive]).failed(4, "plugin is installed already");
    site.json_failure(&["install", archive], 4, "plugin-exists");
    // Trusting a key twice is no mistake.
    let again = site.run(&["install", archive, "--trust", "author.pub", "--or-update"]).ok();
    assert!(again.stderr.contains("is registered already"), "{}", again.stderr);
    assert_eq!(again.stdout, "demo 1.0.0 is there already\n");
}

#[test]
fn an_archive_without_its_signature_ends_with_five() {
    let site = Site::start();
    site.run(&["key", "add", "author.pub", "--label", "me", "--names", "demo"]).ok();
    let run = site.run(&["install", "unsigned.tar.gz"]).failed(5, "error: The archive is not signed");
    assert!(run.stderr.contains("fix: sign it: plugbay sign FILE --key NAME.key"), "{}", run.stderr);
    assert!(run.stderr.contains("plugbay serve --insecure-dev with `security.signatures: off`"), "{}", run.stderr);
    site.json_failure(&["install", "unsigned.tar.gz"], 5, "signature-missing");
    site.run(&["install", "unsigned.tar.gz", "--signature", "gone.minisig"]).failed(2, "nothing at `gone.minisig`");
    site.run(&["install", "unsigned.tar.gz", "--signature", "demo-1.1.0.tar.gz.minisig"]).failed(5, "does not fit");
    site.run(&["install", "unsigned.tar.gz", "--signature", "demo-1.0.0.tar.gz.minisig"]).ok();
}

#[test]
fn install_names_the_mistake_before_anything_is_sent() {
    let site = Site::start();
    site.run(&["install", "gone.tar.gz"]).failed(2, "nothing at `gone.tar.gz`");
    fs::create_dir(site.folder.path().join("my-plugin")).unwrap();
    for command in
        [&["install", "my-plugin"][..], &["update", "demo", "my-plugin"], &["sign", "my-plugin", "--key", "author.key"]]
    {
        let run = site.run(command).failed(2, "`my-plugin` is a folder and no archive");
        assert!(run.stderr.contains("fix: plugbay pack my-plugin"), "{}", run.stderr);
    }
    site.run(&["install", "demo-1.0.0.tar.gz", "--trust", "gone.pub"]).failed(2, "nothing at `gone.pub`");
    site.run(&["install", "https://plugins.example/a.tar.gz", "--or-update"]).failed(2, "download the archive first");
    site.run(&["install", "https://127.0.0.1/a.tar.gz"]).failed(4, "The address is not allowed");
    fs::write(site.folder.path().join("text.tar.gz"), "no archive").unwrap();
    site.run(&["install", "text.tar.gz", "--trust", "author.pub"]).failed(4, "error:");
}

#[test]
fn updates_come_by_name_or_with_an_install() {
    let site = Site::with_plugin();
    let run = site.run(&["install", "demo-1.1.0.tar.gz", "--or-update"]).ok();
    assert!(run.stdout.starts_with("updated demo from 1.0.0 to 1.1.0\nwatched "), "{}", run.stdout);
    site.run(&["update", "demo", "demo-1.0.0.tar.gz"]).failed(4, "A higher version has been served before");
    let downgrade = site.json(&["update", "demo", "demo-1.0.0.tar.gz", "--allow-downgrade"]);
    assert_eq!((&downgrade["status"], &downgrade["version"]), (&"updated".into(), &"1.0.0".into()));
    site.run(&["update", "nobody", "demo-1.1.0.tar.gz"]).failed(3, "There is no such plugin");
}

#[test]
fn plugins_are_listed_shown_and_removed() {
    let site = Site::start();
    assert!(site.run(&["list"]).ok().stdout.starts_with("NAME"));
    assert_eq!(site.json(&["list"])["total"], 0);
    site.run(&["install", "demo-1.0.0.tar.gz", "--trust", "author.pub"]).ok();
    let list = site.run(&["list"]).ok().stdout;
    assert!(list.contains("demo  1.0.0    installed  unloaded  -          valid"), "{list}");
    assert_eq!(site.json(&["list", "--status", "installed", "--search", "dem"])["plugins"][0]["name"], "demo");
    assert_eq!(site.json(&["list", "--status", "enabled"])["total"], 0);
    assert_eq!(site.run(&["list", "--status", "nonsense"]).code, 2);

    let shown = site.run(&["show", "demo"]).ok().stdout;
    for line in ["name         demo", "version      1.0.0", "signature    valid, by author (", "versions     1.0.0"] {
        assert!(shown.contains(line), "{shown}");
    }
    let id = site.json(&["show", "demo"])["id"].as_str().unwrap().to_owned();
    assert_eq!(site.json(&["show", &id])["name"], "demo");
    let run = site.run(&["show", "nobody"]).failed(3, "There is no such plugin");
    assert!(run.stderr.contains("fix: plugbay list"), "{}", run.stderr);
    site.json_failure(&["show", "nobody"], 3, "plugin-unknown");
    site.run(&["show", "../keys"]).failed(3, "There is no such plugin");

    site.run(&["uninstall", "nobody"]).failed(3, "There is no such plugin");
    assert_eq!(site.run(&["uninstall", "demo"]).ok().stdout, "uninstalled demo\n");
    assert_eq!(site.json(&["list"])["total"], 0);
    site.json_failure(&["uninstall", "demo"], 3, "plugin-unknown");
}

#[test]
fn a_service_that_is_not_there_ends_with_seven() {
    let folder = tempfile::tempdir().unwrap();
    // Bound and closed again: nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = command(folder.path(), env!("CARGO_BIN_EXE_plugbay"));
        finish(&command.env("PLUGBAY_URL", format!("http://{free}")).args(arguments).output().unwrap())
    };
    for arguments in [
        &["list"][..],
        &["enable", "x"],
        &["exec", "x"],
        &["logs", "x", "-f"],
        &["stats"],
        &["show", "x"],
        &["key", "list"],
        &["audit", "verify"],
    ] {
        let failed = run(arguments).failed(7, "The server cannot be reached");
        assert!(failed.stderr.contains("plugbay serve") && failed.stderr.contains("PLUGBAY_URL"), "{}", failed.stderr);
    }
    let json = run(&["list", "--json"]);
    assert_eq!((json.code, json.json()["code"].as_str()), (7, Some("server-unreachable")));
}

#[test]
fn something_else_at_the_address_is_told_apart() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello").unwrap();
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path(), env!("CARGO_BIN_EXE_plugbay"));
    let run = finish(&command.env("PLUGBAY_URL", format!("http://{address}")).arg("list").output().unwrap());
    run.failed(1, "check that PLUGBAY_URL names a plugbay service");
}

#[test]
fn colours_need_a_terminal_that_wants_them() {
    let site = Site::start();
    assert!(!site.run(&["show", "nobody"]).stderr.contains('\u{1b}'));
    let in_terminal = |no_color: Option<&str>| {
        let mut command = command(site.folder.path(), "script");
        command.env("TERM", "xterm").env("PLUGBAY_URL", format!("http://{}", site.process.address));
        if let Some(value) = no_color {
            command.env("NO_COLOR", value);
        }
        let line = format!("{} show nobody", env!("CARGO_BIN_EXE_plugbay"));
        finish(&command.args(["-qec", &line, "/dev/null"]).output().unwrap()).stdout
    };
    assert!(in_terminal(None).contains("\u{1b}[31;1merror\u{1b}[0m"));
    assert!(in_terminal(Some("")).contains('\u{1b}'));
    let plain = in_terminal(Some("1"));
    assert!(plain.contains("error: there is no plugin `nobody`") && !plain.contains('\u{1b}'), "{plain}");
}
