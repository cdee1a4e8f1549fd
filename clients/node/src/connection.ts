/**
 * gRPC over Node's own HTTP/2, on a Unix socket: unary and server-streaming calls, which is all that the daemon's API
 * has.
 *
 * Nothing here keeps the process alive: the session is unreferenced from its first moment, and whoever waits for an
 * answer holds a timer. That is what the stock library cannot do: with it an open stream keeps the process.
 */

import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream } from "node:http2";
import { connect as connectSocket } from "node:net";
import { codeName } from "./errors.js";
import { frame, Unframer } from "./framing.js";
import type { Status } from "./status.js";

/** A call under way. */
export interface Call {
  /** Ends it. Its end is not reported any more. */
  cancel(): void;
}

/** Gets what comes of a call. */
export interface Listener {
  /** Another message came. */
  message(bytes: Uint8Array): void;
  /** The call ended: the last thing that is said. `socket` is the one it went to. */
  end(status: Status, socket: string): void;
}

/** What the rest of the library wants of a connection. */
export interface Caller {
  /** The socket of the newest attempt to connect. */
  readonly socket: string;

  /**
   * Begins a call. The listener is told nothing before this returns.
   *
   * @param method - Like `"GetToken"`.
   * @param timeoutMs - What the daemon is told about the time the caller has; undefined for no limit.
   */
  call(method: string, request: Uint8Array, timeoutMs: number | undefined, listener: Listener): Call;
}

/** One HTTP/2 connection, made when it is needed and again when it was lost. */
export class Connection implements Caller {
  readonly #locate: () => string;
  #session: ClientHttp2Session | undefined;
  #socket = "";

  /** @param locate - Where the socket is; asked at each attempt to connect. */
  constructor(locate: () => string) {
    this.#locate = locate;
  }

  get socket(): string {
    return this.#socket;
  }

  call(method: string, request: Uint8Array, timeoutMs: number | undefined, listener: Listener): Call {
    let cancelled = false;
    let stream: ClientHttp2Stream | undefined;
    const end = (status: Status, socket: string) => {
      if (!cancelled) listener.end(status, socket);
    };
    try {
      stream = this.#request(method, timeoutMs);
      const socket = this.#socket;
      listen(stream, {
        message: (bytes) => {
          if (!cancelled) listener.message(bytes);
        },
        end: (status) => end(status, socket),
      });
      stream.end(frame(request));
    } catch (cause) {
      // A session that is about to close, or a path that no socket can have.
      this.#session = undefined;
      queueMicrotask(() => end({ code: "UNAVAILABLE", message: "", cause }, this.#socket));
    }
    return {
      cancel: () => {
        cancelled = true;
        stream?.close(constants.NGHTTP2_CANCEL);
      },
    };
  }

  /** Ends the connection and with it all calls. A call begun later makes a new one. */
  close(): void {
    this.#session?.destroy();
    this.#session = undefined;
  }

  #request(method: string, timeoutMs: number | undefined): ClientHttp2Stream {
    return this.#usable().request({
      [constants.HTTP2_HEADER_METHOD]: "POST",
      [constants.HTTP2_HEADER_PATH]: `/bearerd.v1.TokenBroker/${method}`,
      [constants.HTTP2_HEADER_TE]: "trailers",
      [constants.HTTP2_HEADER_CONTENT_TYPE]: "application/grpc",
      [constants.HTTP2_HEADER_USER_AGENT]: "bearerd-client-node",
      ...(timeoutMs === undefined ? {} : { "grpc-timeout": `${Math.ceil(Math.min(timeoutMs, 99_999_999))}m` }),
    });
  }

  #usable(): ClientHttp2Session {
    const current = this.#session;
    if (current && !current.closed && !current.destroyed) return current;
    const path = this.#locate();
    this.#socket = path;
    // Node would cut it and connect to another socket.
    if (Buffer.byteLength(path) > LONGEST_PATH) throw new Error(`a socket's path has at most ${LONGEST_PATH} bytes`);
    const session = connect("http://localhost", { createConnection: () => connectSocket({ path }) });
    session.unref();
    // Each call hears of it on its own stream; without a listener an error would end the process.
    for (const event of ["error", "goaway", "close"]) session.on(event, () => this.#forget(session));
    this.#session = session;
    return session;
  }

  /** Later calls get a new connection; calls under way go on if they can. */
  #forget(session: ClientHttp2Session): void {
    if (this.#session === session) this.#session = undefined;
  }
}

function listen(
  stream: ClientHttp2Stream,
  listener: { message(bytes: Uint8Array): void; end(status: Status): void },
): void {
  const unframer = new Unframer();
  let status: Status | undefined;
  stream.on("response", (headers) => {
    // "Trailers-Only": an error without a message comes in the first headers.
    status = readStatus(headers) ?? refusal(headers);
    if (status && "cause" in status) stream.close(constants.NGHTTP2_CANCEL);
  });
  stream.on("data", (piece: Uint8Array) => {
    if (status !== undefined) return;
    try {
      for (const message of unframer.push(piece)) listener.message(message);
    } catch (error) {
      status = { code: "INTERNAL", message: (error as Error).message };
      stream.close(constants.NGHTTP2_CANCEL);
    }
  });
  stream.on("trailers", (trailers) => {
    status ??= readStatus(trailers);
  });
  let broken: unknown;
  stream.on("error", (error) => {
    broken = error;
  });
  stream.on("close", () => {
    const cause = broken ?? new Error("the connection was lost");
    listener.end(status ?? { code: "UNAVAILABLE", message: "", cause });
  });
}

/** The status in headers or trailers, if they have one. */
function readStatus(headers: Record<string, string | string[] | number | undefined>): Status | undefined {
  const code = headers["grpc-status"];
  if (code === undefined) return undefined;
  const details = headers["grpc-status-details-bin"];
  return {
    code: codeName(Number(code)),
    message: percentDecoded(String(headers["grpc-message"] ?? "")),
    ...(typeof details === "string" ? { details: Buffer.from(details, "base64") } : {}),
  };
}

/** Why an answer is none of gRPC. */
function refusal(headers: Record<string, string | string[] | number | undefined>): Status | undefined {
  const type = String(headers["content-type"] ?? "");
  const http = headers[":status"];
  if (http === 200 && type.startsWith("application/grpc")) return undefined;
  const cause = new Error(`an answer that is not gRPC: HTTP status ${http}, content type "${type}"`);
  return { code: "UNAVAILABLE", message: "", cause };
}

/** Undoes the percent-encoding of `grpc-message`; a text that is not encoded well is taken as it is. */
function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Longest path of a Unix socket in bytes: `sun_path` without the NUL at its end. */
const LONGEST_PATH = 107;
