/** Tokens bound to a key (DPoP, RFC 9449): a proof for each request, and nonces. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Client } from "#src/client.js";
import { Rejection } from "#src/generated/bearerd/v1/token_broker_pb.js";
import { Api, type Arrived, type Reply } from "./api.js";
import { ScriptedDaemon, token } from "./scripted-daemon.js";

const bound = (id: string) => token(id, { proofRequired: true, tokenType: "DPoP", authorization: `DPoP secret-${id}` });

/** A daemon whose proofs say what they are for. */
function demo(): { daemon: ScriptedDaemon; client: Client } {
  const daemon = new ScriptedDaemon();
  let current = "1";
  daemon.answer = (call) => {
    if (call.method === "WatchToken") call.streams(bound(current));
    else if (call.method === "GetToken") call.gives(bound((current = "2")), Rejection.REPLACED);
    else {
      const { method, url, nonce } = call.toSign;
      call.signs(bound(current), `${method} ${new URL(url).pathname} <${nonce}>`);
    }
  };
  return { daemon, client: daemon.client() };
}

const proofs = (api: Api) => api.arrived.map(({ headers }) => headers["dpop"]);
const challenge = (nonce: string): Reply => ({
  status: 401,
  headers: {
    "www-authenticate": 'Bearer realm="x", DPoP error="use_dpop_nonce", error_description="y"',
    "dpop-nonce": nonce,
  },
});

test("each request has the token of its proof, and the proof", async () => {
  using api = await Api.start(() => ({ status: 200 }));
  await demo().client.fetch(api.url("/a?b"), { method: "put" });
  assert.deepEqual(proofs(api), ["PUT /a <>"]);
  assert.equal(api.arrived[0]!.headers.authorization, "DPoP secret-1");
});

test("a demand for a nonce is met once, without a report, and the newest nonce is remembered", async () => {
  using api = await Api.start((_, index) =>
    index === 0 ? challenge("n1") : { status: 200, headers: { "dpop-nonce": `m${index}` } },
  );
  const { client, daemon } = demo();
  assert.equal((await client.fetch(api.url("/a"), { method: "POST", body: "x" })).status, 200);
  await client.fetch(api.url("/b"));
  assert.deepEqual(proofs(api), ["POST /a <>", "POST /a <n1>", "GET /b <m1>"]);
  assert.deepEqual(daemon.of("GetToken"), []);
  using other = await Api.start(() => ({ status: 200 }));
  await client.fetch(other.url("/c"));
  assert.deepEqual(proofs(other), ["GET /c <>"], "a nonce is its origin's own");
});

test("a server that is never content does not make it loop", async () => {
  using api = await Api.start((_, index) => challenge(`n${index}`));
  const { client, daemon } = demo();
  assert.equal((await client.fetch(api.url("/"))).status, 401);
  assert.deepEqual([api.arrived.length, daemon.of("GetToken").length], [2, 0]);
});

test("any other 401 is reported, and replayed with a new proof", async () => {
  const refusing = ({ headers }: Arrived): Reply =>
    headers.authorization === "DPoP secret-1"
      ? { status: 401, headers: { "www-authenticate": 'DPoP error="invalid_token"', "dpop-nonce": "n" } }
      : { status: 200 };
  using api = await Api.start(refusing);
  const { client, daemon } = demo();
  assert.equal((await client.fetch(api.url("/"))).status, 200);
  assert.deepEqual(proofs(api), ["GET / <>", "GET / <n>"]);
  assert.equal(daemon.newest("GetToken").asked.rejectedTokenId, "1");
});

test("a redirect needs a proof of its own, and none elsewhere", async () => {
  using away = await Api.start(() => ({ status: 200 }));
  using api = await Api.start(({ path }) => ({
    status: 302,
    headers: { location: path === "/a" ? "/b" : away.url("/c") },
  }));
  await demo().client.fetch(api.url("/a"));
  assert.deepEqual(proofs(api), ["GET /a <>", "GET /b <>"]);
  assert.deepEqual([proofs(away), away.arrived[0]!.headers.authorization], [[undefined], undefined]);
});

test("headers for such a token are for one call", async () => {
  const { client } = demo();
  await assert.rejects(client.headers({ "X-A": "1" }), { reason: "PROOF_REQUIRED" });
  assert.deepEqual(
    await client.headers({ "X-A": "1", dpop: "old" }, { method: "GET", url: "https://api.example/a", nonce: "n" }),
    {
      "X-A": "1",
      Authorization: "DPoP secret-1",
      DPoP: "GET /a <n>",
    },
  );
});
