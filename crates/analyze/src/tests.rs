//! What an analysis finds, and what hostile files cost it.

use std::fs;
use std::time::Duration;

use crate::{
    Analysis, Capability, Constant, FindingKind, Limits, Module, ParameterKind, Setting, SourceFile, analyze_files,
    analyze_folder, analyze_source,
};

/// The limits without a clock, so that a busy machine changes nothing.
fn unhurried() -> Limits {
    Limits { time: Duration::from_hours(1), ..Limits::default() }
}

fn analyzed(text: &str) -> Analysis {
    analyze_source("main.py", text.as_bytes(), &unhurried())
}

fn module(text: &str) -> Module {
    let analysis = analyzed(text);
    assert_eq!(analysis.findings, [], "{text}");
    analysis.modules.into_iter().next().unwrap()
}

fn kinds(analysis: &Analysis) -> Vec<FindingKind> {
    analysis.findings.iter().map(|finding| finding.kind).collect()
}

#[test]
fn a_module_is_read_with_its_shape() {
    let module = module(concat!(
        "\"\"\"Greets.\n\n    Twice.\n    \"\"\"\n",
        "from __future__ import annotations\n",
        "import plugbay as p\n",
        "__version__ = '1.' + '2'\n",
        "metadata = {'name': 'x', 'tags': ['a', 1]}\n",
        "class Greeter(p.Plugin):\n",
        "    \"\"\"A greeter.\"\"\"\n",
        "    limit: int = 3\n",
        "    @p.method\n",
        "    async def greet(self, name: str, *rest, loud: bool = False, **more: 'int | None') -> dict[str, str]:\n",
        "        yield name\n",
        "    execute = greet\n",
        "def on_message(message): return lambda: (yield)\n",
    ));
    assert_eq!(module.docstring.as_deref(), Some("Greets.\n\nTwice."));
    assert_eq!(module.constants["__version__"], Constant::Text("1.2".to_owned()));
    assert_eq!(module.constants["metadata"].get("name").and_then(Constant::as_text), Some("x"));
    let class = module.class("Greeter").unwrap();
    assert_eq!(
        (class.bases.as_slice(), class.place.line, class.place.column),
        (&["plugbay.Plugin".to_owned()][..], 9, 7)
    );
    assert_eq!(class.fields[0].default, Some(Constant::Whole(3)));
    assert!(class.has("execute") && class.has("greet") && !class.has("other"));
    let greet = class.method("greet").unwrap();
    assert!(greet.is_async && greet.is_generator);
    assert_eq!(greet.decorators, ["plugbay.method"]);
    assert_eq!(greet.returns.as_deref(), Some("dict[str, str]"));
    let parameters: Vec<_> = greet.parameters.iter().map(|found| (found.name.as_str(), found.kind)).collect();
    let kinds = [
        ("self", ParameterKind::Any),
        ("name", ParameterKind::Any),
        ("rest", ParameterKind::Rest),
        ("loud", ParameterKind::Keyword),
        ("more", ParameterKind::Keywords),
    ];
    assert_eq!(parameters, kinds);
    assert_eq!(greet.parameters[4].hint.as_deref(), Some("int | None"));
    let handlers: Vec<_> = module.handlers().map(|handler| (handler.name.as_str(), handler.is_generator)).collect();
    assert_eq!(handlers, [("on_message", false)]);
    assert!(serde_json::to_string(&module).unwrap().contains("\"on_message\""));
}

#[test]
fn imports_tell_when_they_run() {
    let module = module(concat!(
        "import a.b as c, d\n",
        "from . import e\n",
        "try:\n    import f\nexcept ImportError:\n    f = None\n",
        "from typing import TYPE_CHECKING\n",
        "if TYPE_CHECKING:\n    import g\n",
        "def run():\n    import h\n",
        "try:\n    import i\nexcept KeyError:\n    pass\n",
    ));
    let setting = |name: &str| module.imports.iter().find(|import| import.module == name).map(|found| found.setting);
    assert_eq!(setting("a.b"), Some(Setting::Load));
    assert_eq!(setting("f"), Some(Setting::Guarded));
    assert_eq!(setting("g"), Some(Setting::TypeChecking));
    assert_eq!(setting("h"), Some(Setting::Call));
    assert_eq!(setting("i"), Some(Setting::Load));
    let relative = module.imports.iter().find(|import| import.level == 1).unwrap();
    assert_eq!((relative.module.as_str(), relative.name.as_deref()), ("", Some("e")));
    let d = module.imports.iter().find(|import| import.module == "d").unwrap();
    assert_eq!((d.place.line, d.place.column), (1, 18));
    for name in ["c", "d", "e", "f", "g", "h", "run"] {
        assert!(module.bound.contains(name), "{name}");
    }
}

/// Whether the code uses the capability, by this name.
#[track_caller]
fn uses(code: &str, capability: Capability, what: &str) {
    let module = module(code);
    let found = module.uses.iter().any(|used| used.capability == capability && used.what == what);
    assert!(found, "{code}: {:?}", module.uses);
}

#[test]
fn capabilities_are_found_in_every_disguise() {
    use Capability::{DynamicCode, Environment, Files, NativeCode, Network, Process};
    for (code, capability, what) in [
        ("import socket\n", Network, "socket"),
        ("import os as o\no.system('id')\n", Process, "os.system"),
        ("from os import system as s\ns('id')\n", Process, "os.system"),
        ("import os\nrun = os.system\nrun('id')\n", Process, "os.system"),
        ("import os\ngetattr(os, 'sys' + 'tem')('id')\n", Process, "os.system"),
        ("import os\ngetattr(os, ''.join(['sys', 'tem']))('id')\n", Process, "os.system"),
        ("import os\nname = 'metsys'[::-1]\ngetattr(os, name)('id')\n", Process, "os.system"),
        ("import os\nos.__dict__['sys{}'.format('tem')]('id')\n", Process, "os.system"),
        ("import os\nvars(os)[f\"{'sys'}tem\"]('id')\n", Process, "os.system"),
        ("__import__('o' 's').system('id')\n", Process, "os.system"),
        ("import importlib\nimportlib.import_module('soc%s' % 'ket')\n", Network, "socket"),
        ("import sys\nsys.modules['os'].system('id')\n", Process, "os.system"),
        ("n = [chr(c) for c in (111, 115)]\n__import__(''.join(n)).system('id')\n", Process, "os.system"),
        ("n = ''.join(map(chr, [111, 115]))\n__import__(n).system('id')\n", Process, "os.system"),
        ("n = bytes(b ^ 1 for b in b'nr').decode()\n__import__(n).system('id')\n", Process, "os.system"),
        ("s = 'o'\ns += 's'\n__import__(s).system('id')\n", Process, "os.system"),
        ("__builtins__['ev' + 'al']('1')\n", DynamicCode, "eval"),
        ("import builtins\nbuiltins.exec('')\n", DynamicCode, "exec"),
        ("globals()['__builtins__'].eval('1')\n", DynamicCode, "eval"),
        ("import codecs\nimport os\ngetattr(os, codecs.decode('flfgrz', 'rot13'))('id')\n", Process, "os.system"),
        ("import os\ngetattr(os, bytes.fromhex('73797374656d').decode())('id')\n", Process, "os.system"),
        ("exec('import socket')\n", Network, "socket"),
        ("import base64\nexec(base64.b64decode('aW1wb3J0IHNvY2tldA=='))\n", Network, "socket"),
        ("exec(\"exec('import socket')\")\n", Network, "socket"),
        ("eval(compile('__import__(\"socket\")', '', 'eval'))\n", Network, "socket"),
        ("import os\ndef f():\n    return os.environ['HOME']\n", Environment, "os.environ"),
        ("from os import getenv\nx = getenv('A')\n", Environment, "os.getenv"),
        ("def read():\n    with open('/etc/passwd') as f:\n        return f.read()\n", Files, "open"),
        ("import ctypes\n", NativeCode, "ctypes"),
        ("class A:\n    def f(self):\n        import subprocess\n", Process, "subprocess"),
        ("def f():\n    return late('id')\nimport os\nlate = os.popen\n", Process, "os.popen"),
    ] {
        uses(code, capability, what);
    }
}

#[test]
fn code_that_uses_nothing_is_told_to_use_nothing() {
    let code = concat!(
        "import os.path, json, urllib.parse\n",
        "def open(name): return name\n",
        "def run(eval): return eval(open('x'))\n",
        "x = os.path.join('a', 'b')\n",
        "print(json.dumps(x))\n",
    );
    assert_eq!(module(code).uses, []);
}

#[test]
fn three_layers_are_taken_off_and_no_more() {
    let layers = |count: usize| {
        let mut text = "import socket".to_owned();
        for _ in 0..count {
            text = format!("__import__('base64').b64decode('{}')", data_encoding::BASE64.encode(text.as_bytes()));
            text = format!("exec({text})");
        }
        module(&text).uses.iter().any(|used| used.what == "socket")
    };
    assert!(layers(1));
    assert!(layers(2));
    assert!(!layers(6));
    let nested = |count: usize| {
        let mut bytes = b"os".to_vec();
        let mut decoders = String::new();
        for _ in 0..count {
            bytes = data_encoding::HEXLOWER.encode(&bytes).into_bytes();
            decoders.push_str("binascii.unhexlify(");
        }
        let text = String::from_utf8(bytes).unwrap();
        let code =
            format!("import binascii\n__import__({decoders}'{text}'{}.decode()).system('x')\n", ")".repeat(count));
        module(&code).uses.iter().any(|used| used.what == "os.system")
    };
    assert!(nested(3));
    assert!(!nested(4));
}

#[test]
fn calls_are_told_with_their_constants() {
    let code = concat!(
        "import subprocess as sp\nCMD = ['ls', '-' + 'l']\n",
        "class P:\n    async def execute(self, context):\n        sp.run(CMD, shell=True, cwd=context)\n",
        "        await self.host.http.fetch(url='https://a.example')\n",
    );
    let module = module(code);
    let run = module.calls.iter().find(|call| call.callee == "subprocess.run").unwrap();
    let list = Constant::List(vec![Constant::Text("ls".to_owned()), Constant::Text("-l".to_owned())]);
    assert_eq!(run.arguments, [Some(list)]);
    assert_eq!(run.keywords["shell"], Some(Constant::Bool(true)));
    assert_eq!(run.keywords["cwd"], None);
    assert_eq!((run.within.as_str(), run.place.line, run.place.column), ("P.execute", 5, 9));
    assert!(module.calls.iter().any(|call| call.callee == "self.host.http.fetch"));
}

#[test]
fn what_cannot_be_parsed_is_a_finding_with_its_place() {
    let syntax = analyzed("x = 1\ndef execute(self context):\n    pass\n");
    assert_eq!(kinds(&syntax), [FindingKind::Syntax]);
    assert_eq!(syntax.findings[0].place.map(|place| (place.line, place.column)), Some((2, 18)));
    assert_eq!(kinds(&analyzed("a = '\0'\n")), [FindingKind::Syntax]);
    let later = analyzed("def f[T](x: T) -> T:\n    return x\n");
    assert_eq!(kinds(&later), [FindingKind::Version]);
    assert!(later.findings[0].message.contains("3.12"), "{}", later.findings[0].message);
    let latin = analyze_source("main.py", b"# coding: latin-1\nx = '\xe4'\n", &Limits::default());
    assert_eq!(kinds(&latin), [FindingKind::Encoding]);
    let broken = analyze_source("main.py", b"x = '\xe4'\n", &Limits::default());
    assert_eq!(kinds(&broken), [FindingKind::Encoding]);
}

#[test]
fn deep_nesting_is_refused_before_it_is_parsed() {
    let deep = 200_000;
    for text in [
        format!("x = {}1{}\n", "(".repeat(deep), ")".repeat(deep)),
        format!("x = {}1\n", "-".repeat(deep)),
        format!("x = {}1\n", "not ".repeat(deep)),
        format!("x = 1{}\n", "+1".repeat(deep)),
        format!("x = a{}\n", ".a".repeat(deep)),
        format!("x = a{}\n", "()".repeat(deep)),
        format!("x = a{}\n", "[0]".repeat(deep)),
        format!("x = {}1\n", "lambda: ".repeat(deep)),
        format!("x = {}1\n", "await ".repeat(deep)),
        format!("x = {}1\n", "1 if 1 else ".repeat(deep)),
        format!("x = 1{}\n", "**1".repeat(deep)),
        format!("x = {}\n", "[".repeat(deep)),
        format!("x = {}1\n", "{1:".repeat(deep)),
        "f'{".repeat(deep),
        format!("x = f'{}'\n", "{a:".repeat(deep)),
        format!("match x:\n case {}: pass\n", "A(".repeat(deep)),
        "async ".repeat(deep),
        "@".repeat(deep),
        (0..1000).flat_map(|level| [" ".repeat(level), "if 1:\n".to_owned()]).collect(),
    ] {
        let analysis = analyzed(&text);
        let shown = &text[..text.len().min(40)];
        assert!(matches!(kinds(&analysis)[..], [FindingKind::TooDeep | FindingKind::Syntax]), "{shown}: {analysis:?}");
        assert!(analysis.modules.is_empty(), "{shown}");
    }
}

#[test]
fn the_deepest_tree_that_is_read_fits_the_stack() {
    let deep = 1_400;
    for text in [
        format!("x = {}1{}\n", "(".repeat(deep), ")".repeat(deep)),
        format!("x = {}1{}\n", "f(".repeat(deep), ")".repeat(deep)),
        format!("x = 1{}\n", "+1".repeat(2 * deep)),
        format!("x = a{}\n", "()".repeat(deep)),
        format!("x = {}1\n", "lambda: ".repeat(deep)),
        format!("x = {}1{}\n", "[".repeat(deep), "]".repeat(deep)),
        format!("exec({:?})\n", format!("x = {}1{}", "f(".repeat(deep), ")".repeat(deep))),
    ] {
        assert!(analyzed(&text).modules.len() == 1, "{}", &text[..40]);
    }
}

#[test]
fn hostile_sizes_stay_inside_the_limits() {
    let functions = "def f(): pass\n".repeat(100_000);
    let many = analyzed(&functions);
    assert_eq!(many.modules[0].functions.len(), 100_000);
    assert_eq!(kinds(&many), []);
    let literal = format!("x = '{}'\n", "a".repeat(3 * 1024 * 1024));
    assert_eq!(kinds(&analyzed(&literal)), []);
    assert_eq!(kinds(&analyzed(&"x,".repeat(1_000_000))), [FindingKind::TooLarge]);
    assert_eq!(kinds(&analyzed(&"#".repeat(5 * 1024 * 1024))), [FindingKind::TooLarge]);
    let grown = format!("x = 'aaaaaaaaaaaaaaaa'\n{}", "x = x + x\n".repeat(200));
    assert_eq!(kinds(&analyzed(&grown)), []);
    assert_eq!(kinds(&analyzed("x = 'a' * 999999999999\ny = 9 ** 99999\nz = 1 << 99999\n")), []);
    let costly = format!("x = '{}'\n{}", "a".repeat(500_000), "y = x + x\n".repeat(20_000));
    assert_eq!(kinds(&analyzed(&costly)), [FindingKind::Folding]);
    let few = Limits { result_bytes: 10_000, ..Limits::default() };
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.py"), functions).unwrap();
    let cut = analyze_folder(folder.path(), &few).unwrap();
    assert_eq!(kinds(&cut), [FindingKind::Results]);
    assert!(cut.modules[0].functions.len() < 100 && !cut.is_complete());
    let none = analyze_folder(folder.path(), &Limits { time: Duration::ZERO, ..Limits::default() }).unwrap();
    assert_eq!(kinds(&none), [FindingKind::Time]);
}

#[test]
fn folders_are_read_without_following_links() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("vendor/lib")).unwrap();
    fs::write(at("main.py"), "import lib\n").unwrap();
    fs::write(at("tool"), "#!/usr/bin/env python3\nimport socket\n").unwrap();
    fs::write(at("notes.txt"), "import socket\n").unwrap();
    fs::write(at("vendor/lib/__init__.py"), "import socket\ndef f(): g(1)\n").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", at("link.py")).unwrap();
    std::os::unix::fs::symlink("/", at("root")).unwrap();
    let analysis = analyze_folder(folder.path(), &Limits::default()).unwrap();
    let paths: Vec<_> = analysis.modules.iter().map(|module| module.path.as_str()).collect();
    assert_eq!(paths, ["main.py", "tool", "vendor/lib/__init__.py"]);
    assert_eq!(kinds(&analysis), [FindingKind::Link, FindingKind::Link]);
    let vendored = analysis.module("vendor/lib/__init__.py").unwrap();
    assert_eq!((vendored.uses.len(), vendored.functions.len(), vendored.calls.len()), (1, 0, 0));
    let linked = SourceFile { path: "x.py".to_owned(), from: at("link.py") };
    assert_eq!(kinds(&analyze_files(vec![linked], &Limits::default())), [FindingKind::Link]);
}

#[test]
fn programs_are_read_without_being_run() {
    let own = std::env::current_exe().unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("broken"), b"\x7fELF and no more").unwrap();
    let file = |path: &str, from| SourceFile { path: path.to_owned(), from };
    let files = vec![file("prog", own), file("broken", folder.path().join("broken"))];
    let limits = Limits { object_bytes: 512 * 1024 * 1024, ..Limits::default() };
    let analysis = analyze_files(files, &limits);
    assert_eq!(kinds(&analysis), [FindingKind::Elf]);
    let [object] = &analysis.objects[..] else { panic!("{:?}", analysis.objects.len()) };
    assert!(object.needed.iter().any(|name| name.starts_with("libc.so")), "{:?}", object.needed);
    assert!(object.imports.iter().any(|name| name == "memcpy" || name == "malloc"), "{:?}", object.imports);
    assert!(!object.is_library && object.interpreter.is_some() && !object.writable_code && !object.executable_stack);
    assert!(object.glibc.as_deref().is_some_and(|version| version.starts_with("2.")), "{:?}", object.glibc);
}
