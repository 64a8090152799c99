"""What Anthropic's own client for Python gets of a real llama.cpp server by way of plugbay.

The server speaks OpenAI's form to the backend: the client sees none of it.

usage: anthropic_client.py BASE_URL KEY READER_KEY
"""

import sys
import time

import anthropic

BASE, KEY, READER = sys.argv[1:]
MODEL = "tiny"
#: Sampling that can be repeated.
FIXED = {"extra_body": {"seed": 7, "temperature": 0.8}}
TOOL = {
    "name": "add",
    "description": "Adds",
    "input_schema": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
}

client = anthropic.Anthropic(base_url=BASE, api_key=KEY, max_retries=0)


def wanted(text="hello", **more):
    """A request with a short answer."""
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 24, **FIXED, **more}


def whole_and_streamed():
    """The same text, however it comes."""
    answer = client.messages.create(**wanted(system="be brief"))
    text = answer.content[0].text
    assert text and answer.stop_reason in ("end_turn", "max_tokens") and answer.model == MODEL, answer
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0, answer
    with client.messages.stream(**wanted(system="be brief")) as stream:
        assert "".join(stream.text_stream) == text
        last = stream.get_final_message()
    assert (last.stop_reason, last.usage.output_tokens) == (answer.stop_reason, answer.usage.output_tokens), last


def tools():
    """A model calls a tool, and answers with what the tool said."""
    answer = client.messages.create(**wanted(tools=[TOOL], tool_choice={"type": "any"}, max_tokens=200))
    call = next(block for block in answer.content if block.type == "tool_use")
    assert answer.stop_reason == "tool_use" and call.name == "add" and isinstance(call.input["a"], int), answer
    with client.messages.stream(**wanted(tools=[TOOL], tool_choice={"type": "any"}, max_tokens=200)) as stream:
        streamed = next(block for block in stream.get_final_message().content if block.type == "tool_use")
    assert streamed.name == "add" and isinstance(streamed.input["a"], int), streamed
    said = [
        {"role": "user", "content": "add"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": call.id, "name": "add", "input": call.input}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "42"}]},
    ]
    assert client.messages.create(model=MODEL, messages=said, max_tokens=8).content[0].text


def counting():
    """What the backend does not count is estimated, and says so."""
    counted = client.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "x" * 40}])
    assert counted.input_tokens == 10 and counted.model_extra == {"estimated": True}, counted


def errors():
    """Each has the class that the client has for it."""
    for more, kind in (
        ({"max_tokens": 0}, anthropic.BadRequestError),
        ({"model": "unknown"}, anthropic.NotFoundError),
    ):
        for stream in (False, True):
            try:
                client.messages.create(**wanted(**more), stream=stream)
            except kind as error:
                assert error.body["type"] == "error", error
            else:
                raise AssertionError(f"{more} was accepted")
    for key, kind in (("pbt_wrong", anthropic.AuthenticationError), (READER, anthropic.PermissionDeniedError)):
        try:
            anthropic.Anthropic(base_url=BASE, api_key=key, max_retries=0).messages.create(**wanted())
        except kind:
            continue
        raise AssertionError(f"{kind} was expected")


for check in (whole_and_streamed, tools, counting, errors):
    began = time.monotonic()
    check()
    print(f"{check.__name__}: {time.monotonic() - began:.1f} s", flush=True)
