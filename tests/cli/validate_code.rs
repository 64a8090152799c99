//! `plugbay validate`: what it tells of the code, and in which forms

use super::*;

/// A plugin of Python with these lines in plugin.yaml, and these files.
fn python(manifest: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
    let base = plugin(&format!("name: demo\nversion: 1.0.0\nmain: main.py\n{manifest}"));
    for (path, text) in files {
        let path = base.path().join("demo").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    base
}

const CLASS: &str = "class P:\n    def execute(self, context): ...\n";

#[test]
fn classes_and_handlers_are_missed() {
    let told = |manifest: &str, main: &str, part: &str| {
        let base = python(manifest, &[("main.py", main)]);
        let run = plugbay(base.path(), &["validate", "demo"]).failed(4, "error: plugin.yaml is not valid");
        assert!(run.stderr.contains(part), "{main}: {}", run.stderr);
    };
    told(
        "class: Demmo\n",
        "class Demo: ...\n",
        "demo/plugin.yaml:4:8: error: `main.py` has no class `Demmo`; it has Demo; did you mean `Demo`?",
    );
    told(
        "",
        "class P:\n    def excute(self, context): ...\n",
        "3:7: error: `main.py` defines no class with a method `execute`; did you mean `excute`?",
    );
    told(
        "",
        &format!("{CLASS}class Q(P): ...\n"),
        "3:7: error: `main.py` defines several classes with `execute`: P, Q; say which by `class`",
    );
    let chat = "permissions: [chat_access]\n";
    told(
        &format!("{chat}hooks: [on_message]\n"),
        &format!("{CLASS}    def on_mesage(self, message): ...\n"),
        "5:9: error: `main.py` has no function or method `on_message`; did you mean `on_mesage`?",
    );
    told(
        &format!("{chat}hooks:\n  - {{ name: on_file_upload }}\n"),
        CLASS,
        "6:13: error: `main.py` has no function or method `on_file_upload`",
    );
    told(
        &format!("{chat}commands: [{{ name: /roll }}]\n"),
        CLASS,
        "5:11: error: commands call `on_command`, and `main.py` has no function",
    );
}

#[test]
fn methods_of_tools_are_missed() {
    let code = "import plugbay\nfrom base import Base\nclass P(Base):\n    def execute(self, context): ...\n    \
                @plugbay.method\n    def count(self, context): yield 1\n    def hidden(self, context): ...\n";
    let base =
        ("base.py", "import plugbay\nclass Base(plugbay.Plugin):\n    @plugbay.method\n    def far(self, c): ...\n");
    let run = |tools: &str| {
        let base = python(&format!("tools: {tools}\n"), &[base, ("main.py", code)]);
        plugbay(base.path(), &["validate", "demo"])
    };
    for (tools, told) in [
        ("[{ name: coun }]", "4:17: error: `P` has no method `coun`; did you mean `count`?"),
        ("[{ name: a, method: gone }]", "4:28: error: `P` has no method `gone`"),
        ("[{ name: hidden }]", "error: `P` does not offer `hidden` to callers; put @plugbay.method before it"),
        ("[{ name: count, output: { type: object } }]", "error: `count` gives its answer in parts"),
    ] {
        let run = run(tools).failed(4, "error: plugin.yaml is not valid");
        assert!(run.stderr.contains(told), "{tools}: {}", run.stderr);
    }
    run("[{ name: count }, { name: far }, { name: run, method: execute, output: { type: object } }]").ok();
}

#[test]
fn what_only_running_the_code_would_tell_is_not_told() {
    let hooks = "class: P\npermissions: [chat_access]\nhooks: [on_message]\ncommands: [{ name: /roll }]\n";
    let handlers = "def on_message(m): ...\ndef on_command(c, a): ...\n";
    let base_file = (
        "base.py",
        "class Base:\n    def execute(self, c): ...\n    def on_message(self, m): ...\n    def on_command(self, c, a): ...\n",
    );
    for (manifest, main) in [
        (hooks, format!("{CLASS}{handlers}")),
        (hooks, format!("from base import on_message, on_command\n{CLASS}")),
        (hooks, "from base import Base\nclass P(Base): ...\n".to_owned()),
        (hooks, "import base\nclass P(base.Base): ...\n".to_owned()),
        (hooks, "from foreign import Base\nclass P(Base): ...\n".to_owned()),
        (hooks, "@decorate\nclass P: ...\n".to_owned()),
        (hooks, format!("{CLASS}for n in ('on_message', 'on_command'): setattr(P, n, print)\n")),
        ("", "import plugbay\nclass P(plugbay.Plugin): ...\n".to_owned()),
        ("", "P = type('P', (), {'execute': print})\n".to_owned()),
        ("", format!("class Base: ...\n{CLASS}")),
    ] {
        let base = python(manifest, &[base_file, ("foreign.py", "Base = make()\n"), ("main.py", &main)]);
        let run = plugbay(base.path(), &["validate", "demo"]).ok();
        assert!(!run.stderr.contains("main.py:"), "{main}: {}", run.stderr);
    }
}

#[test]
fn imports_that_nothing_provides_are_missed() {
    let files = [
        (
            "main.py",
            "import json, asyncoi\nfrom lib import part\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import nothing\ntry:\n    import ujson\nexcept ImportError:\n    ujson = None\nimport plugbay\nimport helped\n",
        ),
        ("class.py", CLASS),
        ("lib/__init__.py", "from .inner import x\nfrom . import part\n"),
        ("lib/part.py", "def f():\n    import late\n"),
        ("lib/inner.py", "import reqests\nfrom .gone import y\n"),
        ("vendor/requests/__init__.py", "import absent_in_vendor\n"),
        ("vendor/helped.cpython-311-x86_64-linux-gnu.so", ""),
        ("tests/test_main.py", "import pytest\nx = (\n"),
    ];
    let base = python("class: json\n", &files);
    let run = plugbay(base.path(), &["validate", "demo"]).failed(4, "error: the plugin is not valid");
    let told: Vec<_> = run.stderr.lines().filter(|line| line.contains(": error: ")).collect();
    assert_eq!(
        told,
        [
            "demo/lib/inner.py:1:8: error: `reqests` is neither in Python 3.11 nor in the package; did you mean `requests`?",
            "demo/lib/inner.py:2:7: error: there is no `gone` in `lib/`",
            "demo/main.py:1:14: error: `asyncoi` is neither in Python 3.11 nor in the package; did you mean `asyncio`?",
        ],
    );
    let lazy = python(
        "",
        &[("main.py", "class P:\n    def execute(self, context):\n        import numpy\n"), ("tests/x.py", "x = (\n")],
    );
    let run = plugbay(lazy.path(), &["validate", "demo"]).ok();
    let numpy = "demo/main.py:3:16: warning: `numpy` is neither in Python 3.11 nor in the package; list its package in";
    assert!(run.stderr.contains(numpy), "{}", run.stderr);
    assert!(run.stderr.contains("demo/tests/x.py:2:1: warning: not valid Python"), "{}", run.stderr);
    let to_come = python("dependencies: [numpy]\n", &[("main.py", &format!("import numpy\n{CLASS}"))]);
    plugbay(to_come.path(), &["validate", "demo"]).ok();
    let dots = python("", &[("main.py", &format!("from . import x\n{CLASS}"))]);
    plugbay(dots.path(), &["validate", "demo"]).failed(4, "demo/main.py:1:15: error: `main.py` lies in no package");
}

#[test]
fn syntax_is_that_of_the_image() {
    let later = format!("type X = int\n{CLASS}");
    let base = python("", &[("main.py", &later)]);
    plugbay(base.path(), &["validate", "demo"]).failed(4, "demo/main.py:1:1: error: not valid in Python 3.11");
    let newer = python("python: \">=3.12\"\n", &[("main.py", &later)]);
    plugbay(newer.path(), &["validate", "demo"]).ok();
    let script = python("runtime: stdio\n", &[("main.py", "#!/usr/bin/env pyton3\nprint(1\n")]);
    let run = plugbay(script.path(), &["validate", "demo"]).ok();
    assert!(
        run.stderr
            .contains("demo/main.py:1:3: warning: the first line names the program `pyton3`; did you mean `python3`?"),
        "{}",
        run.stderr
    );
    let script = python("runtime: stdio\n", &[("main.py", "#!/usr/bin/env python3\nprint(1\n")]);
    plugbay(script.path(), &["validate", "demo"]).failed(4, "demo/main.py:3:1: error: not valid Python");
    let relative = python("runtime: exec\n", &[("main.py", "#!python3\n")]);
    plugbay(relative.path(), &["validate", "demo"]).failed(4, "names `python3`, which is no path from the root");
}

#[test]
fn mistakes_of_code_and_manifest_come_together() {
    let base = python("class: Q\npermisions: []\n", &[("main.py", &format!("import asyncoi\n{CLASS}"))]);
    let run = plugbay(base.path(), &["validate", "demo"]).failed(4, "error: the plugin is not valid");
    let places = ["demo/plugin.yaml:4:8: error: ", "demo/plugin.yaml:5:1: error: ", "demo/main.py:1:8: error: "];
    let at: Vec<_> = places.iter().map(|place| run.stderr.find(place)).collect();
    assert!(at.iter().all(Option::is_some) && at.is_sorted(), "{}", run.stderr);
}

#[test]
fn every_format_tells_the_same() {
    let base = python("class: Q\n", &[("main.py", &format!("import asyncoi\n{CLASS}"))]);
    let validate = |format: &str| plugbay(base.path(), &["validate", "demo", "--format", format]);
    let github = validate("github");
    assert_eq!((github.code, github.stderr.as_str()), (4, ""));
    let lines: Vec<_> = github.stdout.lines().collect();
    assert!(
        lines[0].starts_with("::error file=demo/plugin.yaml,line=4,col=8,title=manifest-invalid::`main.py` has"),
        "{lines:?}"
    );
    assert!(
        lines[1].starts_with("::error file=demo/main.py,line=1,col=8,title=manifest-invalid::`asyncoi` is"),
        "{lines:?}"
    );
    let sarif = validate("sarif");
    assert_eq!((sarif.code, sarif.stderr.as_str()), (4, ""));
    let sarif = sarif.json();
    assert_eq!(sarif["version"], "2.1.0");
    let result = &sarif["runs"][0]["results"][1];
    assert_eq!((&result["ruleId"], &result["level"]), (&"manifest-invalid".into(), &"error".into()));
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "demo/main.py");
    assert_eq!(place["region"], serde_json::json!({ "startLine": 1, "startColumn": 8 }));
    let json = validate("json");
    let flag = plugbay(base.path(), &["validate", "demo", "--json"]);
    assert_eq!((json.code, json.stdout.as_str()), (4, flag.stdout.as_str()));
    assert_eq!(json.json()["errors"][1]["file"], "main.py");
    plugbay(base.path(), &["validate", "demo", "--json", "--format", "sarif"]).code.eq(&2).then_some(()).unwrap();
    let good = demo();
    let run = plugbay(good.path(), &["validate", "demo", "--format", "sarif"]).ok();
    assert_eq!(run.json()["runs"][0]["results"], serde_json::json!([]));
    let bare = python("", &[]);
    let run = plugbay(bare.path(), &["validate", "demo", "--format", "github"]).ok();
    assert!(
        run.stdout.contains("::warning file=demo/plugin.yaml,title=warning::plugin.yaml has no `author`"),
        "{}",
        run.stdout
    );
    plugbay(base.path(), &["validate", "gone", "--format", "sarif"]).failed(2, "there is nothing at `gone`");
}
