/** The headers of one API call: what the daemon's configuration demands, checked before anything is sent. */

import { BearerdError } from "./errors.js";
import type { RequestHeader, Token } from "./token.js";

/**
 * Checks that every per-call header that the token declares has a fit value.
 *
 * @param lookup - The value of a header by its name, in any case of letters; null or undefined if there is none.
 * @throws {@link BearerdError} `HEADER_MISSING` or `HEADER_INVALID`; the message has the header, client and pattern.
 */
export function checkPerCallHeaders(token: Token, lookup: (name: string) => string | null | undefined): void {
  for (const header of token.headers) {
    if (header.perCall) checkPerCallHeader(header, lookup(header.name), token.client);
  }
}

/**
 * All headers of one API call: the given ones, those that the configuration fixes, `Authorization`, and `DPoP` if there
 * is a proof; ours replace given ones of the same name.
 *
 * @throws {@link BearerdError} as {@link checkPerCallHeaders}, and `HEADER_INVALID` for any value with control
 * characters.
 */
export function callHeaders(
  token: Token,
  given: Readonly<Record<string, string>>,
  proof?: string,
): Record<string, string> {
  const byName = new Map<string, [name: string, value: string]>();
  for (const [name, value] of Object.entries(given)) {
    if (CONTROL.test(value)) throw invalid(name, token.client, "has control characters");
    byName.set(name.toLowerCase(), [name, value]);
  }
  checkPerCallHeaders(token, (name) => byName.get(name.toLowerCase())?.[1]);
  for (const { name, value, perCall } of token.headers) {
    const key = name.toLowerCase();
    byName.set(key, [name, perCall ? (byName.get(key)?.[1] ?? "") : value]);
  }
  byName.set("authorization", ["Authorization", token.authorization]);
  if (proof !== undefined) byName.set("dpop", ["DPoP", proof]);
  return Object.fromEntries(byName.values());
}

function checkPerCallHeader(header: RequestHeader, value: string | null | undefined, client: string): void {
  const { name, pattern } = header;
  if (value === null || value === undefined) {
    const text = `the header ${name} is missing; each call with a token of ${client} must have it`;
    throw new BearerdError("HEADER_MISSING", "INVALID_ARGUMENT", text);
  }
  if (value.trim() === "") throw invalid(name, client, "is empty");
  if (CONTROL.test(value)) throw invalid(name, client, "has control characters");
  if (pattern === "") return;
  const whole = compiled(pattern);
  if (whole === undefined) throw invalid(name, client, `cannot be checked: JavaScript cannot compile ${pattern}`);
  if (!whole.test(value)) throw invalid(name, client, `does not match ${pattern}`);
}

function invalid(name: string, client: string, what: string): BearerdError {
  return new BearerdError("HEADER_INVALID", "INVALID_ARGUMENT", `the header ${name} for a token of ${client} ${what}`);
}

/** The pattern for the value as a whole; undefined if it is not one in this language. */
function compiled(pattern: string): RegExp | undefined {
  if (!patterns.has(pattern)) {
    let whole: RegExp | undefined;
    try {
      // Alone first: "a)|(?:b" would only be a pattern between our own parentheses.
      const own = new RegExp(pattern.replace(/\\([^A-Za-z0-9])/gu, escaped), "u").source;
      whole = new RegExp(`^(?:${own})$`, "u");
    } catch {
      whole = undefined;
    }
    patterns.set(pattern, whole);
  }
  return patterns.get(pattern);
}

/** The daemon's syntax lets every punctuation be escaped, JavaScript's strict one only some. */
function escaped(_: string, character: string): string {
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}

/** As many as the daemon's configuration has. */
const patterns = new Map<string, RegExp | undefined>();

const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;
