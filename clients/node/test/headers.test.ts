/** The headers of one API call. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { callHeaders } from "#src/headers.js";
import { Token } from "#src/token.js";
import { token } from "./scripted-daemon.js";

const perCall = (pattern: string) => [
  { name: "Requestor-ID", value: "", perCall: true, pattern },
  { name: "X-Partner", value: "acme", perCall: false, pattern: "" },
];
const bearer = (pattern: string) => new Token(token("7", { headers: perCall(pattern) }));

test("all of them, by the names of the configuration, ours in the place of given ones", () => {
  const given = { "requestor-id": "4711", "x-partner": "evil", authorization: "Basic x", Accept: "text/plain" };
  assert.deepEqual(callHeaders(bearer("[0-9]{1,20}"), given), {
    "Requestor-ID": "4711",
    "X-Partner": "acme",
    Authorization: "Bearer secret-7",
    Accept: "text/plain",
  });
});

test("a missing one is named", () => {
  assert.throws(() => callHeaders(bearer(""), { "X-Requestor-ID": "1" }), {
    reason: "HEADER_MISSING",
    message: "the header Requestor-ID is missing; each call with a token of demo must have it",
  });
});

for (const [pattern, value, why] of [
  ["", "", "is empty"],
  [".*", " ", "is empty"],
  ["", "1\nX-Evil: 1", "has control characters"],
  ["", "1\u0085", "has control characters"],
  ["[0-9]{1,20}", "47x", "does not match [0-9]{1,20}"],
  ["1|2", "12", "does not match 1|2"],
  ["[0-9]+", "1\n", "has control characters"],
  ["(?i)a", "a", "cannot be checked: JavaScript cannot compile (?i)a"],
  ["a)|(?:b", "b", "cannot be checked: JavaScript cannot compile a)|(?:b"],
] as const) {
  test(`${JSON.stringify(value)} for the pattern ${JSON.stringify(pattern)} ${why}`, () => {
    assert.throws(() => callHeaders(bearer(pattern), { "Requestor-ID": value }), {
      reason: "HEADER_INVALID",
      message: `the header Requestor-ID for a token of demo ${why}`,
    });
  });
}

for (const [pattern, value] of [
  ["1|2", "2"],
  ["[a-z]+\\-[a-z\\-]+\\_", "a-b-c_"],
  ["\\\\\\d", "\\5"],
  ["", "ü"],
] as const) {
  test(`${JSON.stringify(value)} is fit for the pattern ${JSON.stringify(pattern)}`, () => {
    assert.equal(callHeaders(bearer(pattern), { "Requestor-ID": value })["Requestor-ID"], value);
  });
}

test("control characters are refused in headers that nobody declared, too", () => {
  assert.throws(() => callHeaders(new Token(token("7")), { "X-Other": "1\r\n" }), { reason: "HEADER_INVALID" });
});
