"""The methods of chat plugins, called as the service calls them."""

from __future__ import annotations

from support import RunnerCase

PROCESSOR = """
    class Shout:
        def __init__(self, config):
            self.loud = config.get("loud", True)

        {define} process_message(self, message, context):
            if message["content"] == "quiet":
                return None
            return {{**message, "content": message["content"].upper() + context["model"]}}
"""


class ChatTest(RunnerCase):
    def test_a_processor_is_called_once_for_each_message(self) -> None:
        for define in ("def", "async def"):
            service = self.run_plugin(PROCESSOR.format(define=define), "--chat", "message_processor")
            messages = [{"role": "user", "content": "hi"}, {"role": "user", "content": "quiet"}]
            params = {"messages": messages, "context": {"model": "!"}}
            answer = service.answer(service.invoke("process_message", params))
            self.assertEqual(answer["result"], [{"role": "user", "content": "HI!"}, None], define)

    def test_a_backend_answers_whole_or_in_parts(self) -> None:
        text = """
            class Backend:
                async def chat(self, context):
                    for word in context["messages"][0]["content"].split():
                        yield word

                def list_models(self):
                    return ["words"]
        """
        service = self.run_plugin(text, "--chat", "backend_provider")
        params = {"context": {"messages": [{"role": "user", "content": "one two"}]}}
        self.assertEqual(service.answer(service.invoke("chat", params))["result"], ["one", "two"])
        self.assertIsNone(service.answer(service.invoke("chat", params, stream=True))["result"])
        self.assertEqual([chunk["data"] for chunk in service.notified("chunk")], ["one", "two"])
        self.assertEqual(service.answer(service.invoke("list_models", {}))["result"], ["words"])

    def test_middleware_has_either_method(self) -> None:
        text = """
            class Middle:
                def process_response(self, response):
                    return {**response, "seen": True}
        """
        service = self.start(text, "--chat", "middleware")
        self.assertEqual(service.initialize()["result"]["methods"], ["process_response"])
        answer = service.answer(service.invoke("process_response", {"response": {"id": "1"}}))
        self.assertEqual(answer["result"], {"id": "1", "seen": True})

    def test_what_the_kind_promises_must_be_there(self) -> None:
        for kind, body, told in (
            ("message_processor", "execute", "no method `process_message`"),
            ("backend_provider", "chat", "no method `list_models`"),
            ("feature_extension", "execute", "no method `extend`"),
            ("middleware", "execute", "neither `process_request` nor `process_response`"),
        ):
            service = self.start(f"class P:\n    def {body}(self, context): ...\n", "--chat", kind)
            self.assertIn(told, service.initialize()["error"]["message"])

    def test_without_the_section_its_methods_are_not_offered(self) -> None:
        service = self.start("class P:\n    def execute(self, context): ...\n    def chat(self, context): ...\n")
        self.assertEqual(service.initialize()["result"]["methods"], ["execute"])
