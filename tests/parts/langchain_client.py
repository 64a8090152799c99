"""What LangChain gets of a real llama.cpp server by way of plugbay. usage: langchain_client.py BASE_URL KEY"""

import sys

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

BASE, KEY = sys.argv[1:]


@tool
def add(a: int) -> int:
    """Adds."""
    return a + 1


class Number(BaseModel):
    """A number."""

    n: int


def model(**more):
    return ChatOpenAI(model="tiny", base_url=BASE, api_key=KEY, max_retries=0, seed=7, temperature=0.8, **more)


whole = model(max_tokens=24).invoke("hello")
assert whole.content and whole.usage_metadata["output_tokens"] > 0, whole
streamed = "".join(chunk.content for chunk in model(max_tokens=24).stream("hello"))
assert streamed == whole.content, (streamed, whole.content)
called = model(max_tokens=200).bind_tools([add], tool_choice="required").invoke("add")
call = called.tool_calls[0]
assert call["name"] == "add" and isinstance(call["args"]["a"], int), called
said = [HumanMessage("add"), called, ToolMessage(content=str(add.invoke(call["args"])), tool_call_id=call["id"])]
assert model(max_tokens=8).invoke(said).content
number = model(max_tokens=60).with_structured_output(Number, method="json_schema").invoke("a number")
assert isinstance(number.n, int), number
print("langchain: whole, streamed, a tool and its round trip, structured output")
