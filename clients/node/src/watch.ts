/** The stream that follows one client's token: begun by the first read, begun anew when it was lost, until the end. */

import { Backoff } from "./backoff.js";
import { watchToken } from "./calls.js";
import type { Changes } from "./changes.js";
import type { Call, Caller } from "./connection.js";
import type { BearerdError, GrpcCode } from "./errors.js";
import type { Unavailable, WatchTokenResponse } from "./generated/bearerd/v1/token_broker_pb.js";
import type { Logger } from "./logger.js";
import type { Memory } from "./memory.js";
import { unavailableError } from "./status.js";
import { Token } from "./token.js";

/** What a read does that finds no fit token in memory. */
export type Advice =
  /** Wait for the next change. */
  | "wait"
  /** Ask the daemon, which is there. */
  | "ask"
  /** Fail with this. */
  | BearerdError;

type Phase =
  | { readonly name: "idle" | "attempt" | "stopped" }
  | { readonly name: "standing"; readonly unavailable: Unavailable | undefined }
  | { readonly name: "lost"; readonly error: BearerdError; readonly timer: NodeJS.Timeout };

/** Keeps the stream of one client and writes what it says into the memory. */
export class Watch {
  readonly #client: string;
  readonly #connection: Caller;
  readonly #memory: Memory;
  readonly #changes: Changes;
  readonly #logger: Logger;
  readonly #backoff = new Backoff();
  #phase: Phase = { name: "idle" };
  #call: Call | undefined;
  /** When the last attempt had its outcome: the first message or an error. Monotonic, in milliseconds. */
  #outcomeAt = -Infinity;
  /** The failure that the log has: one that goes on is said once. */
  #logged = "";

  constructor(client: string, connection: Caller, memory: Memory, changes: Changes, logger: Logger) {
    this.#client = client;
    this.#connection = connection;
    this.#memory = memory;
    this.#changes = changes;
    this.#logger = logger;
  }

  /** Begins the stream if that was not done yet. */
  start(): void {
    if (this.#phase.name === "idle") this.#begin();
  }

  /** Ends the stream for good. */
  stop(): void {
    if (this.#phase.name === "lost") clearTimeout(this.#phase.timer);
    this.#call?.cancel();
    this.#phase = { name: "stopped" };
  }

  /** What a read does that finds no fit token in memory. May begin an attempt: all who wait get its outcome. */
  consult(): Advice {
    const phase = this.#phase;
    if (phase.name === "standing") {
      const { unavailable } = phase;
      if (unavailable === undefined) return "ask";
      return unavailable.reason === "TOKEN_PENDING" ? "wait" : unavailableError(unavailable, Date.now());
    }
    if (phase.name === "lost") {
      if (performance.now() - this.#outcomeAt < ATTEMPT_INTERVAL_MS) return phase.error;
      clearTimeout(phase.timer);
      this.#begin();
    }
    this.start();
    return "wait";
  }

  /** Whether the daemon says that there is a usable token. */
  get stands(): boolean {
    return this.#phase.name === "standing" && this.#phase.unavailable === undefined;
  }

  /** Whether an attempt is under way that has no answer yet. */
  get unanswered(): boolean {
    return this.#phase.name === "attempt";
  }

  #begin(): void {
    this.#phase = { name: "attempt" };
    this.#call = watchToken(this.#connection, this.#client, {
      state: (state) => this.#told(state),
      end: (error) => this.#lost(error),
    });
  }

  #told(state: WatchTokenResponse["state"]): void {
    if (this.#phase.name !== "standing") {
      this.#outcomeAt = performance.now();
      this.#logger.debug(`watch of ${this.#client} began on ${this.#connection.socket}`);
    }
    let unavailable: Unavailable | undefined;
    if (state.case === "token") {
      const token = new Token(state.value);
      if (token.id !== this.#memory.held.token?.id) {
        this.#logger.debug(`token of ${this.#client} changed: id ${token.id}`);
      }
      this.#memory.keep(token);
    } else if (state.case === "unavailable") {
      unavailable = state.value;
      this.#memory.drop();
      this.#logger.debug(`no token of ${this.#client}: ${unavailable.reason}: ${unavailable.message}`);
    }
    this.#phase = { name: "standing", unavailable };
    this.#changes.announce();
  }

  #lost(error: BearerdError): void {
    const now = performance.now();
    const stood = this.#phase.name === "standing";
    if (!stood) this.#outcomeAt = now;
    // One that ends at once again and again is no success.
    else if (now - this.#outcomeAt > RECONNECT_CAP_MS) this.#backoff.reset();
    const refused = REFUSALS.has(error.code);
    if (refused) this.#memory.drop();
    const wait = this.#backoff.next(refused ? REFUSED_CAP_MS : RECONNECT_CAP_MS);
    if (stood || error.message !== this.#logged) {
      this.#logged = error.message;
      this.#logger.debug(`watch of ${this.#client} ${stood ? "lost" : "failed"}: ${error.reason}: ${error.message}`);
    }
    const timer = setTimeout(() => this.#begin(), wait).unref();
    this.#phase = { name: "lost", error, timer };
    this.#changes.announce();
  }
}

/** No more attempts than one in so many milliseconds are begun by reads. */
const ATTEMPT_INTERVAL_MS = 1_000;

/** Longest wait before the next attempt, in milliseconds. */
const RECONNECT_CAP_MS = 2_000;

/** Longest wait when the daemon refuses, in milliseconds. */
const REFUSED_CAP_MS = 30_000;

/** The daemon's answers after which the token in memory must not be used any more. */
const REFUSALS: ReadonlySet<GrpcCode> = new Set<GrpcCode>([
  "NOT_FOUND",
  "PERMISSION_DENIED",
  "INVALID_ARGUMENT",
  "FAILED_PRECONDITION",
  "RESOURCE_EXHAUSTED",
  "UNIMPLEMENTED",
]);
