/** A daemon that says what a test wants it to say, without a socket: each call waits for the test's word. */

import { create, fromBinary, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { anyPack, durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Client } from "#src/client.js";
import type { Call, Caller, Listener } from "#src/connection.js";
import type { GrpcCode } from "#src/errors.js";
import * as pb from "#src/generated/bearerd/v1/token_broker_pb.js";
import { ErrorInfoSchema, RetryInfoSchema, StatusSchema } from "#src/generated/google/rpc/error_pb.js";

/** One call as the daemon sees it. */
export class ScriptedCall implements Call {
  cancelled = false;

  constructor(
    readonly method: string,
    readonly request: Uint8Array,
    readonly timeoutMs: number | undefined,
    readonly listener: Listener,
  ) {}

  cancel(): void {
    this.cancelled = true;
  }

  /** What a GetToken asks. */
  get asked(): pb.GetTokenRequest {
    return fromBinary(pb.GetTokenRequestSchema, this.request);
  }

  /** What a SignProof asks. */
  get toSign(): pb.SignProofRequest {
    return fromBinary(pb.SignProofRequestSchema, this.request);
  }

  /** The stream's next message: a token. */
  streams(token: pb.Token): void {
    this.#say(pb.WatchTokenResponseSchema, { state: { case: "token", value: token } });
  }

  /** The stream's next message: no token. */
  lacks(reason: string, message: string, nextAttemptAt?: number): void {
    const at = nextAttemptAt === undefined ? {} : { nextAttemptAt: timestampFromMs(nextAttemptAt) };
    const value = create(pb.UnavailableSchema, { code: 14, reason, message, ...at });
    this.#say(pb.WatchTokenResponseSchema, { state: { case: "unavailable", value } });
  }

  /** The answer to GetToken. */
  gives(token: pb.Token, rejection = pb.Rejection.UNSPECIFIED): void {
    this.#say(pb.GetTokenResponseSchema, { token, rejection });
    this.listener.end({ code: "OK", message: "" }, "/scripted.sock");
  }

  /** The answer to SignProof. */
  signs(token: pb.Token, proof: string): void {
    this.#say(pb.SignProofResponseSchema, { token, proof });
    this.listener.end({ code: "OK", message: "" }, "/scripted.sock");
  }

  /** Ends with an error of the daemon. */
  refuses(code: GrpcCode, reason: string, retryAfterMs?: number): void {
    this.listener.end(
      { code, message: `because of ${reason}`, details: details(reason, retryAfterMs) },
      "/scripted.sock",
    );
  }

  /** Breaks, as when the daemon is killed. */
  breaks(): void {
    this.listener.end({ code: "UNAVAILABLE", message: "", cause: new Error("reset") }, "/scripted.sock");
  }

  #say(
    schema: typeof pb.WatchTokenResponseSchema | typeof pb.GetTokenResponseSchema | typeof pb.SignProofResponseSchema,
    init: object,
  ): void {
    this.listener.message(toBinary(schema, create(schema, init)));
  }
}

/** Keeps the calls. */
export class ScriptedDaemon implements Caller {
  readonly socket = "/scripted.sock";
  readonly calls: ScriptedCall[] = [];
  readonly log: string[] = [];
  /** What to do with each call, if the test does not do it itself. */
  answer: ((call: ScriptedCall) => void) | undefined;

  call(method: string, request: Uint8Array, timeoutMs: number | undefined, listener: Listener): Call {
    const call = new ScriptedCall(method, request, timeoutMs, listener);
    this.calls.push(call);
    if (this.answer) queueMicrotask(() => this.answer?.(call));
    return call;
  }

  /** The newest call of a method. */
  newest(method: string): ScriptedCall {
    const call = this.of(method).at(-1);
    if (call === undefined) throw new Error(`no ${method} was called`);
    return call;
  }

  of(method: string): ScriptedCall[] {
    return this.calls.filter((call) => call.method === method);
  }

  client(timeoutMs = 10_000): Client {
    const log = (message: string) => this.log.push(message);
    return new Client("demo", this, timeoutMs, { debug: log, warn: (message) => log(`WARN ${message}`) });
  }
}

/** A token whose life began `ageMs` ago. */
export function token(
  id: string,
  init: MessageInitShape<typeof pb.TokenSchema> = {},
  lifeMs = 3_600_000,
  ageMs = 0,
): pb.Token {
  const issued = Date.now() - ageMs;
  return create(pb.TokenSchema, {
    client: "demo",
    id,
    accessToken: `secret-${id}`,
    tokenType: "Bearer",
    authorization: `Bearer secret-${id}`,
    issuedAt: timestampFromMs(issued),
    expiresAt: timestampFromMs(issued + lifeMs),
    ...(init as object),
  });
}

/** `grpc-status-details-bin` as the daemon makes it. */
export function details(reason: string, retryAfterMs?: number): Uint8Array {
  const all = [anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason, domain: "bearerd" }))];
  if (retryAfterMs !== undefined) {
    all.push(anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay: durationFromMs(retryAfterMs) })));
  }
  return toBinary(StatusSchema, create(StatusSchema, { code: 14, details: all }));
}
