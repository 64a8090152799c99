// Lists, installs, enables and calls a plugin through the types that openapi-typescript makes of the description.
// Arguments: address of the service, token, archive with its .minisig beside it.
import { openAsBlob } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type Problem = components["schemas"]["ProblemBody"];

const [url, token, archive] = process.argv.slice(2);
if (url === undefined || token === undefined || archive === undefined) {
  throw new Error("expected: URL TOKEN ARCHIVE");
}
const client = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${token}` } });

/** What a request gave, or an exception with the problem's words. */
function given<T>(answer: { data?: T; error?: Problem }): T {
  if (answer.data === undefined) {
    throw new Error(`${answer.error?.code}: ${answer.error?.detail}`);
  }
  return answer.data;
}

async function names(): Promise<string[]> {
  const page = given(await client.GET("/api/plugins", { params: { query: { status: "all", limit: 50 } } }));
  return page.plugins.map((plugin) => plugin.name);
}

if ((await names()).includes("hello")) {
  throw new Error("hello is installed already");
}
const file = await openAsBlob(archive);
const signature = await readFile(`${archive}.minisig`, "utf8");
const installed = given(
  await client.POST("/api/plugins/install", {
    // In the description a file is text in a binary format; a program has the file.
    body: { file: "", signature },
    bodySerializer: () => {
      const form = new FormData();
      form.append("file", file, basename(archive));
      form.append("signature", signature);
      return form;
    },
  }),
);
const path = { id: installed.plugin_id };
given(await client.POST("/api/plugins/{id}/enable", { params: { path } }));
const answer = given(
  // The context is any JSON, so an object with fields must be accepted by its type.
  await client.POST("/api/plugins/{id}/execute", { params: { path }, body: { context: { user: "Ada", tags: ["a"] } } }),
);
// The same route streams to callers who ask for events, so its answer has two types.
if (!("success" in answer) || answer.result !== "Hello, Ada!" || !(await names()).includes("hello")) {
  throw new Error(`expected Hello, Ada!, found ${JSON.stringify(answer)}`);
}
// A refusal is a problem with a type of its own.
const refused = await client.GET("/api/plugins/{id}", { params: { path: { id: "nope" } } });
if (refused.error?.code !== "plugin-unknown") {
  throw new Error(`expected plugin-unknown, found ${JSON.stringify(refused.error)}`);
}
given(await client.POST("/api/plugins/{id}/disable", { params: { path } }));
const removed = await client.DELETE("/api/plugins/{id}", { params: { path, query: { purge: true } } });
if (removed.response.status !== 204) {
  throw new Error(`expected 204, found ${removed.response.status}`);
}
console.log("TypeScript: listed, installed, enabled, called, refused, removed");
