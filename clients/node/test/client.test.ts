/** Reads, reports and the stream behind them, with a scripted daemon and a clock that stands still. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { Rejection } from "#src/generated/bearerd/v1/token_broker_pb.js";
import { ScriptedDaemon, token } from "./scripted-daemon.js";

let now: number;
let daemon: ScriptedDaemon;

beforeEach(() => {
  now = 0;
  daemon = new ScriptedDaemon();
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_800_000_000_000 });
  mock.method(performance, "now", () => now);
});

afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

/** Both clocks go on. */
function pass(ms: number): void {
  now += ms;
  mock.timers.tick(ms);
}

const failed = (reason: string, code?: string) => (error: unknown) => {
  assert.ok(error instanceof Error);
  assert.equal((error as { reason?: string }).reason, reason, error.message);
  if (code !== undefined) assert.equal((error as { code?: string }).code, code);
  return true;
};

test("nothing is called before the first read", () => {
  daemon.client();
  assert.deepEqual(daemon.calls, []);
});

test("a thousand readers share one stream, and later reads make no call", async () => {
  const client = daemon.client();
  const reads = Array.from({ length: 1_000 }, () => client.token());
  assert.equal(daemon.calls.length, 1);
  daemon.newest("WatchToken").streams(token("1"));
  assert.deepEqual(new Set((await Promise.all(reads)).map(({ id }) => id)), new Set(["1"]));
  assert.equal(await client.token(), client.tokenNow());
  assert.equal(daemon.calls.length, 1);
});

test("a rotation is seen", async () => {
  const client = daemon.client();
  assert.equal(client.tokenNow(), undefined);
  daemon.newest("WatchToken").streams(token("1"));
  daemon.newest("WatchToken").streams(token("2"));
  assert.equal(client.tokenNow()?.id, "2");
  assert.equal((await client.token()).id, "2");
});

test("a token is served until its margin begins, and then the daemon is asked once", async () => {
  const client = daemon.client();
  client.tokenNow();
  daemon.newest("WatchToken").streams(token("1", {}, 100_000));
  pass(89_999);
  assert.equal(client.tokenNow()?.id, "1");
  pass(1);
  assert.equal(client.tokenNow(), undefined);
  const reads = [client.token(), client.token()];
  assert.equal(daemon.of("GetToken").length, 1);
  daemon.newest("GetToken").gives(token("2"));
  assert.deepEqual(
    (await Promise.all(reads)).map(({ id }) => id),
    ["2", "2"],
  );
  assert.equal(client.tokenNow()?.id, "2", "the answer is kept");
});

test("whoever wants more validity than memory has asks for just that", async () => {
  const client = daemon.client();
  client.tokenNow();
  daemon.newest("WatchToken").streams(token("1"));
  assert.equal((await client.token({ minValidityMs: 3_000_000 })).id, "1");
  const read = client.token({ minValidityMs: 3_600_500 });
  const call = daemon.newest("GetToken");
  assert.deepEqual(call.asked.minValidity, {
    $typeName: "google.protobuf.Duration",
    seconds: 3600n,
    nanos: 500_000_000,
  });
  call.refuses("OUT_OF_RANGE", "VALIDITY_UNATTAINABLE");
  await assert.rejects(read, failed("VALIDITY_UNATTAINABLE", "OUT_OF_RANGE"));
  assert.equal(client.tokenNow(3_600_000), undefined);
});

test("an older answer does not replace what the stream brought meanwhile", async () => {
  const client = daemon.client();
  client.tokenNow();
  daemon.newest("WatchToken").streams(token("1"));
  const read = client.token({ minValidityMs: 3_600_000 });
  daemon.newest("WatchToken").streams(token("3"));
  daemon.newest("GetToken").gives(token("2", {}, 7_200_000, 1));
  assert.equal((await read).id, "2");
  assert.equal(client.tokenNow()?.id, "3");
});

test("readers wait for a first token that is on its way", async () => {
  const client = daemon.client();
  const read = client.token();
  daemon.newest("WatchToken").lacks("TOKEN_PENDING", "on its way");
  pass(9_999);
  daemon.newest("WatchToken").streams(token("1"));
  assert.equal((await read).id, "1");
});

test("but not for longer than they want", async () => {
  const client = daemon.client();
  const reads = [client.token(), client.token({ timeoutMs: 50 })];
  daemon.newest("WatchToken").lacks("TOKEN_PENDING", "on its way");
  await setImmediate();
  const outcomes = Promise.allSettled(reads);
  pass(50);
  await assert.rejects(reads[1]!, failed("TOKEN_PENDING", "UNAVAILABLE"));
  pass(9_950);
  await outcomes;
  await assert.rejects(reads[0]!, failed("TOKEN_PENDING"));
});

test("a daemon that does not answer is named when time is up", async () => {
  const read = daemon.client().token({ timeoutMs: 50 });
  const outcome = assert.rejects(read, failed("DAEMON_UNREACHABLE", "UNAVAILABLE"));
  pass(50);
  await outcome;
});

test("any other lack is an error at once, with the time of the next try", async () => {
  const client = daemon.client();
  client.tokenNow();
  daemon.newest("WatchToken").streams(token("1"));
  daemon.newest("WatchToken").lacks("ISSUER_BUSY", "come back later", Date.now() + 4_000);
  pass(1_000);
  await assert.rejects(client.token(), (error: { message: string; retryAfter: number }) => {
    assert.equal(error.message, "come back later");
    assert.equal(error.retryAfter, 3);
    return failed("ISSUER_BUSY", "UNAVAILABLE")(error);
  });
  assert.equal(daemon.calls.length, 1);
});

test("a token outlives the stream, but not its own end", async () => {
  mock.method(Math, "random", () => 1);
  const client = daemon.client();
  client.tokenNow();
  daemon.newest("WatchToken").streams(token("1", {}, 10_000));
  daemon.newest("WatchToken").breaks();
  assert.equal((await client.token()).id, "1");
  pass(50);
  assert.equal(daemon.of("WatchToken").length, 2, "begun anew");
  daemon.newest("WatchToken").breaks();
  pass(9_000);
  daemon.newest("WatchToken").breaks();
  await assert.rejects(client.token(), failed("DAEMON_UNREACHABLE"));
});

for (const code of [
  "NOT_FOUND",
  "PERMISSION_DENIED",
  "INVALID_ARGUMENT",
  "FAILED_PRECONDITION",
  "RESOURCE_EXHAUSTED",
  "UNIMPLEMENTED",
] as const) {
  test(`a stream that ends with ${code} takes the token with it`, async () => {
    mock.method(Math, "random", () => 1);
    const client = daemon.client();
    client.tokenNow();
    daemon.newest("WatchToken").streams(token("1"));
    daemon.newest("WatchToken").refuses(code, "REASON");
    assert.equal(client.tokenNow(), undefined);
    await assert.rejects(client.token(), failed("REASON", code));
    pass(50);
    daemon.newest("WatchToken").streams(token("2"));
    assert.equal(client.tokenNow()?.id, "2");
  });
}

test("without a daemon a read fails at once, and attempts of reads are a second apart", async () => {
  mock.method(Math, "random", () => 1);
  const client = daemon.client();
  const reads = [client.token(), client.token()];
  daemon.newest("WatchToken").breaks();
  for (const read of reads) await assert.rejects(read, failed("DAEMON_UNREACHABLE", "UNAVAILABLE"));
  await assert.rejects(client.token(), failed("DAEMON_UNREACHABLE"));
  assert.equal(daemon.calls.length, 1);
  for (const wait of [50, 100, 200, 400, 800, 1_600, 2_000, 2_000]) {
    pass(wait - 1);
    const before: number = daemon.calls.length;
    pass(1);
    assert.equal(daemon.calls.length, before + 1, `after ${wait} ms`);
    daemon.newest("WatchToken").breaks();
  }
  const before = daemon.calls.length;
  pass(999);
  await assert.rejects(client.token(), failed("DAEMON_UNREACHABLE"));
  assert.equal(daemon.calls.length, before);
  pass(1);
  const found = client.token();
  assert.equal(daemon.calls.length, before + 1, "the next read finds a daemon that appeared");
  daemon.newest("WatchToken").streams(token("1"));
  assert.equal((await found).id, "1");
  pass(60_000);
  assert.equal(daemon.calls.length, before + 1, "the planned attempt was replaced by that of the read");
});

test("a stream that ends at once again and again is not begun at once again and again", () => {
  mock.method(Math, "random", () => 1);
  daemon.client().tokenNow();
  for (const wait of [50, 100, 200]) {
    daemon.newest("WatchToken").streams(token("1"));
    daemon.newest("WatchToken").refuses("UNAVAILABLE", "DRAINING");
    const before = daemon.calls.length;
    pass(wait - 1);
    assert.equal(daemon.calls.length, before);
    pass(1);
    assert.equal(daemon.calls.length, before + 1);
  }
  daemon.newest("WatchToken").streams(token("1"));
  pass(3_000);
  daemon.newest("WatchToken").breaks();
  const before = daemon.calls.length;
  pass(50);
  assert.equal(daemon.calls.length, before + 1, "one that stood counts as a success");
});

test("all who report a token share one call, and nobody gets it meanwhile", async () => {
  const client = daemon.client();
  client.tokenNow();
  daemon.newest("WatchToken").streams(token("1"));
  const used = await client.token();
  const reports = [client.reject(used), client.reject("1")];
  assert.equal(client.tokenNow(), undefined);
  daemon.newest("WatchToken").streams(token("1"));
  assert.equal(client.tokenNow(), undefined, "not even if the stream says it again");
  const read = client.token();
  assert.equal(daemon.of("GetToken").length, 1);
  assert.equal(daemon.newest("GetToken").asked.rejectedTokenId, "1");
  daemon.newest("GetToken").gives(token("2"), Rejection.REPLACED);
  for (const { token: other, rejection } of await Promise.all(reports)) {
    assert.equal(other.id, "2");
    assert.equal(rejection, "REPLACED");
  }
  assert.equal((await read).id, "2");
});

test("an answer that was on its way when its token was reported is not handed out", async () => {
  const client = daemon.client();
  client.tokenNow();
  const used = token("1");
  daemon.newest("WatchToken").streams(used);
  const read = client.token({ minValidityMs: 3_600_000 });
  const asked = daemon.newest("GetToken");
  const report = client.reject("1");
  asked.gives(used);
  await setImmediate();
  daemon.newest("GetToken").gives(token("2", {}, 7_200_000), Rejection.REPLACED);
  await report;
  assert.equal((await read).id, "2");
});

test("a report of a token that memory has no more costs nothing", async () => {
  const client = daemon.client();
  client.tokenNow();
  daemon.newest("WatchToken").streams(token("2"));
  const { token: other, rejection } = await client.reject("1");
  assert.deepEqual([other.id, rejection], ["2", "ALREADY_REPLACED"]);
  assert.deepEqual(daemon.of("GetToken"), []);
});

for (const rejection of ["TOO_YOUNG", "RATE_LIMITED", "SAME_TOKEN"] as const) {
  test(`a token that stays, ${rejection}, is served again`, async () => {
    const client = daemon.client();
    client.tokenNow();
    const same = token("1");
    daemon.newest("WatchToken").streams(same);
    const report = client.reject("1");
    daemon.newest("GetToken").gives(same, Rejection[rejection]);
    assert.equal((await report).rejection, rejection);
    assert.equal(client.tokenNow()?.id, "1");
  });
}

test("a report that the daemon did not get leaves the token as it was", async () => {
  const client = daemon.client();
  client.tokenNow();
  daemon.newest("WatchToken").streams(token("1"));
  const report = client.reject("1");
  daemon.newest("GetToken").breaks();
  await assert.rejects(report, failed("DAEMON_UNREACHABLE"));
  assert.equal(client.tokenNow()?.id, "1");
});

test("a report that the daemon got and that brought no other token ends the reported one", async () => {
  const client = daemon.client();
  client.tokenNow();
  daemon.newest("WatchToken").streams(token("1"));
  const report = client.reject("1");
  daemon.newest("GetToken").refuses("UNAVAILABLE", "ISSUER_UNREACHABLE", 1_500);
  await assert.rejects(report, (error: { retryAfter: number }) => {
    assert.equal(error.retryAfter, 1.5);
    return failed("ISSUER_UNREACHABLE", "UNAVAILABLE")(error);
  });
  assert.equal(client.tokenNow(), undefined);
});

test("a signal ends the wait of its reader and of nobody else", async () => {
  const client = daemon.client();
  const controller = new AbortController();
  const impatient = client.token({ signal: controller.signal });
  const patient = client.token();
  const reason = new Error("enough");
  controller.abort(reason);
  await assert.rejects(impatient, reason);
  await assert.rejects(client.token({ signal: controller.signal }), reason);
  daemon.newest("WatchToken").streams(token("1"));
  assert.equal((await patient).id, "1");
});

test("closing ends the stream and wakes readers; later reads fail", async () => {
  const client = daemon.client();
  const read = client.token();
  client.close();
  client.close();
  await assert.rejects(read, failed("CLOSED"));
  assert.ok(daemon.newest("WatchToken").cancelled);
  await assert.rejects(client.token(), failed("CLOSED"));
  await assert.rejects(client.reject("1"), failed("CLOSED"));
  assert.throws(() => client.tokenNow(), failed("CLOSED"));
});

test("a call under way when all is closed fails with CLOSED", async () => {
  const client = daemon.client();
  client.tokenNow();
  daemon.newest("WatchToken").streams(token("1"));
  const report = client.reject("1");
  client.close();
  daemon.newest("GetToken").breaks();
  await assert.rejects(report, failed("CLOSED"));
  await assert.rejects(client.token(), failed("CLOSED"));
});

test("the log has changes of state, one line for a failure that goes on, and no token", () => {
  mock.method(Math, "random", () => 1);
  daemon.client().tokenNow();
  daemon.newest("WatchToken").breaks();
  pass(50);
  daemon.newest("WatchToken").breaks();
  pass(100);
  daemon.newest("WatchToken").streams(token("7"));
  assert.deepEqual(daemon.log, [
    "watch of demo failed: DAEMON_UNREACHABLE: no daemon answers on /scripted.sock (reset); start bearerd, or set BEARERD_SOCKET to its socket",
    "watch of demo began on /scripted.sock",
    "token of demo changed: id 7",
  ]);
});
