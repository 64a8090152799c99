"""Every example, and the template, as the sandbox runs them: `python3 -m unittest discover plugins/tests`."""

from __future__ import annotations

import json
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any, Optional

sys.path.insert(0, str(Path(__file__).resolve().parent))

from service import ROOT, Session

PLUGINS = ROOT / "plugins"


class Examples(unittest.TestCase):
    def start(
        self, folder: Path, runtime: str, main: str, *options: str, config: Optional[dict[str, Any]] = None
    ) -> Session:
        session = Session(folder, runtime, main, *options, config=config or {})
        self.addCleanup(session.close)
        self.assertEqual(session.hello["method"], "hello")
        self.assertEqual(session.hello["params"]["nonce"], "nonce-of-the-test")
        self.assertEqual(session.initialized["protocol"], 1)
        return session

    def assert_ends_well(self, session: Session) -> None:
        self.assertEqual(session.ask("health")["status"], "healthy")
        self.assertEqual(session.shutdown(), 0)

    def assert_echoes(self, session: Session) -> None:
        """What `echo` and `native-echo` have in common."""
        self.assertEqual(sorted(session.initialized["methods"]), ["count", "execute"])
        for context in ({"message": "Hello", "n": [1, {"}": '"\\'}]}, {}, [], None, "größe \U0001f600", 1.5):
            self.assertEqual(session.result("execute", context), {"echo": context})
        self.assertEqual(session.result("count", {"to": 2}), [{"number": 0}, {"number": 1}])
        self.assertEqual(session.chunks(), [])
        call = f"call_{session.last_id + 1}"
        self.assertIsNone(session.result("count", {"to": 3}, stream=True))
        expected = [{"call": call, "seq": number, "data": {"number": number}} for number in range(3)]
        self.assertEqual(session.chunks(), expected)
        self.assertEqual(session.call("count", {"to": -1})["error"]["code"], -32000)
        self.assertEqual(session.call("nothing", {})["error"]["code"], -32601)
        session.send({"method": "cancel", "params": {"call": "call_1", "reason": "client"}})
        self.assert_carries_much(session)
        self.assert_ends_well(session)

    def assert_carries_much(self, session: Session) -> None:
        """Many calls sent before any answer is read, and the longest line that fits."""
        ids = session.invoke_all("execute", [{"number": number} for number in range(500)])
        for number, id in enumerate(ids):
            self.assertEqual(session.answer(id)["result"], {"echo": {"number": number}})
        text = "x" * (4 * 1024 * 1024 - 300)
        self.assertEqual(session.result("execute", text), {"echo": text})

    def test_echo(self) -> None:
        session = self.start(PLUGINS / "echo", "python", "main.py", "--class", "Echo")
        self.assert_echoes(session)

    def test_native_echo(self) -> None:
        session = self.start(PLUGINS / "native-echo", "stdio", "native-echo")
        self.assert_echoes(session)

    def test_native_echo_speaks_as_the_documentation_says(self) -> None:
        text = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if line.startswith(("→ ", "← "))]
        self.assertGreater(len(lines), 10)
        session = Session(PLUGINS / "native-echo", "stdio", "native-echo")
        self.addCleanup(session.close)
        for line in lines:
            if line.startswith("→ "):
                session.socket.sendall(line[2:].encode() + b"\n")
            else:
                self.assertEqual(session.input.readline().decode(), line[2:] + "\n")
        self.assertEqual(session.process.wait(10), 0)

    def test_native_echo_takes_lines_in_pieces(self) -> None:
        session = self.start(PLUGINS / "native-echo", "stdio", "native-echo")
        params = {"method": "execute", "params": {"context": "ü"}, "call": "c", "stream": False}
        line = json.dumps({"jsonrpc": "2.0", "id": 99, "method": "invoke", "params": params}).encode() + b"\n"
        for byte in line:
            session.socket.sendall(bytes([byte]))
        self.assertEqual(session.answer(99)["result"], {"echo": "ü"})

    def test_native_echo_ends_when_a_line_is_not_the_protocol(self) -> None:
        for line in (b"nonsense\n", b"x" * (4 * 1024 * 1024 + 2)):
            session = self.start(PLUGINS / "native-echo", "stdio", "native-echo")
            session.socket.sendall(line)
            self.assertEqual(session.process.wait(10), 70)
            self.assertIn("is not the protocol", session.log())

    def test_word_count(self) -> None:
        config = {"most_frequent": 1}
        session = self.start(PLUGINS / "word-count", "python", "main.py", "--class", "WordCount", config=config)
        self.assertEqual(session.initialized["methods"], ["execute"])
        counted = session.result("execute", {"text": "To be, or not to be"})
        most = [{"word": "be", "count": 2}]
        expected = {"lines": 1, "words": 6, "characters": 19, "most_frequent": most}
        self.assertEqual(counted, {"success": True, "result": expected})
        self.assertFalse(session.result("execute", {})["success"])
        self.assert_ends_well(session)

    def test_shout(self) -> None:
        session = self.start(PLUGINS / "shout", "exec", "shout.sh")
        self.assertEqual(session.initialized["methods"], ["execute"])
        ids = session.invoke_all("execute", [{"message": f"größe {number}"} for number in range(8)])
        for number, id in enumerate(ids):
            self.assertEqual(session.answer(id)["result"], {"shout": f"GRÖßE {number}!"})
        error = session.call("execute", {"message": 7})["error"]
        self.assertEqual((error["code"], error["data"]["exit_code"]), (-32000, 1))
        self.assertIn("expected", error["data"]["trace"])
        self.assert_ends_well(session)

    def test_template(self) -> None:
        folder = ROOT / "plugin-template" / "python"
        session = self.start(folder, "python", "main.py", "--class", "MyPlugin", config={"greeting": "Good morning"})
        answer = session.result("execute", {"user": "Ada"})
        self.assertEqual(answer, {"success": True, "result": "Good morning, Ada!"})
        self.assert_ends_well(session)

    def test_nothing_is_left_when_the_service_is_gone(self) -> None:
        for folder, runtime, main in (
            ("echo", "python", "main.py"),
            ("native-echo", "stdio", "native-echo"),
            ("shout", "exec", "shout.sh"),
        ):
            session = self.start(PLUGINS / folder, runtime, main)
            self.assertEqual(session.hang_up(), 75, folder)


def setUpModule() -> None:
    subprocess.run([str(PLUGINS / "native-echo" / "build.sh")], check=True)


if __name__ == "__main__":
    unittest.main()
