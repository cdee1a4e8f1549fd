/** Redirects: `fetch`'s rules, and nothing of ours for another origin. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Rejection } from "#src/generated/bearerd/v1/token_broker_pb.js";
import { Api, type Reply } from "./api.js";
import { ScriptedDaemon, token } from "./scripted-daemon.js";

const declared = {
  headers: [
    { name: "Requestor-ID", value: "", perCall: true, pattern: "" },
    { name: "X-Partner", value: "acme", perCall: false, pattern: "" },
  ],
};
const headers = { "Requestor-ID": "4711", Cookie: "a=b", "X-Own": "1", "Content-Type": "text/plain" };

function fetchOf(daemon = new ScriptedDaemon()): typeof fetch {
  daemon.answer = (call) => {
    if (call.method === "WatchToken") call.streams(token("1", declared));
    else call.gives(token("2", declared), Rejection.REPLACED);
  };
  return daemon.client().fetch;
}

const to = (location: string, status = 302): Reply => ({ status, headers: { location }, body: "moved" });

test("on the same origin the token and its headers go along", async () => {
  using api = await Api.start(({ path }) => (path === "/a" ? to("b?x#y") : { status: 200, body: "here" }));
  const response = await fetchOf()(api.url("/a"), { headers });
  assert.deepEqual([response.status, response.url, response.redirected], [200, api.url("/b?x"), true]);
  assert.equal(await response.text(), "here");
  const { headers: sent } = api.arrived[1]!;
  assert.deepEqual([sent.authorization, sent["x-partner"], sent["requestor-id"]], ["Bearer secret-1", "acme", "4711"]);
});

test("to another origin nothing of ours goes, and not on the way back either", async () => {
  using home: Api = await Api.start(({ path }) => (path === "/a" ? to(away.url("/b")) : { status: 200 }));
  using away: Api = await Api.start(() => to(home.url("/c")));
  assert.equal((await fetchOf()(home.url("/a"), { headers })).status, 200);
  assert.equal(home.arrived[0]!.headers.authorization, "Bearer secret-1");
  for (const { headers: sent } of [away.arrived[0]!, home.arrived[1]!]) {
    for (const name of ["authorization", "x-partner", "requestor-id", "cookie"])
      assert.equal(sent[name], undefined, name);
    assert.equal(sent["x-own"], "1");
  }
});

test("a 401 of another origin is nothing to report", async () => {
  using away = await Api.start(() => ({ status: 401 }));
  using home = await Api.start(() => to(away.url("/b")));
  const daemon = new ScriptedDaemon();
  assert.equal((await fetchOf(daemon)(home.url("/a"), { headers })).status, 401);
  assert.deepEqual([daemon.of("GetToken").length, away.arrived.length], [0, 1]);
});

test("a 401 after a redirect is reported and replayed there", async () => {
  using api = await Api.start(({ path, headers: { authorization } }) => {
    if (path === "/a") return to("/b", 307);
    return { status: authorization === "Bearer secret-1" ? 401 : 200 };
  });
  assert.equal((await fetchOf()(api.url("/a"), { headers, method: "POST", body: "x" })).status, 200);
  assert.deepEqual(
    api.arrived.map(({ path, body }) => path + body),
    ["/ax", "/bx", "/bx"],
  );
});

for (const [status, method, becomes] of [
  [301, "POST", "GET"],
  [302, "POST", "GET"],
  [303, "POST", "GET"],
  [303, "PUT", "GET"],
  [303, "HEAD", "HEAD"],
  [301, "PUT", "PUT"],
  [302, "DELETE", "DELETE"],
  [307, "POST", "POST"],
  [308, "PUT", "PUT"],
] as const) {
  test(`${status} makes of ${method} ${becomes}`, async () => {
    using api = await Api.start(({ path }) => (path === "/a" ? to("/b", status) : { status: 200 }));
    const body = method === "HEAD" ? {} : { body: "hello" };
    for (const follow of [fetchOf(), fetch]) await follow(api.url("/a"), { method, headers, ...body });
    const [, ours, , native] = api.arrived.map((sent) => [sent.method, sent.body, sent.headers["content-type"]]);
    assert.equal(ours![0], becomes);
    assert.deepEqual(ours, native, "as the global fetch does");
  });
}

test("a stream is gone: 303 goes on without it, 307 cannot", async () => {
  for (const [status, fine] of [
    [303, true],
    [307, false],
  ] as const) {
    using api = await Api.start(({ path }) => (path === "/a" ? to("/b", status) : { status: 200 }));
    const body = new Blob(["hello"]).stream();
    const call = fetchOf()(api.url("/a"), { method: "POST", headers, body, duplex: "half" });
    if (fine) assert.equal((await call).status, 200);
    else await assert.rejects(call, { name: "TypeError", message: "fetch failed" });
    assert.equal(api.arrived.length, fine ? 2 : 1);
  }
});

test("manual gives the application the redirect, error an error", async () => {
  using api = await Api.start(() => to("/b"));
  const manual = await fetchOf()(api.url("/a"), { headers, redirect: "manual" });
  assert.deepEqual([manual.status, manual.headers.get("location"), manual.redirected], [302, "/b", false]);
  assert.equal((await fetchOf()(new Request(api.url("/a"), { headers, redirect: "manual" }))).status, 302);
  await assert.rejects(fetchOf()(api.url("/a"), { headers, redirect: "error" }), TypeError);
  assert.equal(api.arrived.length, 3);
});

test("twenty redirects are followed and no more", async () => {
  using api = await Api.start(({ path }) => (path === "/20" ? { status: 200 } : to(`/${Number(path.slice(1)) + 1}`)));
  assert.equal((await fetchOf()(api.url("/0"), { headers })).status, 200);
  using endless = await Api.start(() => to("/"));
  await assert.rejects(fetchOf()(endless.url("/"), { headers }), TypeError);
  assert.equal(endless.arrived.length, 21);
});

for (const location of ["ftp://127.0.0.1/", "http://[", "http://user:secret@localhost:1/"]) {
  test(`a redirect to ${location} fails`, async () => {
    using api = await Api.start(() => to(location));
    await assert.rejects(fetchOf()(api.url("/"), { headers }), { name: "TypeError", message: "fetch failed" });
  });
}

test("3xx without a location is the answer", async () => {
  using api = await Api.start(() => ({ status: 302, body: "odd" }));
  const response = await fetchOf()(api.url("/"), { headers });
  assert.deepEqual([response.status, await response.text(), response.redirected], [302, "odd", false]);
});
