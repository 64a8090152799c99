"""Filters that are fed an answer while it comes."""

from __future__ import annotations

from typing import Any

from support import RunnerCase

DELTAS = [[{"choice": 0, "kind": "content", "text": "a sec"}], [{"choice": 0, "kind": "content", "text": "ret b"}]]

HOLDS = """
    class Masks:
        def process_message(self, message, context):
            return message

        {define} process_stream(self, stream, context):
            rest = ""
            {loop} delta in stream:
                text = (rest + delta["text"]).replace("secret", "#")
                kept = 3 if text.endswith("sec") else 0
                rest = text[len(text) - kept:]
                yield {{"text": text[:len(text) - kept], "hold": kept}}
"""


def chunks(service: Any) -> list[Any]:
    return [(chunk.get("read"), chunk["data"]) for chunk in service.notified("chunk")]


class FeedTest(RunnerCase):
    def test_a_line_is_answered_once_by_what_was_yielded_for_it(self) -> None:
        for define, loop in (("async def", "async for"), ("def", "for")):
            service = self.run_plugin(HOLDS.format(define=define, loop=loop), "--chat", "message_processor")
            self.assertIsNone(service.feed("process_stream", DELTAS)["result"])
            entry = {"choice": 0, "kind": "content"}
            expected = [
                (0, [{**entry, "text": "a ", "hold": 3}]),
                (1, [{**entry, "text": "# b", "hold": 0}]),
            ]
            self.assertEqual(chunks(service), expected, define)

    def test_what_is_not_yielded_for_is_held_as_far_as_it_may_be_and_gone_at_the_end(self) -> None:
        text = """
            class Drops:
                def process_message(self, message, context):
                    return message

                async def process_stream(self, stream, context):
                    async for delta in stream:
                        if delta["text"] == "keep":
                            yield "kept"
        """
        service = self.run_plugin(text, "--chat", "message_processor")
        entry = {"choice": 0, "kind": "content"}
        lines = [[{**entry, "text": text}] for text in ("keep", "x" * 100)]
        service.feed("process_stream", lines, {"message": {"metadata": {"max_hold": 8}}})
        expected = [
            (0, [{**entry, "text": "kept", "hold": 0}]),
            (1, [{**entry, "text": "", "hold": 8}]),
            (None, [{**entry, "text": "", "hold": 0}]),
        ]
        self.assertEqual(chunks(service), expected)

    def test_a_filter_refuses_swallows_and_answers_for_tools(self) -> None:
        text = """
            class Guards:
                def process_message(self, message, context):
                    return message

                async def process_stream(self, stream, context):
                    async for delta in stream:
                        if "bomb" in delta["text"]:
                            yield {"action": "block", "reason": "no"}
                        yield {"text": delta["text"], "swallow": delta["text"] == "BEGIN"}
        """
        service = self.run_plugin(text, "--chat", "message_processor")
        tool = {"choice": 0, "kind": "tool", "id": "t", "name": "n", "text": "{}"}
        lines: list[list[dict[str, Any]]] = [[{"choice": 1, "kind": "reasoning", "text": "BEGIN"}, tool], [{**tool, "text": "bomb"}]]
        answer = service.feed("process_stream", lines)
        self.assertEqual(answer["result"], {"action": "block", "reason": "no"})
        expected = [
            {"choice": 1, "kind": "reasoning", "text": "BEGIN", "hold": 0, "swallow": True},
            {"choice": 0, "kind": "tool", "text": "{}", "hold": 0, "id": "t"},
        ]
        self.assertEqual(chunks(service), [(0, expected)])

    def test_a_hook_is_called_for_each_delta(self) -> None:
        for define in ("def", "async def"):
            text = f"""
                class Hooked:
                    def execute(self, context):
                        return context

                    {define} on_stream_chunk(self, told):
                        return None if told["model"] == "m" and "b" in told["chunk"]["text"] else "-"
            """
            service = self.run_plugin(text, "--hook", "on_stream_chunk")
            service.feed("on_stream_chunk", DELTAS, {"model": "m"})
            self.assertEqual([data[0]["text"] for _, data in chunks(service)], ["-", "ret b"], define)

    def test_mistakes_of_a_filter_are_told(self) -> None:
        for body, told in (
            ("yield 7", "a filter yields texts"),
            ("yield {'text': '', 'hold': 99}", "more than can be held back now"),
            ("yield {'text': 'x', 'kind': 'refusal'}", "nothing of 'refusal'"),
            ("yield {'action': 'mask'}", "cannot yield the action 'mask'"),
        ):
            text = f"""
                class Wrong:
                    def process_message(self, message, context):
                        return message

                    async def process_stream(self, stream, context):
                        async for delta in stream:
                            {body}
            """
            service = self.run_plugin(text, "--chat", "message_processor")
            self.assertIn(told, service.feed("process_stream", DELTAS)["error"]["message"], body)
