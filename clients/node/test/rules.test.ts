/** The small rules: margin, backoff, socket, messages on the wire, URLs, errors. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { Backoff } from "#src/backoff.js";
import { BearerdError } from "#src/errors.js";
import { frame, LONGEST, Unframer } from "#src/framing.js";
import { marginMs } from "#src/memory.js";
import { findSocket } from "#src/socket.js";
import { callError } from "#src/status.js";
import { checkUrl } from "#src/url.js";
import { details } from "./scripted-daemon.js";

test("the margin is a tenth of the life, 30 s at most", () => {
  assert.equal(marginMs(0, 3_600_000), 30_000);
  assert.equal(marginMs(1_000, 101_000), 10_000);
  assert.equal(marginMs(0, 300_000), 30_000);
});

test("waits double from 50 ms to the cap, and are a random part of that", () => {
  const longest = new Backoff(() => 1);
  assert.deepEqual(
    Array.from({ length: 8 }, () => longest.next(2_000)),
    [50, 100, 200, 400, 800, 1_600, 2_000, 2_000],
  );
  longest.reset();
  assert.equal(longest.next(2_000), 50);
  assert.equal(new Backoff(() => 0).next(2_000), 0);
  const patient = new Backoff(() => 1);
  for (let attempt = 0; attempt < 5_000; attempt += 1) assert.ok(patient.next(30_000) <= 30_000);
});

test("the socket is found as the command finds it", () => {
  const system = "/run/bearerd/bearerd.sock";
  const there =
    (...paths: string[]) =>
    (path: string) =>
      paths.includes(path);
  assert.equal(findSocket("/a", { BEARERD_SOCKET: "/b" }, there()), "/a");
  assert.equal(findSocket(undefined, { BEARERD_SOCKET: "/b" }, there(system)), "/b");
  const session = { XDG_RUNTIME_DIR: "/run/user/7", HOME: "/home/u" };
  const own = "/run/user/7/bearerd/bearerd.sock";
  assert.equal(findSocket(undefined, session, there(own)), own);
  assert.equal(findSocket(undefined, session, there(own, system)), system);
  assert.equal(findSocket(undefined, session, there()), system);
  const home = "/home/u/.bearerd/bearerd/bearerd.sock";
  assert.equal(findSocket(undefined, { HOME: "/home/u" }, there(home)), home);
  assert.equal(findSocket(undefined, { HOME: "/home/u", XDG_RUNTIME_DIR: "run" }, there(home)), home);
  assert.equal(findSocket(undefined, { HOME: "u" }, there("u/.bearerd/bearerd/bearerd.sock")), system);
});

test("messages are found in whatever pieces they come", () => {
  const all = Buffer.concat([frame(Buffer.from("one")), frame(Buffer.alloc(0)), frame(Buffer.from("three"))]);
  for (let size = 1; size <= all.length; size += 1) {
    const unframer = new Unframer();
    const messages: string[] = [];
    for (let start = 0; start < all.length; start += size) {
      messages.push(
        ...unframer.push(all.subarray(start, start + size)).map((message) => Buffer.from(message).toString()),
      );
    }
    assert.deepEqual(messages, ["one", "", "three"], `in pieces of ${size}`);
  }
});

test("a message that is compressed or too long is refused", () => {
  assert.throws(() => new Unframer().push(Buffer.from([1, 0, 0, 0, 0])), /compressed/);
  const long = Buffer.alloc(5);
  long.writeUInt32BE(LONGEST + 1, 1);
  assert.throws(() => new Unframer().push(long), /4194305 bytes/);
});

test("a token goes over https, and over http on this machine", () => {
  for (const url of [
    "https://api.example",
    "http://localhost:1",
    "http://127.1:1",
    "http://127.9.9.9",
    "http://[::1]:1",
  ]) {
    checkUrl(new URL(url), false);
  }
  checkUrl(new URL("http://api.example"), true);
  for (const url of [
    "http://api.example",
    "http://localhost.example",
    "http://127.0.0.1.example",
    "http://[::2]",
    "http://10.0.0.1",
    "ftp://localhost",
    "data:,x",
  ]) {
    assert.throws(() => checkUrl(new URL(url), false), { reason: "URL_INSECURE" }, url);
  }
  assert.throws(() => checkUrl(new URL("ftp://localhost"), true), { reason: "URL_INSECURE" });
});

test("an error has what the details of the answer say", () => {
  const error = callError({ code: "UNAVAILABLE", message: "wait", details: details("ISSUER_BUSY", 1_500) }, "/s");
  assert.ok(error instanceof BearerdError);
  assert.deepEqual(
    [error.name, error.reason, error.code, error.message, error.retryAfter],
    ["BearerdError", "ISSUER_BUSY", "UNAVAILABLE", "wait", 1.5],
  );
  assert.match(inspect(error), /^BearerdError: wait\n/);
});

test("an answer without details, or with broken ones, has the code as the reason", () => {
  assert.equal(callError({ code: "UNIMPLEMENTED", message: "" }, "/s").reason, "UNIMPLEMENTED");
  assert.equal(callError({ code: "INTERNAL", message: "", details: Buffer.from("x") }, "/s").reason, "INTERNAL");
});

test("a broken connection names the socket, the system's reason and what to do", () => {
  const system = Object.assign(new Error("connect EACCES /s"), { syscall: "connect", code: "EACCES" });
  const error = callError({ code: "UNAVAILABLE", message: "", cause: new Error("cancelled", { cause: system }) }, "/s");
  assert.equal(error.message, "no daemon answers on /s (EACCES); start bearerd, or set BEARERD_SOCKET to its socket");
  assert.equal(error.cause, system);
});
