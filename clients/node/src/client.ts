/** The token of one configured client: what an application works with. */

import { abortable } from "./abort.js";
import { getToken, signProof } from "./calls.js";
import { Changes } from "./changes.js";
import type { Caller } from "./connection.js";
import { BearerdError } from "./errors.js";
import { createFetch } from "./fetch.js";
import { Rejection as RejectionCode, type GetTokenResponse } from "./generated/bearerd/v1/token_broker_pb.js";
import { callHeaders } from "./headers.js";
import type { Logger } from "./logger.js";
import { Memory } from "./memory.js";
import { unanswered } from "./status.js";
import { Token } from "./token.js";
import { Watch } from "./watch.js";

/** How to read a token. */
export interface ReadOptions {
  /**
   * How long the token must at least be valid from now, in milliseconds. Without it: the smaller of 30 s and a tenth of
   * the token's life. Longer than the issuer's tokens live: `VALIDITY_UNATTAINABLE`.
   */
  minValidityMs?: number | undefined;
  /** How long to wait for the first token, in milliseconds. Without it: what the {@link Broker} was given, or 10 s. */
  timeoutMs?: number | undefined;
  /** Ends the wait: the read fails with the signal's reason. */
  signal?: AbortSignal | null | undefined;
}

/** What became of a report that an API rejected a token: `Rejection` in `token_broker.proto`, without the prefix. */
export type Rejection = "REPLACED" | "ALREADY_REPLACED" | "TOO_YOUNG" | "RATE_LIMITED" | "SAME_TOKEN" | "UNSPECIFIED";

/** The outcome of a report. */
export interface Replacement {
  /** The token to use from now on. The one that was reported if the rejection says so. */
  readonly token: Token;
  /** What became of the report. */
  readonly rejection: Rejection;
}

/** An API call that needs a proof of its own (DPoP, RFC 9449). */
export interface ProofRequest {
  /** The HTTP method, like `"GET"`. */
  method: string;
  /** The URL, http or https. Query and fragment are left out of the proof. */
  url: string | URL;
  /** What the API gave in its `DPoP-Nonce` header last, if it did. */
  nonce?: string | undefined;
}

/** A proof and the token it goes with. */
export interface Proof {
  readonly token: Token;
  /** The value of the `DPoP` header. Good for one call, within seconds. */
  readonly proof: string;
}

/**
 * The token of one configured client, followed by one stream in the background that the first read begins. One object
 * for each name; get it from {@link Broker.client}.
 */
export class Client {
  /** Name of the client: its table key in the daemon's configuration. */
  readonly name: string;
  /**
   * The global `fetch` with this client's token: sets `Authorization` and the fixed headers, checks that the per-call
   * headers are there, and replays once after a 401. See {@link createFetch}, which has options.
   */
  readonly fetch: typeof globalThis.fetch = (input, init) => (this.#fetch ??= createFetch(this))(input, init);

  readonly #connection: Caller;
  readonly #timeoutMs: number;
  readonly #changes = new Changes();
  readonly #memory = new Memory();
  readonly #watch: Watch;
  /** Calls under way that all readers with the same wish share. */
  readonly #asked = new Map<string, Promise<Token>>();
  /** Reports under way, by the id of the token. */
  readonly #reports = new Map<string, Promise<Replacement>>();
  #fetch: typeof globalThis.fetch | undefined;
  #closed = false;
  /** @internal */
  readonly logger: Logger;

  /** @internal */
  constructor(name: string, connection: Caller, timeoutMs: number, logger: Logger) {
    this.name = name;
    this.logger = logger;
    this.#connection = connection;
    this.#timeoutMs = timeoutMs;
    this.#watch = new Watch(name, connection, this.#memory, this.#changes, logger);
  }

  /**
   * A token that is valid now. From memory and resolved already while the stream is up.
   *
   * @throws {@link BearerdError}; the promise is rejected, nothing is thrown at once.
   */
  token(options?: ReadOptions): Promise<Token> {
    const held = this.#memory.fit(options?.minValidityMs, Date.now());
    if (held?.promise !== undefined && !options?.signal?.aborted) return held.promise;
    return this.#read(options ?? {});
  }

  /**
   * The token in memory, without waiting; undefined if there is none that is fit now. The first read begins to follow
   * the token, so that one is there soon.
   *
   * @throws {@link BearerdError} `CLOSED`.
   */
  tokenNow(minValidityMs?: number): Token | undefined {
    const held = this.#memory.fit(minValidityMs, Date.now());
    if (held !== undefined) return held.token;
    if (this.#closed) throw closed(this.name);
    this.#watch.start();
    return undefined;
  }

  /**
   * Reports that an API answered 401 to a token, and gives the one to use instead. Costs no call if memory has another
   * one already; all who report the same token at a time share one call. 400 and 403 are nothing to report.
   *
   * @param rejected - The token that was used, or its id.
   * @throws {@link BearerdError}
   */
  async reject(rejected: Token | string, options: Pick<ReadOptions, "signal"> = {}): Promise<Replacement> {
    if (this.#closed) throw closed(this.name);
    options.signal?.throwIfAborted();
    const id = typeof rejected === "string" ? rejected : rejected.id;
    this.#watch.start();
    const held = this.#memory.fit(undefined, Date.now());
    if (held?.token !== undefined && held.token.id !== id) return { token: held.token, rejection: "ALREADY_REPLACED" };
    let report = this.#reports.get(id);
    if (report === undefined) {
      report = this.#report(id).finally(() => this.#reports.delete(id));
      this.#reports.set(id, report);
    }
    return this.#settled(report, options.signal);
  }

  /**
   * All headers of one API call: `Authorization`, the fixed ones of the daemon's configuration, and those given, among
   * them a fit value for each per-call header. For HTTP clients other than `fetch`.
   *
   * @param given - Headers by name, in any case of letters.
   * @param call - The call they are for; needed for a token that is bound to a key ({@link Token.proofRequired}).
   * @throws {@link BearerdError}; `HEADER_MISSING`, `HEADER_INVALID`, `PROOF_REQUIRED` beside those of {@link token}.
   */
  async headers(
    given: Readonly<Record<string, string>> = {},
    call?: ProofRequest,
    options?: ReadOptions,
  ): Promise<Record<string, string>> {
    const token = await this.token(options);
    if (!token.proofRequired) return callHeaders(token, given);
    if (call === undefined) {
      const text = `each call with a token of ${this.name} needs a proof; say for which method and url the headers are`;
      throw new BearerdError("PROOF_REQUIRED", "INVALID_ARGUMENT", text);
    }
    const signed = await this.signProof(call, options);
    return callHeaders(signed.token, given, signed.proof);
  }

  /**
   * A proof that this side holds the key that the token is bound to (DPoP, RFC 9449), for one API call. The key stays in
   * the daemon.
   *
   * @throws {@link BearerdError}; `PROOF_NOT_NEEDED` if the client's tokens are not bound to a key.
   */
  async signProof(call: ProofRequest, options: Omit<ReadOptions, "minValidityMs"> = {}): Promise<Proof> {
    if (this.#closed) throw closed(this.name);
    options.signal?.throwIfAborted();
    const { method, url, nonce = "" } = call;
    const timeoutMs = options.timeoutMs ?? this.#timeoutMs;
    const ask = { client: this.name, method, url: String(url), nonce };
    const answer = await this.#settled(signProof(this.#connection, ask, timeoutMs), options.signal);
    return { token: tokenOf(answer), proof: answer.proof };
  }

  /** @internal Ends the stream; wakes all who wait with `CLOSED`. */
  close(): void {
    this.#closed = true;
    this.#watch.stop();
    this.#memory.drop();
    this.#changes.announce();
  }

  async #read({ minValidityMs, timeoutMs = this.#timeoutMs, signal }: ReadOptions): Promise<Token> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      if (this.#closed) throw closed(this.name);
      signal?.throwIfAborted();
      const token = this.#memory.fit(minValidityMs, Date.now())?.token;
      if (token !== undefined) return token;
      const advice = this.#memory.heldBack ? "wait" : this.#watch.consult();
      if (advice instanceof BearerdError) throw advice;
      if (advice === "ask") {
        const asked = await this.#settled(this.#ask(minValidityMs, timeoutMs), signal);
        if (!this.#memory.isReported(asked.id)) return asked;
        continue;
      }
      const left = deadline - performance.now();
      if (!(await this.#changes.next(left, signal ?? undefined))) throw this.#late(timeoutMs);
    }
  }

  /** One call for all who want the same. */
  #ask(minValidityMs: number | undefined, timeoutMs: number): Promise<Token> {
    const wish = `${minValidityMs} ${timeoutMs}`;
    let call = this.#asked.get(wish);
    if (call === undefined) {
      call = getToken(this.#connection, this.name, { minValidityMs }, timeoutMs)
        .then((answer) => {
          const token = tokenOf(answer);
          if (this.#watch.stands) this.#memory.keepIfNewer(token);
          return token;
        })
        .finally(() => this.#asked.delete(wish));
      this.#asked.set(wish, call);
    }
    return call;
  }

  async #report(id: string): Promise<Replacement> {
    this.#memory.holdBack(id);
    let restore = false;
    try {
      const answer = await getToken(this.#connection, this.name, { rejectedTokenId: id }, this.#timeoutMs);
      const token = tokenOf(answer);
      this.#memory.letGo(id, false);
      if (!this.#closed) this.#memory.keepIfNewer(token);
      return { token, rejection: (RejectionCode[answer.rejection] ?? "UNSPECIFIED") as Rejection };
    } catch (error) {
      restore = error instanceof BearerdError && UNHEARD.has(error.reason);
      throw error;
    } finally {
      this.#memory.letGo(id, restore && !this.#closed);
      this.#changes.announce();
    }
  }

  /** The outcome of a call that others may share. A call that breaks because all is closed says so. */
  async #settled<T>(shared: Promise<T>, signal: AbortSignal | null | undefined): Promise<T> {
    try {
      return await abortable(shared, signal);
    } catch (error) {
      throw this.#closed ? closed(this.name) : error;
    }
  }

  #late(timeoutMs: number): BearerdError {
    if (this.#watch.unanswered) return unanswered(this.#connection.socket, timeoutMs);
    const text = `no token of ${this.name} came within ${timeoutMs} ms; see \`bearerd status ${this.name}\``;
    return new BearerdError("TOKEN_PENDING", "UNAVAILABLE", text);
  }
}

/** Reasons with which a report ends that the daemon has not dealt with: the token is what it was. */
const UNHEARD: ReadonlySet<string> = new Set(["DAEMON_UNREACHABLE", "DRAINING", "CALLER_LIMIT"]);

function tokenOf(answer: { token?: GetTokenResponse["token"] }): Token {
  if (answer.token === undefined) throw new BearerdError("INTERNAL", "INTERNAL", "the daemon's answer has no token");
  return new Token(answer.token);
}

function closed(client: string): BearerdError {
  return new BearerdError("CLOSED", "CANCELLED", `no token of ${client}: the broker was closed`);
}
