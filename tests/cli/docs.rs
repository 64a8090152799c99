//! `plugbay docs`

use super::*;

const MANIFEST: &str = "name: demo\nversion: 1.0.0\nmain: main.py\nclass: P\ndescription: Does <b>this</b>\n\
    permissions: [chat_access, network_access, database_read]\noptional_permissions: [filesystem_read]\n\
    network: { allow: [api.example.com] }\naccess: { database_read: [crm] }\nrequires: { other: '*' }\n\
    hooks: [{ name: on_message, priority: HIGH, on_failure: block }]\n\
    commands: [{ name: /roll, usage: '/roll N|M', description: Rolls dice }]\n\
    config_schema:\n  key: { type: string, required: true, secret: { hosts: [api.example.com] }, description: The key }\n  \
    limit: { type: integer, default: 5, minimum: 1 }\n\
    tools:\n  - name: look-up\n    description: Looks a word up\n    method: execute\n    \
    input: { type: object, properties: { word: { type: string, description: What is looked up } }, required: [word] }\n    \
    annotations: { read_only: true }\n";

const CODE: &str = r#"
import os, socket
open("ran", "w")
os.mkdir("ran-too")
import plugbay

class P(plugbay.Plugin):
    """<script>alert(1)</script>"""

    async def execute(self, context: dict[str, str | int]) -> "Answer | None":
        """Looks up `word`.

        <script>alert(2)</script> [link](javascript:alert(3)) ![pic](https://a.example/x)
        <!-- end of plugbay docs -->
        """
        await self.host.db.query("crm", "SELECT 1")
        return await self.host.http.fetch("https://api.example.com")

    @plugbay.method
    def parts(self, context, *, quick: bool = False):
        """Parts."""
        yield 1

    def hidden(self, context):
        """Nobody reads this."""

    async def on_message(self, message):
        """Answers <greetings>."""
"#;

fn demo() -> tempfile::TempDir {
    let base = plugin(MANIFEST);
    fs::write(base.path().join("demo/main.py"), CODE).unwrap();
    base
}

fn read(base: &Path, path: &str) -> String {
    fs::read_to_string(base.join("demo").join(path)).unwrap()
}

#[test]
fn everything_is_documented_and_nothing_is_run() {
    let base = demo();
    let here = base.path();
    let readme = "# Demo\r\n\r\nMine.\r\n";
    fs::write(here.join("demo/README.md"), readme).unwrap();
    let missing = plugbay(here, &["docs", "demo", "--check"]).failed(1, "README.md, docs/methods.md");
    assert!(missing.stderr.contains("fix: plugbay docs demo"), "{}", missing.stderr);
    let written = plugbay(here, &["docs", "demo", "--html", "--json"]).ok().json();
    let pages = ["methods", "tools", "chat", "configuration", "permissions"].map(|page| format!("docs/{page}.md"));
    let files: Vec<&str> = written["written"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    assert_eq!(
        (files[0], &files[1..6], files[6]),
        ("README.md", &pages.each_ref().map(String::as_str)[..], "docs/index.html")
    );
    for ran in ["ran", "ran-too"] {
        assert!(!here.join(ran).exists() && !here.join("demo").join(ran).exists(), "the code was run");
    }

    let section = read(here, "README.md");
    assert!(section.starts_with("# Demo\r\n\r\nMine.\r\n\r\n<!-- plugbay docs"), "{section}");
    assert!(section.contains("- [Methods](docs/methods.md): `execute`, `parts`\r\n"), "{section}");
    assert!(section.contains("- [Tools](docs/tools.md): `demo.look-up`\r\n"), "{section}");
    let methods = read(here, "docs/methods.md");
    assert!(methods.contains("execute(context: dict[str, str | int]) -> Answer | None"), "{methods}");
    assert!(methods.contains("Looks up `word`.") && methods.contains("It answers in parts"), "{methods}");
    assert!(methods.contains("parts(context, quick: bool)") && !methods.contains("Nobody"), "{methods}");
    let tools = read(here, "docs/tools.md");
    assert!(tools.contains("| `word` | `string` | required | What is looked up |"), "{tools}");
    assert!(tools.contains("## `demo.look-up`") && tools.contains("It changes nothing."), "{tools}");
    let chat = read(here, "docs/chat.md");
    assert!(
        chat.contains("Its priority is HIGH. On a failure: block.") && chat.contains("&lt;greetings&gt;"),
        "{chat}"
    );
    assert!(chat.contains("| `/roll` | `/roll N\\|M` | Rolls dice |"), "{chat}");
    let configuration = read(here, "docs/configuration.md");
    assert!(configuration.contains("| `key` | `string` | required | The key Secret; it goes to"), "{configuration}");
    assert!(configuration.contains("| `limit` | `integer` | `5` | (at least 1) |"), "{configuration}");
    let permissions = read(here, "docs/permissions.md");
    for row in [
        "| `network_access`: `api.example.com:443` | required | reaches these hosts",
        "| `database_read`: `crm` | required | reads databases that the operator names | `db.query` |",
        "| `filesystem_read` | optional |",
        "| `plugins`: `other` | required |",
        "`/roll`, `on_message` |",
        "`http.fetch`",
    ] {
        assert!(permissions.contains(row), "{row}: {permissions}");
    }

    // Once written, it is up to date, also with the page of HTML.
    plugbay(here, &["docs", "demo", "--check"]).ok();
    assert_eq!(plugbay(here, &["docs", "demo"]).ok().stdout, "nothing to write\n");
    fs::write(here.join("demo/main.py"), CODE.replace("Parts.", "Pieces.")).unwrap();
    let stale = plugbay(here, &["docs", "demo", "--check"]).failed(1, "docs/methods.md, docs/index.html");
    assert!(!stale.stderr.contains("README.md"), "{}", stale.stderr);
    assert!(read(here, "docs/methods.md").contains("Parts."), "a check writes nothing");
    // What there is nothing to say for any more goes.
    fs::write(here.join("demo/plugin.yaml"), "name: demo\nversion: 1.0.0\nmain: main.py\ntools: []\n").unwrap();
    plugbay(here, &["docs", "demo", "--check"]).failed(1, "docs/tools.md, docs/chat.md");
    plugbay(here, &["docs", "demo"]).ok();
    assert!(!here.join("demo/docs/tools.md").exists() && here.join("demo/docs/methods.md").exists());
}

#[test]
fn texts_of_an_author_are_never_markup() {
    let base = demo();
    plugbay(base.path(), &["docs", "demo", "--html"]).ok();
    for file in ["README.md", "docs/methods.md", "docs/tools.md", "docs/index.html"] {
        let text = read(base.path(), file);
        let body = text.lines().filter(|line| !line.starts_with("<!-- ")).collect::<Vec<_>>().join("\n");
        // HTML has no other links than its own.
        let links = file != "docs/index.html" && (body.contains("[link](") || body.contains("[pic]("));
        assert!(!body.contains("<script") && !links, "{file}: {body}");
    }
    let html = read(base.path(), "docs/index.html");
    assert!(html.contains("&lt;script&gt;alert(2)&lt;/script&gt;") && html.contains("default-src 'none'"), "{html}");
    // A marker in a text does not end the section.
    plugbay(base.path(), &["docs", "demo"]).ok();
    plugbay(base.path(), &["docs", "demo", "--check"]).ok();
}

#[test]
fn files_that_it_did_not_make_are_left_alone() {
    let base = demo();
    let demo = base.path().join("demo");
    fs::create_dir(demo.join("docs")).unwrap();
    fs::write(demo.join("docs/tools.md"), "# Mine\n").unwrap();
    plugbay(base.path(), &["docs", "demo"]).failed(4, "was not made by `plugbay docs`");
    assert_eq!(read(base.path(), "docs/tools.md"), "# Mine\n");
    fs::remove_file(demo.join("docs/tools.md")).unwrap();
    // A link would let a package that is only looked at write elsewhere.
    fs::write(demo.join(".pluginignore"), "/docs\n").unwrap();
    let outside = base.path().join("outside.md");
    std::os::unix::fs::symlink(&outside, demo.join("docs/tools.md")).unwrap();
    plugbay(base.path(), &["docs", "demo"]).failed(4, "is a link");
    fs::remove_dir_all(demo.join("docs")).unwrap();
    std::os::unix::fs::symlink(base.path(), demo.join("docs")).unwrap();
    plugbay(base.path(), &["docs", "demo"]).failed(4, "is a link");
    assert!(!outside.exists() && !base.path().join("methods.md").exists());
    fs::remove_file(demo.join("docs")).unwrap();
    fs::write(demo.join("README.md"), "<!-- end of plugbay docs -->\n").unwrap();
    plugbay(base.path(), &["docs", "demo"]).failed(1, "the two markers");
}

#[test]
fn template_and_bundled_plugins_are_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut checked = 0;
    for folder in ["plugins", "plugin-template"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.join("plugin.yaml").exists() {
                plugbay(root, &["docs", path.to_str().unwrap(), "--check"]).ok();
                checked += 1;
            }
        }
    }
    assert!(checked >= 5, "{checked} plugins");
    // A new plugin is documented as it is, under any name.
    let base = tempfile::tempdir().unwrap();
    plugbay(base.path(), &["init", "another_one"]).ok();
    plugbay(base.path(), &["docs", "another_one", "--check"]).ok();
}
