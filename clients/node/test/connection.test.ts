/** What goes over the socket, with stock gRPC on its other end. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, beforeEach, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { Metadata, status, type Server } from "@grpc/grpc-js";
import { Broker } from "#src/broker.js";
import * as pb from "#src/generated/bearerd/v1/token_broker_pb.js";
import { details, token } from "./scripted-daemon.js";
import { serveBroker, streamed, type Get, type Watch } from "./stock-server.js";

const directory = mkdtempSync(join(tmpdir(), "bearerd-client-"));
after(() => rmSync(directory, { recursive: true }));

let socket: string;
let number = 0;
let server: Server | undefined;
let broker: Broker;

beforeEach(() => {
  socket = join(directory, `${(number += 1)}.sock`);
  broker = new Broker({ socket });
});

afterEach(() => {
  broker.close();
  server?.forceShutdown();
  server = undefined;
});

async function serve(watch: Watch, get?: Get): Promise<void> {
  server = await serveBroker(socket, watch, get);
}

test("one stream carries what many read", async () => {
  const watched: string[] = [];
  await serve((call) => {
    watched.push(call.request.client);
    call.write(streamed("1"));
  });
  const reads = Array.from({ length: 1_000 }, () => broker.client("demo").token());
  assert.deepEqual(new Set((await Promise.all(reads)).map(({ id }) => id)), new Set(["1"]));
  await broker.client("other").token();
  assert.deepEqual(watched, ["demo", "other"]);
  assert.equal(broker.client("demo"), broker.client("demo"));
});

test("an error comes with its details, and the deadline goes along", async () => {
  let deadline = 0;
  await serve(
    (call) => call.write(streamed("1")),
    (call, answer) => {
      deadline = Number(call.getDeadline());
      const metadata = new Metadata();
      metadata.set("grpc-status-details-bin", Buffer.from(details("VALIDITY_UNATTAINABLE", 2_500)));
      answer({ code: status.OUT_OF_RANGE, details: "für nichts: 100 %\n", metadata });
    },
  );
  await broker.client("demo").token();
  const before = Date.now();
  await assert.rejects(broker.client("demo").token({ minValidityMs: 1e9, timeoutMs: 5_000 }), {
    reason: "VALIDITY_UNATTAINABLE",
    code: "OUT_OF_RANGE",
    message: "für nichts: 100 %\n",
    retryAfter: 2.5,
  });
  assert.ok(deadline >= before + 4_000 && deadline <= Date.now() + 5_000, `${deadline - before}`);
});

test("a message larger than what HTTP/2 carries in one piece arrives", async () => {
  const large = "x".repeat(1_000_000);
  const value = token("1", { accessToken: large });
  await serve((call) => call.write(create(pb.WatchTokenResponseSchema, { state: { case: "token", value } })));
  assert.equal((await broker.client("demo").token()).accessToken, large);
});

test("a refused stream is an error of its reader", async () => {
  await serve((call) => call.emit("error", { code: status.PERMISSION_DENIED, details: "uid 7 may not" }));
  await assert.rejects(broker.client("demo").token(), { code: "PERMISSION_DENIED", message: "uid 7 may not" });
});

test("the stream is there again soon after the daemon is", async () => {
  const id = { current: "1" };
  const watch: Watch = (call) => call.write(streamed(id.current));
  await serve(watch);
  const { promise: changed, resolve: change } = withResolvers();
  const debug = (message: string) => message === "token of demo changed: id 2" && change();
  using own = new Broker({ socket, logger: { debug, warn: () => {} } });
  const client = own.client("demo");
  await client.token();
  server!.forceShutdown();
  assert.equal((await client.token()).id, "1", "memory serves on");
  id.current = "2";
  rmSync(socket, { force: true });
  await serve(watch);
  const started = performance.now();
  await changed;
  assert.equal(client.tokenNow()?.id, "2");
  assert.ok(performance.now() - started < 3_000);
});

test("no daemon: an error at once that names the socket", async () => {
  await assert.rejects(broker.client("demo").token(), {
    reason: "DAEMON_UNREACHABLE",
    code: "UNAVAILABLE",
    message: `no daemon answers on ${socket} (ENOENT); start bearerd, or set BEARERD_SOCKET to its socket`,
  });
});

test("a path that is too long is not cut", async () => {
  using long = new Broker({ socket: `/${"x".repeat(107)}` });
  await assert.rejects(long.client("demo").token(), /at most 107 bytes/);
});

test("something else on the socket is no daemon", async (t) => {
  const other = createServer((_, response) => response.end("hello"));
  await new Promise<void>((resolve) => other.listen(socket, resolve));
  t.after(() => other.close());
  await assert.rejects(broker.client("demo").token(), (error: { reason: string; message: string }) => {
    assert.equal(error.reason, "DAEMON_UNREACHABLE");
    assert.match(error.message, /an answer that is not gRPC: HTTP status 200/);
    return true;
  });
});

test("closing wakes who waits, ends the connection, and is not undone by a read", async () => {
  const { promise: arrived, resolve: arrive } = withResolvers();
  const { promise: ended, resolve: end } = withResolvers();
  await serve((call) => {
    call.on("cancelled", end);
    arrive();
  });
  const read = broker.client("demo").token();
  await arrived;
  broker.close();
  broker.close();
  await assert.rejects(read, { reason: "CLOSED" });
  await ended;
  await assert.rejects(broker.client("another").token(), { reason: "CLOSED" });
});

/** `Promise.withResolvers`, which Node 20 has not. */
function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((settle) => (resolve = settle));
  return { promise, resolve };
}
