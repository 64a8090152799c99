"""What OpenAI's own client for Python gets of a real llama.cpp server by way of plugbay.

usage: openai_client.py BASE_URL KEY READER_KEY LLAMA_URL TOOL_TOKEN
"""

import json
import sys
import time
import urllib.request

import openai

BASE, KEY, READER, LLAMA, TOOL_TOKEN = sys.argv[1:]
MODEL = "tiny"
#: Sampling that can be repeated.
FIXED = {"seed": 7, "temperature": 0.8}
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    },
}

client = openai.OpenAI(base_url=BASE, api_key=KEY, max_retries=0)


def ask(text="hello", **more):
    """A request with a short answer."""
    wanted = {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 24, **FIXED, **more}
    return client.chat.completions.create(**wanted)


def metrics():
    """Tokens that the server has read and written."""
    with urllib.request.urlopen(f"{LLAMA}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return float(values["llamacpp:prompt_tokens_total"]), float(values["llamacpp:tokens_predicted_total"])


def whole_and_streamed():
    """The same text, however it comes; usage only where it was asked for."""
    answer = ask()
    text = answer.choices[0].message.content
    assert text and answer.choices[0].finish_reason in ("stop", "length"), answer
    assert answer.usage.completion_tokens > 0 and answer.model == MODEL, answer
    chunks = list(ask(stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text
    assert chunks[0].choices[0].delta.role == "assistant" and all(chunk.usage is None for chunk in chunks)
    ends = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason]
    assert ends == [answer.choices[0].finish_reason]
    chunks = list(ask(stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == answer.usage.completion_tokens
    assert len({chunk.id for chunk in chunks}) == 1


def several_answers():
    """`n` gives as many, by their numbers."""
    answer = ask(n=2)
    assert [choice.index for choice in answer.choices] == [0, 1], answer
    assert all(choice.message.content for choice in answer.choices)


def tools():
    """A model calls a tool, and answers with what the tool said."""
    forced = {"tools": [TOOL], "tool_choice": "required", "logit_bias": {TOOL_TOKEN: 50, "2": 100}, "max_tokens": 200}
    answer = ask(**forced)
    call = answer.choices[0].message.tool_calls[0]
    assert answer.choices[0].finish_reason == "tool_calls" and call.function.name == "add", answer
    assert isinstance(json.loads(call.function.arguments)["a"], int)
    name, arguments, finish = "", "", None
    for chunk in ask(stream=True, **forced):
        for part in chunk.choices[0].delta.tool_calls or ():
            if part.index == 0:
                name += part.function.name or ""
                arguments += part.function.arguments or ""
        finish = chunk.choices[0].finish_reason or finish
    assert (name, finish) == ("add", "tool_calls") and "a" in json.loads(arguments)
    messages = [
        {"role": "user", "content": "add"},
        {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": "42"},
    ]
    # Without tools: this server cannot offer them to a model that it forces to nothing.
    assert client.chat.completions.create(model=MODEL, messages=messages, max_tokens=8).choices[0].message.content


def structured():
    """An answer that fits a schema."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    wanted = {"name": "s", "schema": {**schema, "additionalProperties": False}}
    answer = ask(response_format={"type": "json_schema", "json_schema": wanted}, max_tokens=60)
    assert isinstance(json.loads(answer.choices[0].message.content)["n"], int), answer


def errors():
    """Each has the class that the client has for it."""
    for wanted, kind, code in (
        ({"max_tokens": 0}, openai.BadRequestError, None),
        ({"model": "unknown"}, openai.NotFoundError, "model_not_found"),
    ):
        for stream in (False, True):
            try:
                ask(**wanted, stream=stream)
            except kind as error:
                assert code is None or error.code == code, error
            else:
                raise AssertionError(f"{wanted} was accepted")
    for key, kind in (("pbt_wrong", openai.AuthenticationError), (READER, openai.PermissionDeniedError)):
        try:
            openai.OpenAI(base_url=BASE, api_key=key, max_retries=0).models.list()
        except kind:
            continue
        raise AssertionError(f"{kind} was expected")


def busy():
    """Whether the server works on anything."""
    with urllib.request.urlopen(f"{LLAMA}/slots") as answer:
        return any(slot["is_processing"] for slot in json.load(answer))


def leaving():
    """The server stops when its reader has gone."""
    stream = ask(stream=True, max_tokens=7_000, extra_body={"ignore_eos": True})
    for _, _chunk in zip(range(3), stream):
        pass
    assert busy(), "the answer is long enough to be left"
    stream.close()
    began = time.monotonic()
    while busy():
        assert time.monotonic() - began < 1, "the server goes on without a reader"
        time.sleep(0.02)


def usage():
    """What is told of usage is what the server has counted."""
    before = metrics()
    counted = [0, 0]
    for number in range(40):
        if number % 2:
            answers = list(ask(f"question {number}", stream=True, stream_options={"include_usage": True}))
            found = answers[-1].usage
        else:
            found = ask(f"question {number}").usage
        cached = found.prompt_tokens_details.cached_tokens or 0
        counted[0] += found.prompt_tokens - cached
        counted[1] += found.completion_tokens
    after = metrics()
    assert [after[0] - before[0], after[1] - before[1]] == counted, (before, after, counted)


for check in (whole_and_streamed, several_answers, tools, structured, errors, leaving, usage):
    began = time.monotonic()
    check()
    print(f"{check.__name__}: {time.monotonic() - began:.1f} s", flush=True)
