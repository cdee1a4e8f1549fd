/** How a call ended, and the error that the application sees. */

import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack, durationMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { BearerdError, codeName, type GrpcCode } from "./errors.js";
import type { Unavailable } from "./generated/bearerd/v1/token_broker_pb.js";
import { ErrorInfoSchema, RetryInfoSchema, StatusSchema } from "./generated/google/rpc/error_pb.js";

/** How a call ended. */
export interface Status {
  readonly code: GrpcCode;
  readonly message: string;
  /** A serialized `google.rpc.Status`, if the answer had one. */
  readonly details?: Uint8Array;
  /** What broke below gRPC, if the daemon did not say the status itself. */
  readonly cause?: unknown;
}

/** The error for a call to the daemon on `socket` that ended without what was asked for. */
export function callError(status: Status, socket: string): BearerdError {
  if ("cause" in status) return unreachable(socket, status.cause);
  const { reason, retryAfter } = readDetails(status.details);
  // A stream that ends with OK has still ended.
  const code = status.code === "OK" ? "UNAVAILABLE" : status.code;
  return new BearerdError(
    reason ?? code,
    code,
    status.message || `the call ended with ${status.code}`,
    retry(retryAfter),
  );
}

/** The error for a daemon that cannot be reached. */
export function unreachable(socket: string, error: unknown): BearerdError {
  const cause = root(error);
  const text = `no daemon answers on ${socket} (${why(cause)}); start bearerd, or set BEARERD_SOCKET to its socket`;
  return new BearerdError("DAEMON_UNREACHABLE", "UNAVAILABLE", text, { cause });
}

/** The error for a daemon that is there and does not answer: stopped, or in a debugger. */
export function unanswered(socket: string, timeoutMs: number): BearerdError {
  return unreachable(socket, new Error(`no answer within ${timeoutMs} ms`));
}

/** The error for a client that has no usable token, as the stream says. */
export function unavailableError(state: Unavailable, now: number): BearerdError {
  const next = state.nextAttemptAt;
  const seconds = next && Math.max(0, (timestampMs(next) - now) / 1000);
  return new BearerdError(state.reason, codeName(state.code), state.message, retry(seconds));
}

function readDetails(bytes: Uint8Array | undefined): { reason?: string; retryAfter?: number } {
  const read: { reason?: string; retryAfter?: number } = {};
  if (bytes === undefined) return read;
  try {
    for (const detail of fromBinary(StatusSchema, bytes).details) {
      const info = anyUnpack(detail, ErrorInfoSchema);
      if (info?.domain === "bearerd") read.reason = info.reason;
      const delay = anyUnpack(detail, RetryInfoSchema)?.retryDelay;
      if (delay) read.retryAfter = durationMs(delay) / 1000;
    }
  } catch {
    // Details that cannot be read: code and text have to do.
  }
  return read;
}

/** The system's error: HTTP/2 wraps it. */
function root(error: unknown): unknown {
  return error instanceof Error && error.cause instanceof Error ? root(error.cause) : error;
}

/** In few words: the text of a failed connect has the path, which is said already. */
function why(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const { syscall, code } = cause as NodeJS.ErrnoException;
  return syscall === "connect" && code !== undefined ? code : cause.message;
}

function retry(seconds: number | undefined): { retryAfter?: number } {
  return seconds === undefined ? {} : { retryAfter: seconds };
}
