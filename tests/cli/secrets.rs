//! What never travels in an archive: the author's secret keys, and what is nobody's business.

use super::*;

/// A key that was made for this run alone, in PEM form.
fn pem(base: &Path) -> String {
    shell(base, "openssl genpkey -algorithm ed25519").ok().stdout
}

fn with_key(place: &str, text: impl FnOnce(&Path) -> String) -> tempfile::TempDir {
    let base = plugin("name: demo\nversion: 1.0.0\nmain: main.py\n");
    let content = text(base.path());
    fs::create_dir_all(base.path().join("demo").join(place).parent().unwrap()).unwrap();
    fs::write(base.path().join("demo").join(place), content).unwrap();
    base
}

fn signing_key(base: &Path) -> String {
    plugbay(base, &["keygen", "--no-password", "--output", "acme"]).ok();
    fs::read_to_string(base.join("acme.key")).unwrap()
}

#[test]
fn files_that_are_usually_secret_stay_at_home_without_a_pluginignore() {
    let base = with_key("acme.key", signing_key);
    for name in [".env", ".env.local", "id_rsa", "id_ed25519"] {
        fs::write(base.path().join("demo").join(name), "TOKEN=1\n").unwrap();
    }
    fs::write(base.path().join("demo/id_map.json"), "{}").unwrap();
    plugbay(base.path(), &["validate", "demo"]).ok();
    plugbay(base.path(), &["pack", "demo", "-o", "a.tar.gz"]).ok();
    let listing = shell(base.path(), "tar -tzf a.tar.gz").ok().stdout;
    assert_eq!(listing, "demo/\ndemo/id_map.json\ndemo/main.py\ndemo/plugin.yaml\n");
}

#[test]
fn secret_keys_are_refused_under_any_name_and_inside_other_files() {
    let texts: [fn(&Path) -> String; 2] = [pem, signing_key];
    for (kind, text) in ["a private key in PEM form", "a minisign secret key"].into_iter().zip(texts) {
        for place in ["notes.txt", "sub/config.json", "tests/test_tls.py", "vendor/server.pem"] {
            let base = with_key(place, |base| format!("first line\n{}", text(base)));
            let found = format!("`{place}` holds {kind}");
            for command in [["pack", "demo"].as_slice(), &["pack", "demo", "--list"], &["validate", "demo"]] {
                let run = plugbay(base.path(), command).failed(4, &found);
                assert!(run.stderr.contains("error: A secret key is among the files"), "{}", run.stderr);
                assert!(run.stderr.contains("fix: move the key out"), "{}", run.stderr);
            }
            assert!(!base.path().join("demo-1.0.0.tar.gz").exists());
            let json = plugbay(base.path(), &["pack", "demo", "--json"]).json();
            assert_eq!(json["code"], "secret-in-package");
            assert_eq!(json["errors"].as_array().unwrap().len(), 1);
            shell(base.path(), "tar -czf a.tar.gz demo").ok();
            plugbay(base.path(), &["validate", "a.tar.gz"]).failed(4, kind);
            fs::write(base.path().join("demo/.pluginignore"), format!("/{place}\n")).unwrap();
            plugbay(base.path(), &["pack", "demo"]).ok();
        }
    }
}

#[test]
fn certificates_and_public_keys_travel() {
    let base = with_key("acme.pub", |base| {
        signing_key(base);
        fs::read_to_string(base.join("acme.pub")).unwrap()
    });
    let line = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout /dev/null -out demo/cacert.pem";
    shell(base.path(), line).ok();
    plugbay(base.path(), &["pack", "demo", "-o", "a.tar.gz"]).ok();
    let listing = shell(base.path(), "tar -tzf a.tar.gz").ok().stdout;
    assert!(listing.contains("demo/acme.pub\n") && listing.contains("demo/cacert.pem\n"), "{listing}");
}

#[test]
fn the_list_shows_sizes_and_the_rule_that_leaves_a_file_out() {
    let base = with_key(".env", |_| "TOKEN=1\n".to_owned());
    for (path, content) in
        [("data/big.bin", "x".repeat(2000)), ("old.log", "x".to_owned()), ("tests/a.py", "x".to_owned())]
    {
        let path = base.path().join("demo").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    fs::write(base.path().join("demo/.pluginignore"), "*.log\n/tests/\n").unwrap();
    let list = plugbay(base.path(), &["pack", "demo", "--list"]).ok().stdout;
    for line in ["        2000  data/big.bin\n", "  .env  (built in: `.env*`)", "  old.log  (.pluginignore: `*.log`)"] {
        assert!(list.contains(line), "{list}");
    }
    assert!(list.contains("  tests/  (.pluginignore: `/tests/`)") && list.contains("3 files together"), "{list}");
    assert!(!base.path().join("demo-1.0.0.tar.gz").exists());
    let json = plugbay(base.path(), &["pack", "demo", "--list", "--json"]).ok().json();
    assert_eq!(json["files"][0]["path"], "data/big.bin");
    assert_eq!(json["files"][0]["size"], 2000);
    let rules: Vec<_> = json["left_out"].as_array().unwrap().iter().map(|out| out["rule"].as_str().unwrap()).collect();
    assert_eq!(rules, [".env*", ".pluginignore", "*.log", "/tests/"]);
}
