#!/usr/bin/env python3
"""Measures the shape of the code: how large objects are, which modules know each other in a circle, who owns what.

Usage: scripts/house.py [--all]     --all shows every figure, not only those beyond their limit

Limits are in the tables below. What is beyond its limit today stands in KNOWN with its figure, which may only fall: a
better one has to be written down here, a worse one fails. Exit code 1 if anything is beyond what is allowed.
"""

import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

LIMITS = {
    "impl blocks of a type": 5,
    "methods of a type": 40,
    "modules in a circle": 0,
    "lines of docs/ARCHITECTURE.md": 120,
}

# What is beyond its limit today, with its figure, as (what, whose): figure. Nothing is.
KNOWN = {}

# Foreign crates that one manifest alone names.
OWNED = ["sqlx", "bollard", "actix-web", "rusqlite"]


def code_of(text):
    """The text without comments, strings and the module of tests."""
    text = re.sub(r'//[^\n]*', "", text)
    text = re.sub(r'"(?:\\.|[^"\\])*"', '""', text, flags=re.S)
    return re.split(r"#\[cfg\(test\)\]\n(?:#\[[^\n]*\]\n)*(?:pub(?:\([^)]*\))? )?mod \w+ \{", text)[0]


def sources(folder):
    """Files of a crate with their module path and their code; files of tests are left out."""
    for path in sorted(folder.rglob("*.rs")):
        module = list(path.relative_to(folder).with_suffix("").parts)
        if {"tests", "testing", "bench"} & set(module):
            continue
        if module[-1] in ("mod", "lib", "main"):
            module.pop()
        yield module, code_of(path.read_text())


def crates():
    """Every crate by its name, with the folder of its code."""
    yield "plugbay", ROOT / "src"
    for beside in ("shim", "xtask"):
        yield beside, ROOT / beside / "src"
    for folder in sorted((ROOT / "crates").iterdir()):
        yield folder.name, folder / "src"


def body(code, start):
    """The text between the brace at or after `start` and the one that closes it."""
    begin = code.index("{", start)
    depth = 0
    for at in range(begin, len(code)):
        depth += {"{": 1, "}": -1}.get(code[at], 0)
        if depth == 0:
            return code[begin + 1:at]
    return code[begin + 1:]


def objects(folder):
    """Blocks and methods of each type of a crate."""
    blocks, methods = defaultdict(int), defaultdict(int)
    for _, code in sources(folder):
        for found in re.finditer(r"^[ \t]*impl(?:<[^{;]*?>)? (\w+)(?:<[^{;]*?>)?(?: where[^{]*)? \{", code, re.M):
            blocks[found[1]] += 1
            inside = re.sub(r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}", "{}", body(code, found.start()))
            methods[found[1]] += len(re.findall(r"\bfn \w+", inside))
    return blocks, methods


def edges(folder):
    """Which module of a crate names which: the first step of the path alone."""
    named = defaultdict(set)
    for module, code in sources(folder):
        if not module:
            continue
        for found in re.finditer(r"\bcrate::(\w+)", code):
            named[module[0]].add(found[1])
        for found in re.finditer(r"\b((?:super::)+)(\w+)", code):
            up = found[1].count("super")
            # A file of the first step names its siblings by one `super`, deeper ones by more.
            if up == len(module):
                named[module[0]].add(found[2])
        for found in re.finditer(r"\bcrate::\{([^;]*)\};", code):
            named[module[0]].update(re.findall(r"(?:^|[,{\s])([a-z_]\w*)", found[1]))
    modules = {path.stem for path in folder.iterdir() if path.name not in ("lib.rs", "main.rs")}
    return {module: (named[module] & modules) - {module} for module in modules}


def circles(graph):
    """Strongly connected parts of more than one module (Tarjan)."""
    index, low, stack, found, count = {}, {}, [], [], [0]

    def visit(node):
        index[node] = low[node] = count[0]
        count[0] += 1
        stack.append(node)
        for following in sorted(graph[node]):
            if following not in index:
                visit(following)
                low[node] = min(low[node], low[following])
            elif following in stack:
                low[node] = min(low[node], index[following])
        if low[node] == index[node]:
            part = []
            while not part or part[-1] != node:
                part.append(stack.pop())
            if len(part) > 1:
                found.append(sorted(part))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def dependencies(manifest):
    """Names under [dependencies]; those of tests are under another heading."""
    _, _, rest = manifest.read_text().partition("\n[dependencies]\n")
    return [re.split(r"[ .]", line)[0] for line in rest.split("\n[")[0].splitlines() if line.strip()]


def figures():
    """Every figure: what is measured, of what, and how much."""
    for name, folder in crates():
        blocks, methods = objects(folder)
        for kind in sorted(blocks):
            yield "impl blocks of a type", f"{name}::{kind}", blocks[kind]
            yield "methods of a type", f"{name}::{kind}", methods[kind]
        found = circles(edges(folder))
        yield "modules in a circle", name, max(map(len, found), default=0)
    lines = len((ROOT / "docs/ARCHITECTURE.md").read_text().splitlines())
    yield "lines of docs/ARCHITECTURE.md", "it", lines


def owners():
    """What is wrong with the manifests."""
    manifests = [ROOT / "Cargo.toml", *sorted((ROOT / "crates").glob("*/Cargo.toml"))]
    uses = {manifest: dependencies(manifest) for manifest in manifests}
    for owned in OWNED:
        having = [str(manifest.relative_to(ROOT)) for manifest in manifests if owned in uses[manifest]]
        if len(having) != 1:
            yield f"{owned} stands in {len(having)} manifests: {', '.join(having)}"
    for manifest in manifests[1:]:
        if "plugbay" in uses[manifest]:
            yield f"{manifest.relative_to(ROOT)}: a library depends on the program"


def named_in_documents():
    """Files of Rust that a document for developers names and that are not there.

    `package/upload.rs` is short for `crates/package/src/upload.rs`.
    """
    known = {str(path.relative_to(ROOT)) for folder in ("src", "crates", "tests", "shim", "xtask")
             for path in (ROOT / folder).rglob("*.rs")}
    known |= {path.replace("/src/", "/") for path in known}
    documents = [*sorted((ROOT / "docs/development").glob("*.md")), ROOT / "docs/ARCHITECTURE.md",
                 ROOT / "docs/SECURITY.md", ROOT / "CONTRIBUTING.md"]
    for document in documents:
        for name in re.findall(r"`([\w./-]+\.rs)`", document.read_text()):
            if name not in known and not any(path.endswith(f"/{name}") for path in known):
                yield f"{document.relative_to(ROOT)}: there is no {name}"


def main():
    """Prints what is beyond its limit, and what it may be."""
    shows_all = "--all" in sys.argv[1:]
    wrong, seen = [*owners(), *named_in_documents()], set()
    for what, whose, figure in figures():
        limit, known = LIMITS[what], KNOWN.get((what, whose))
        seen.add((what, whose))
        if shows_all or figure > limit:
            print(f"{whose}: {figure} {what} (limit {limit}{f', known {known}' if known else ''})")
        if known is not None and figure < known:
            wrong.append(f"{whose}: {figure} {what} is better than {known}: write it down in KNOWN")
        elif figure > (limit if known is None else known):
            wrong.append(f"{whose}: {figure} {what}, at most {limit if known is None else known}")
    wrong += [f"{whose}: {what} is in KNOWN, and not in the code" for what, whose in KNOWN if (what, whose) not in seen]
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
