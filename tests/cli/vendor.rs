//! Vendoring, from a folder of wheels that the tests make themselves: no network is needed.

use super::*;

const MANIFEST: &str = "name: demo\nversion: 1.0.0\nmain: main.py\ndependencies: [\"greet>=1.0\"]\n";

/// A plugin that depends on `greet`, with a wheel of it in `wheels/`.
pub(super) fn with_wheel() -> tempfile::TempDir {
    let pip = shell(Path::new("."), "python3 -m pip --version");
    assert_eq!(pip.code, 0, "this test needs pip: apt-get install python3-pip");
    let base = plugin(MANIFEST);
    let script = r##"
import base64, hashlib, os, zipfile
os.makedirs("wheels")
info = "greet-1.2.dist-info/"
files = {
    "greet/__init__.py": "def hello():\n    return 'hello'\n",
    "greet-1.2.data/scripts/greet": "#!python\nprint('hello')\n",
    info + "METADATA": "Metadata-Version: 2.1\nName: greet\nVersion: 1.2\n",
    info + "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    info + "entry_points.txt": "[console_scripts]\ngreet-cli = greet:hello\n",
}
record = "".join(
    f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}\n"
    for name, text in files.items()
)
files[info + "RECORD"] = record + info + "RECORD,,\n"
with zipfile.ZipFile("wheels/greet-1.2-py3-none-any.whl", "w") as wheel:
    for name, text in files.items():
        wheel.writestr(name, text)
"##;
    fs::write(base.path().join("wheel.py"), script).unwrap();
    shell(base.path(), "python3 wheel.py").ok();
    base
}

#[test]
fn the_tests_of_a_plugin_see_its_dependencies_and_the_sdk() {
    let base = with_wheel();
    let demo = base.path().join("demo");
    fs::create_dir(demo.join("tests")).unwrap();
    let main = "from greet import hello\nclass Demo:\n    def execute(self, context):\n        return hello()\n";
    fs::write(demo.join("main.py"), main).unwrap();
    let test = "import unittest\nfrom plugbay.testing import Harness\nfrom main import Demo\nclass T(unittest.TestCase):\n    \
                def test_it(self):\n        self.assertEqual(Demo().execute({}), 'hello')\n";
    fs::write(demo.join("tests/test_main.py"), test).unwrap();
    let arguments = ["test", "demo", "--no-sandbox", "--find-links", "wheels"];
    let run = plugbay(base.path(), &arguments).ok();
    assert!(run.stderr.contains("OK"), "{}", run.stderr);
    assert!(!demo.join("vendor").exists() && !demo.join("tests/__pycache__").exists(), "the folder is left alone");
    // Where the tests need more than that, the author's own path still counts.
    fs::create_dir(base.path().join("own")).unwrap();
    fs::write(base.path().join("own/more.py"), "").unwrap();
    fs::write(demo.join("tests/test_more.py"), format!("import more\n{test}")).unwrap();
    plugbay(base.path(), &arguments).failed(1, "No module named 'more'");
    shell(base.path(), "PYTHONPATH=own:$PWD/own \"$PLUGBAY\" test demo --no-sandbox --find-links wheels").ok();
}

#[test]
fn dependencies_are_packed_with_the_same_bytes_twice() {
    let base = with_wheel();
    let pack = |output: &str| plugbay(base.path(), &["pack", "demo", "--find-links", "wheels", "-o", output]).ok();
    pack("a.tar.gz");
    shell(
        base.path(),
        "touch -d 2001-02-03 wheels/*; umask 077; \"$PLUGBAY\" pack demo --find-links wheels -o b.tar.gz",
    )
    .ok();
    assert_eq!(fs::read(base.path().join("a.tar.gz")).unwrap(), fs::read(base.path().join("b.tar.gz")).unwrap());
    let listing = shell(base.path(), "tar -tzf a.tar.gz").ok().stdout;
    assert!(listing.contains("demo/vendor/greet/__init__.py"), "{listing}");
    assert!(listing.contains("demo/vendor/greet-1.2.dist-info/METADATA"), "{listing}");
    for restless in ["RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "/bin/", ".pyc", "wheels"] {
        assert!(!listing.contains(restless), "{listing}");
    }
    let lock = shell(base.path(), "tar -xzOf a.tar.gz demo/vendor.lock").ok().stdout;
    let lock: serde_json::Value = serde_json::from_str(&lock).unwrap();
    assert_eq!(lock["python"], "3.11");
    assert_eq!(lock["packages"][0]["tags"], "py3-none-any");
    let sum = shell(base.path(), "sha256sum wheels/greet-1.2-py3-none-any.whl").ok().stdout;
    assert_eq!(lock["packages"][0]["sha256"].as_str().unwrap(), format!("sha256:{}", &sum[..64]));
    assert!(!base.path().join("demo/vendor").exists(), "the author's folder is left alone");
    plugbay(base.path(), &["validate", "a.tar.gz"]).ok();
}

#[test]
fn requirements_of_the_text_file_are_vendored_too() {
    let base = with_wheel();
    fs::write(base.path().join("demo/plugin.yaml"), MANIFEST.replace("dependencies: [\"greet>=1.0\"]\n", "")).unwrap();
    fs::write(base.path().join("demo/requirements.txt"), "# what it needs\ngreet==1.2\n").unwrap();
    plugbay(base.path(), &["pack", "demo", "--find-links", "wheels"]).ok();
    assert!(shell(base.path(), "tar -tzf demo-1.0.0.tar.gz").ok().stdout.contains("vendor/greet/"));
}

#[test]
fn a_missing_wheel_is_named_with_the_line_that_makes_it() {
    let base = with_wheel();
    fs::remove_file(base.path().join("wheels/greet-1.2-py3-none-any.whl")).unwrap();
    let run = plugbay(base.path(), &["pack", "demo", "--find-links", "wheels", "--python", "3.12"]);
    let run = run.failed(1, "there is no wheel of `greet>=1.0` for Python 3.12");
    assert!(run.stderr.contains("python3.12 -m pip wheel --wheel-dir wheels 'greet>=1.0'"), "{}", run.stderr);
    assert!(!base.path().join("demo-1.0.0.tar.gz").exists());
    plugbay(base.path(), &["pack", "demo", "--find-links", "nowhere"]).failed(2, "nothing at `nowhere`");
    assert_eq!(plugbay(base.path(), &["pack", "demo", "--python", "2.7"]).code, 2);
}
