// What clients for Node get of a real llama.cpp server by way of plugbay: OpenAI's, Anthropic's, and the AI SDK.
//
// usage: clients.mjs BASE_URL KEY READER_KEY

import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, jsonSchema, streamText, tool } from "ai";
import OpenAI from "openai";

const [base, key, reader] = process.argv.slice(2);
const model = "tiny";
const messages = [{ role: "user", content: "hello" }];
const parameters = { type: "object", properties: { a: { type: "integer" } }, required: ["a"] };

const checks = {
  async "openai: whole and streamed"() {
    const client = new OpenAI({ baseURL: base, apiKey: key, maxRetries: 0 });
    const wanted = { model, messages, max_tokens: 24, seed: 7, temperature: 0.8 };
    const answer = await client.chat.completions.create(wanted);
    let text = "";
    for await (const chunk of await client.chat.completions.create({ ...wanted, stream: true })) {
      text += chunk.choices[0]?.delta?.content ?? "";
    }
    assert.ok(text && text === answer.choices[0].message.content);
    assert.ok(answer.usage.completion_tokens > 0);
  },

  async "openai: a tool and its round trip"() {
    const client = new OpenAI({ baseURL: base, apiKey: key, maxRetries: 0 });
    const tools = [{ type: "function", function: { name: "add", description: "Adds", parameters } }];
    const answer = await client.chat.completions.create({ model, messages, tools, tool_choice: "required", max_tokens: 200 });
    const call = answer.choices[0].message.tool_calls[0];
    assert.equal(call.function.name, "add");
    assert.ok(Number.isInteger(JSON.parse(call.function.arguments).a));
    const said = [...messages, answer.choices[0].message, { role: "tool", tool_call_id: call.id, content: "42" }];
    const last = await client.chat.completions.create({ model, messages: said, max_tokens: 8 });
    assert.ok(last.choices[0].message.content);
  },

  async "openai: error classes"() {
    const asked = (apiKey, more) =>
      new OpenAI({ baseURL: base, apiKey, maxRetries: 0 }).chat.completions.create({ model, messages, ...more });
    await assert.rejects(asked(key, { max_tokens: 0 }), OpenAI.BadRequestError);
    await assert.rejects(asked(key, { model: "unknown" }), OpenAI.NotFoundError);
    await assert.rejects(asked("pbt_wrong", {}), OpenAI.AuthenticationError);
    await assert.rejects(asked(reader, {}), OpenAI.PermissionDeniedError);
  },

  async "anthropic: whole, streamed, a tool, error classes"() {
    const at = base.replace(/\/v1$/, "");
    const client = new Anthropic({ baseURL: at, apiKey: key, maxRetries: 0 });
    const wanted = { model, messages, max_tokens: 24, seed: 7, temperature: 0.8 };
    const answer = await client.messages.create(wanted);
    const streamed = await client.messages.stream(wanted).finalMessage();
    assert.ok(answer.content[0].text && answer.content[0].text === streamed.content[0].text);
    const tools = [{ name: "add", description: "Adds", input_schema: parameters }];
    const called = await client.messages.create({ ...wanted, tools, tool_choice: { type: "any" }, max_tokens: 200 });
    const call = called.content.find((block) => block.type === "tool_use");
    assert.ok(call.name === "add" && Number.isInteger(call.input.a));
    await assert.rejects(client.messages.create({ ...wanted, model: "unknown" }), Anthropic.NotFoundError);
    const other = new Anthropic({ baseURL: at, apiKey: "pbt_wrong", maxRetries: 0 });
    await assert.rejects(other.messages.create(wanted), Anthropic.AuthenticationError);
  },

  async "ai sdk: whole, streamed, a tool"() {
    const provider = createOpenAICompatible({ name: "plugbay", baseURL: base, apiKey: key, includeUsage: true });
    const wanted = { model: provider(model), prompt: "hello", maxOutputTokens: 24, seed: 7, temperature: 0.8, maxRetries: 0 };
    const answer = await generateText(wanted);
    let text = "";
    for await (const part of streamText(wanted).textStream) text += part;
    assert.ok(text && text === answer.text);
    assert.ok(answer.usage.outputTokens > 0);
    const add = tool({ description: "Adds", inputSchema: jsonSchema(parameters) });
    const called = await generateText({ ...wanted, tools: { add }, toolChoice: "required", maxOutputTokens: 200 });
    assert.equal(called.toolCalls[0].toolName, "add");
    assert.ok(Number.isInteger(called.toolCalls[0].input.a));
  },
};

for (const [name, check] of Object.entries(checks)) {
  const began = performance.now();
  await check();
  console.log(`${name}: ${((performance.now() - began) / 1000).toFixed(1)} s`);
}
