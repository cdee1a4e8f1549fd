/** What a token shows and what it keeps. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { Token } from "#src/token.js";
import { token } from "./scripted-daemon.js";

const message = token("7", {
  scope: "payments",
  headers: [{ name: "X-Key", value: "hidden-key", perCall: false, pattern: "" }],
});

test("has all that the daemon said", () => {
  const it = new Token(message);
  assert.equal(it.accessToken, "secret-7");
  assert.equal(it.authorization, "Bearer secret-7");
  assert.equal(it.expiresAt.getTime() - it.issuedAt.getTime(), 3_600_000);
  assert.deepEqual(
    [it.client, it.id, it.tokenType, it.scope, it.proofRequired],
    ["demo", "7", "Bearer", "payments", false],
  );
  assert.deepEqual(it.headers, [{ name: "X-Key", value: "hidden-key", perCall: false, pattern: "" }]);
});

test("no text form has a secret", () => {
  const it = new Token(message);
  const forms = [
    String(it),
    `${it}`,
    JSON.stringify({ it }),
    inspect(it, { showHidden: true, depth: Infinity, getters: true }),
    inspect([{ it }], { depth: Infinity }),
    inspect(new Error("x", { cause: it }), { showHidden: true }),
    JSON.stringify({ ...it, headers: [] }),
    JSON.stringify(structuredClone({ ...it, headers: [] })),
  ];
  for (const form of forms) {
    assert.doesNotMatch(form, /secret-7|hidden-key/);
    assert.match(form, /7/, "it says which token it is");
  }
});

test("cannot be changed", () => {
  const it = new Token(message);
  assert.throws(() => Object.assign(it, { id: "8" }), TypeError);
  assert.throws(() => Object.assign(it.headers[0]!, { value: "" }), TypeError);
});

test("a time beyond JavaScript's is no reason to throw when it is printed", () => {
  const it = new Token(token("7", { expiresAt: { seconds: 10n ** 15n, nanos: 0 } }));
  assert.match(String(it), /expires never/);
});
