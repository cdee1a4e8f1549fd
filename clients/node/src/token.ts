/** The access token as an immutable value whose text forms keep the secret. */

import { inspect } from "node:util";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import type * as pb from "./generated/bearerd/v1/token_broker_pb.js";

/** A header that the API wants on each call beside `Authorization`, as the daemon's configuration declares it. */
export interface RequestHeader {
  /** Header name as configured. */
  readonly name: string;
  /** The fixed value; empty if {@link perCall} is set. */
  readonly value: string;
  /** Whether the application supplies the value, anew for each call. */
  readonly perCall: boolean;
  /** Regular expression that a per-call value must match as a whole; empty: any. */
  readonly pattern: string;
}

/**
 * An access token and all that is needed to use it. Immutable.
 *
 * `String(token)`, `JSON.stringify(token)` and `console.log(token)` show neither {@link accessToken} nor
 * {@link authorization}.
 */
export class Token {
  /** Name of the client it belongs to. */
  readonly client: string;
  /** Normally `"Bearer"` (RFC 6750), or `"DPoP"` (RFC 9449). */
  readonly tokenType: string;
  /** Tells two tokens apart. Opaque, safe to log. */
  readonly id: string;
  /** When the request that brought the token was sent, wall clock. */
  readonly issuedAt: Date;
  /** When it stops being valid, wall clock. */
  readonly expiresAt: Date;
  /** The granted scope, space separated (RFC 6749 section 3.3). Empty when the issuer did not say. */
  readonly scope: string;
  /** What else each API call must carry. */
  readonly headers: readonly RequestHeader[];
  /** Whether each API call needs a proof of its own as well (RFC 9449); see {@link Client.signProof}. */
  readonly proofRequired: boolean;
  readonly #accessToken: string;
  readonly #authorization: string;

  /** @internal */
  constructor(message: pb.Token) {
    this.client = message.client;
    this.tokenType = message.tokenType;
    this.id = message.id;
    this.issuedAt = message.issuedAt ? timestampDate(message.issuedAt) : new Date(0);
    this.expiresAt = message.expiresAt ? timestampDate(message.expiresAt) : new Date(0);
    this.scope = message.scope;
    this.headers = Object.freeze(
      message.headers.map(({ name, value, perCall, pattern }) => Object.freeze({ name, value, perCall, pattern })),
    );
    this.proofRequired = message.proofRequired;
    this.#accessToken = message.accessToken;
    this.#authorization = message.authorization;
    Object.freeze(this);
  }

  /** The access token. Secret. */
  get accessToken(): string {
    return this.#accessToken;
  }

  /** The complete value of the `Authorization` header. Secret. */
  get authorization(): string {
    return this.#authorization;
  }

  /** Which token this is, without the secret. */
  toString(): string {
    return `Token(${this.client}, ${this.id}, expires ${toISO(this.expiresAt)})`;
  }

  /** All that is not secret; of the headers their names, because a fixed value may be a key. */
  toJSON(): Record<string, unknown> {
    return {
      client: this.client,
      id: this.id,
      tokenType: this.tokenType,
      issuedAt: toISO(this.issuedAt),
      expiresAt: toISO(this.expiresAt),
      scope: this.scope,
      headers: this.headers.map((header) => header.name),
      proofRequired: this.proofRequired,
    };
  }

  /** @internal What `console.log` and `util.inspect` show. */
  [inspect.custom](): string {
    return this.toString();
  }
}

function toISO(date: Date): string {
  // A date out of JavaScript's range must not make a log line throw.
  return Number.isNaN(date.getTime()) ? "never" : date.toISOString();
}
