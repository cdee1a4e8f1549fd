/** What each request carries, and what happens after a 401: real HTTP, a scripted daemon. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { createFetch } from "#src/fetch.js";
import type { Client } from "#src/client.js";
import { Rejection } from "#src/generated/bearerd/v1/token_broker_pb.js";
import { Api, type Arrived, type Reply } from "./api.js";
import { ScriptedDaemon, token } from "./scripted-daemon.js";

/** A client whose token is "1", and "2" after a report. */
function demo(headers: Parameters<typeof token>[1] = {}): { daemon: ScriptedDaemon; client: Client } {
  const daemon = new ScriptedDaemon();
  daemon.answer = (call) => {
    if (call.method === "WatchToken") call.streams(token("1", headers));
    else call.gives(token("2", headers), Rejection.REPLACED);
  };
  return { daemon, client: daemon.client() };
}

const declared = {
  headers: [
    { name: "Requestor-ID", value: "", perCall: true, pattern: "[0-9]+" },
    { name: "X-Partner", value: "acme", perCall: false, pattern: "" },
  ],
};
const refusing =
  (id: string) =>
  ({ headers }: Arrived): Reply =>
    headers.authorization === `Bearer secret-${id}` ? { status: 401, body: "no" } : { status: 200, body: "yes" };

test("sets the token and the fixed headers, in the place of what is there", async () => {
  using api = await Api.start(() => ({ status: 200 }));
  const { client } = demo(declared);
  const headers = { authorization: "Basic x", "x-partner": "evil", "requestor-id": "4711", accept: "text/plain" };
  await client.fetch(api.url("/"), { headers });
  const sent = api.arrived[0]!.headers;
  assert.equal(sent.authorization, "Bearer secret-1");
  assert.equal(sent["x-partner"], "acme");
  assert.equal(sent["requestor-id"], "4711");
  assert.equal(sent.accept, "text/plain");
});

test("takes what fetch takes", async () => {
  using api = await Api.start(() => ({ status: 200 }));
  const { client } = demo();
  await client.fetch(new URL(api.url("/url")));
  await client.fetch(new Request(api.url("/request"), { method: "PUT", body: "hello", headers: { "x-a": "1" } }));
  await client.fetch(new Request(api.url("/both"), { headers: { "x-a": "1" } }), {
    method: "post",
    headers: [["x-b", "2"]],
  });
  const [url, request, both] = api.arrived;
  assert.equal(url!.path, "/url");
  assert.deepEqual([request!.method, request!.body, request!.headers["content-length"]], ["PUT", "hello", "5"]);
  assert.equal(request!.headers["x-a"], "1");
  assert.deepEqual([both!.method, both!.headers["x-a"], both!.headers["x-b"]], ["POST", undefined, "2"]);
  for (const { headers } of api.arrived) assert.equal(headers.authorization, "Bearer secret-1");
});

test("what is no URL is a rejection, as of fetch", async () => {
  await assert.rejects(demo().client.fetch("accounts"), TypeError);
});

test("a URL that is changed after the call is not the one that is called", async () => {
  using api = await Api.start(() => ({ status: 200 }));
  const url = new URL(api.url("/"));
  const call = demo().client.fetch(url);
  url.href = "http://api.example/";
  assert.equal((await call).status, 200);
});

test("sends nothing without a required header, or with one that does not match", async () => {
  using api = await Api.start(() => ({ status: 200 }));
  const { client } = demo(declared);
  await assert.rejects(client.fetch(api.url("/")), { reason: "HEADER_MISSING" });
  await assert.rejects(client.fetch(api.url("/"), { headers: { "Requestor-ID": "47x" } }), {
    reason: "HEADER_INVALID",
  });
  assert.deepEqual(api.arrived, []);
});

test("sends nothing where the token could be read on the way, unless that is allowed", async () => {
  const sent: unknown[] = [];
  const send = (input: unknown) => Promise.resolve(new Response(String(sent.push(input))));
  const { client, daemon } = demo();
  await assert.rejects(createFetch(client, { fetch: send })("http://api.example/"), { reason: "URL_INSECURE" });
  assert.deepEqual([sent, daemon.calls], [[], []]);
  await createFetch(client, { fetch: send, allowHttp: true })("http://api.example/");
  await createFetch(client, { fetch: send })("https://api.example/");
  assert.deepEqual(sent, ["http://api.example/", "https://api.example/"]);
});

test("replays once after a 401, with the token that replaced it", async () => {
  using api = await Api.start(refusing("1"));
  const { client, daemon } = demo();
  const response = await client.fetch(api.url("/"), { method: "POST", body: "hello" });
  assert.deepEqual([response.status, await response.text()], [200, "yes"]);
  assert.deepEqual(
    api.arrived.map(({ body }) => body),
    ["hello", "hello"],
  );
  assert.equal(daemon.newest("GetToken").asked.rejectedTokenId, "1");
  await client.fetch(api.url("/"));
  assert.equal(api.arrived.length, 3, "the next request has the new token from the start");
});

test("never loops", async () => {
  using api = await Api.start(() => ({ status: 401, body: "no" }));
  const { client, daemon } = demo();
  const response = await client.fetch(api.url("/"));
  assert.deepEqual([response.status, await response.text()], [401, "no"]);
  assert.deepEqual([api.arrived.length, daemon.of("GetToken").length], [2, 1]);
});

for (const status of [400, 403]) {
  test(`${status} is no problem of the token`, async () => {
    using api = await Api.start(() => ({ status }));
    const { client, daemon } = demo();
    assert.equal((await client.fetch(api.url("/"))).status, status);
    assert.deepEqual([api.arrived.length, daemon.of("GetToken").length], [1, 0]);
  });
}

test("a burst of 401s costs one report", async () => {
  using api = await Api.start(refusing("1"));
  const { client, daemon } = demo();
  const responses = await Promise.all(Array.from({ length: 100 }, () => client.fetch(api.url("/"))));
  assert.deepEqual(new Set(responses.map(({ status }) => status)), new Set([200]));
  assert.equal(daemon.of("GetToken").length, 1);
});

test("a token that stays is not tried again", async () => {
  using api = await Api.start(refusing("1"));
  const { client, daemon } = demo();
  await client.token();
  daemon.answer = (call) => call.gives(token("1"), Rejection.TOO_YOUNG);
  const response = await client.fetch(api.url("/"));
  assert.deepEqual([response.status, await response.text(), api.arrived.length], [401, "no", 1]);
});

test("if the report fails the application gets the 401, and the log a warning", async () => {
  using api = await Api.start(refusing("1"));
  const { client, daemon } = demo();
  await client.token();
  daemon.answer = (call) => call.breaks();
  const response = await client.fetch(api.url("/"));
  assert.deepEqual([response.status, await response.text(), api.arrived.length], [401, "no", 1]);
  const warnings = daemon.log.filter((line) => line.startsWith("WARN"));
  assert.equal(warnings.length, 1);
  assert.match(warnings[0]!, /report of a 401 to token 1 of demo failed: BearerdError: no daemon answers/);
  assert.doesNotMatch(daemon.log.join(), /secret/);
});

const form = () => {
  const data = new FormData();
  data.set("x", new Blob(["x"]));
  return data;
};
const once = (text: string) => new Blob([text]).stream();
for (const [name, body, again] of [
  ["a string", () => "x", true],
  ["a Buffer", () => Buffer.from("x"), true],
  ["an ArrayBuffer", () => new TextEncoder().encode("x").buffer, true],
  ["URLSearchParams", () => new URLSearchParams({ x: "" }), true],
  ["FormData", () => form(), true],
  ["a Blob", () => new Blob(["x"]), true],
  ["a stream", () => once("x"), false],
] as const) {
  test(`${name} is ${again ? "sent again" : "sent once; the report is made all the same"}`, async () => {
    using api = await Api.start(refusing("1"));
    const { client, daemon } = demo();
    const response = await client.fetch(api.url("/"), { method: "POST", body: body(), duplex: "half" });
    assert.equal(response.status, again ? 200 : 401);
    const length = ({ body: sent }: Arrived) => sent.length;
    assert.deepEqual(new Set(api.arrived.map(length)).size, 1);
    assert.deepEqual([api.arrived.length, daemon.of("GetToken").length], [again ? 2 : 1, 1]);
  });
}

test("the body of a Request is a stream; a Request without one is sent again", async () => {
  using api = await Api.start(refusing("1"));
  assert.equal((await demo().client.fetch(new Request(api.url("/"), { method: "POST", body: "x" }))).status, 401);
  assert.equal((await demo().client.fetch(new Request(api.url("/")))).status, 200);
});

test("a signal ends the request, wherever it is", async () => {
  using api = await Api.start(() => ({ status: 200 }));
  const daemon = new ScriptedDaemon();
  const reason = new Error("enough");
  const controller = new AbortController();
  const waiting = daemon.client().fetch(api.url("/"), { signal: controller.signal });
  const asRequest = daemon.client().fetch(new Request(api.url("/"), { signal: controller.signal }));
  controller.abort(reason);
  await assert.rejects(waiting, reason);
  await assert.rejects(asRequest, reason);
  await assert.rejects(demo().client.fetch(api.url("/"), { signal: controller.signal }), reason);
  assert.deepEqual(api.arrived, []);
});

test("a signal ends the wait for a report", async () => {
  using api = await Api.start(refusing("1"));
  const { client, daemon } = demo();
  await client.token();
  const controller = new AbortController();
  const reason = new Error("enough");
  daemon.answer = () => controller.abort(reason);
  await assert.rejects(client.fetch(api.url("/"), { signal: controller.signal }), reason);
  assert.equal(api.arrived.length, 1);
});

test("a client without a token sends nothing", async () => {
  using api = await Api.start(() => ({ status: 200 }));
  const { client, daemon } = demo();
  daemon.answer = (call) => call.refuses("PERMISSION_DENIED", "CALLER_NOT_ALLOWED");
  await assert.rejects(client.fetch(api.url("/")), { reason: "CALLER_NOT_ALLOWED" });
  assert.deepEqual(api.arrived, []);
});
