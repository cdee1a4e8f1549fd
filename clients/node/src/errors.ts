/**
 * The one error type of this library.
 *
 * `reason` is stable and meant for programs. The daemon's reasons are in `token_broker.proto` (`CLIENT_UNKNOWN`,
 * `CALLER_NOT_ALLOWED`, `ISSUER_UNREACHABLE`, …). The library's own:
 *
 * | reason | means |
 * |---|---|
 * | `DAEMON_UNREACHABLE` | no daemon answers on the socket |
 * | `TOKEN_PENDING` | the first token did not come within the timeout |
 * | `CLOSED` | the {@link Broker} was closed |
 * | `HEADER_MISSING`, `HEADER_INVALID` | a per-call header is missing, or empty, or does not match its pattern |
 * | `URL_INSECURE` | the URL is neither https nor on this machine |
 * | `PROOF_REQUIRED` | headers for a token bound to a key were asked for without method and URL |
 *
 * An answer without a reason of its own has the name of its gRPC status as the reason.
 */
export class BearerdError extends Error {
  /** Why, as a stable text for programs. */
  readonly reason: string;
  /** Name of the gRPC status code, like `"NOT_FOUND"`. */
  readonly code: GrpcCode;
  /** After how many seconds it may be better. Undefined if that is not known. */
  readonly retryAfter: number | undefined;

  /** For tests of applications; the library makes its own. */
  constructor(reason: string, code: GrpcCode, message: string, options: { retryAfter?: number; cause?: unknown } = {}) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.reason = reason;
    this.code = code;
    this.retryAfter = options.retryAfter;
  }

  static {
    // On the prototype: not one more own property in everything that prints an error.
    Object.defineProperty(this.prototype, "name", { value: "BearerdError", configurable: true, writable: true });
  }
}

/** Names of the gRPC status codes, in the order of their numbers. */
export const GRPC_CODES = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
] as const;

/** Name of a gRPC status code. */
export type GrpcCode = (typeof GRPC_CODES)[number];

/** The name of a code as it comes over the wire. A number that is not known counts as `UNKNOWN`, as gRPC wants it. */
export function codeName(code: number): GrpcCode {
  return GRPC_CODES[code] ?? "UNKNOWN";
}
