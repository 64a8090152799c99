//! `plugbay tools`

use super::*;

#[test]
fn tools_come_from_type_hints_and_nothing_is_run() {
    let base = plugin("name: sum-up\nversion: 1.0.0\nmain: main.py\n");
    let code = concat!(
        "import plugbay\nfrom shapes import Request\nopen('ran', 'w')\n",
        "class P(plugbay.Plugin):\n    def execute(self, context: Request) -> dict[str, int]:\n        \"\"\"Sums: up.\"\"\"\n",
        "    @plugbay.method\n    def list_all(self, context): ...\n",
    );
    fs::write(base.path().join("demo/main.py"), code).unwrap();
    let shapes = "from typing import TypedDict\nclass Request(TypedDict):\n    text: str\n";
    fs::write(base.path().join("demo/shapes.py"), shapes).unwrap();
    let run = plugbay(base.path(), &["tools", "demo"]).ok();
    let wanted = concat!(
        "tools:\n  - name: \"sum-up\"\n    description: \"Sums: up.\"\n    method: \"execute\"\n",
        "    input: {\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"}},\"required\":[\"text\"]}\n",
        "    output: {\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"}}\n",
        "  - name: \"list_all\"\n    method: \"list_all\"\n    input: {\"type\":\"object\"}\n",
    );
    assert_eq!(run.stdout, wanted);
    assert!(!base.path().join("ran").exists() && !base.path().join("demo/ran").exists(), "the code was run");
    let json = plugbay(base.path(), &["tools", "demo", "--json"]).ok().json();
    assert_eq!(json["tools"][1]["method"], "list_all");
    // It is written where the old one stood, and the rest stays.
    let manifest = base.path().join("demo/plugin.yaml");
    let before = "name: sum-up # mine\nversion: 1.0.0\n\ntools:\n- {name: list, method: list_all, annotations: {read_only: true}}\n# last\nmain: main.py\n";
    fs::write(&manifest, before).unwrap();
    plugbay(base.path(), &["tools", "demo", "--write"]).ok();
    let written = fs::read_to_string(&manifest).unwrap();
    let section = wanted.replace(
        "name: \"list_all\"\n    method: \"list_all\"\n    input: {\"type\":\"object\"}\n",
        "name: \"list\"\n    method: \"list_all\"\n    input: {\"type\":\"object\"}\n    annotations: {\"read_only\":true}\n",
    );
    assert_eq!(written, format!("name: sum-up # mine\nversion: 1.0.0\n\n{section}# last\nmain: main.py\n"));
    plugbay(base.path(), &["validate", "demo"]).ok();
    plugbay(base.path(), &["tools", "demo", "--write"]).ok();
    assert_eq!(fs::read_to_string(&manifest).unwrap(), written, "twice is once");
    // plugin.yaml has 16 levels at most.
    let deep: String = (0..12)
        .map(|level| format!("class C{level}(TypedDict):\n    a: 'C{}'\n", level + 1))
        .fold("from typing import TypedDict\n".to_owned(), |code, class| code + &class);
    let deep = deep + "class P:\n    def execute(self, context: C0): ...\n";
    fs::write(base.path().join("demo/main.py"), deep).unwrap();
    plugbay(base.path(), &["tools", "demo", "--write"]).failed(1, "nothing was written");
    assert_eq!(fs::read_to_string(&manifest).unwrap(), written);
    fs::write(base.path().join("demo/main.py"), "class P(\n").unwrap();
    plugbay(base.path(), &["tools", "demo"]).failed(1, "fix: plugbay validate demo");
    let script = plugin("name: demo\nversion: 1.0.0\nmain: main.py\nruntime: stdio\n");
    plugbay(script.path(), &["tools", "demo"]).failed(2, "the runtime is stdio");
}
