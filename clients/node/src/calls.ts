/** The daemon's calls, typed: what goes over a {@link Caller} and comes back. */

import { create, fromBinary, toBinary, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { Call, Caller } from "./connection.js";
import type { BearerdError } from "./errors.js";
import * as pb from "./generated/bearerd/v1/token_broker_pb.js";
import { callError, unanswered } from "./status.js";

/** Asks for a token once. */
export function getToken(
  connection: Caller,
  client: string,
  ask: { minValidityMs?: number | undefined; rejectedTokenId?: string },
  timeoutMs: number,
): Promise<pb.GetTokenResponse> {
  const { minValidityMs, rejectedTokenId = "" } = ask;
  const minValidity = minValidityMs === undefined ? {} : { minValidity: durationFromMs(Math.ceil(minValidityMs)) };
  const request = toBinary(
    pb.GetTokenRequestSchema,
    create(pb.GetTokenRequestSchema, { client, rejectedTokenId, ...minValidity }),
  );
  return unary(connection, "GetToken", request, pb.GetTokenResponseSchema, timeoutMs);
}

/** Asks for the proof for one API call. */
export function signProof(
  connection: Caller,
  ask: { client: string; method: string; url: string; nonce: string },
  timeoutMs: number,
): Promise<pb.SignProofResponse> {
  const request = toBinary(pb.SignProofRequestSchema, create(pb.SignProofRequestSchema, ask));
  return unary(connection, "SignProof", request, pb.SignProofResponseSchema, timeoutMs);
}

/** Follows the token of a client. */
export function watchToken(
  connection: Caller,
  client: string,
  listener: { state(state: pb.WatchTokenResponse["state"]): void; end(error: BearerdError): void },
): Call {
  const request = toBinary(pb.WatchTokenRequestSchema, create(pb.WatchTokenRequestSchema, { client }));
  return connection.call("WatchToken", request, undefined, {
    message: (bytes) => listener.state(fromBinary(pb.WatchTokenResponseSchema, bytes).state),
    end: (status, socket) => listener.end(callError(status, socket)),
  });
}

function unary<Response extends DescMessage>(
  connection: Caller,
  method: string,
  request: Uint8Array,
  schema: Response,
  timeoutMs: number,
): Promise<MessageShape<Response>> {
  return new Promise((resolve, reject) => {
    let answer: MessageShape<Response> | undefined;
    // The daemon is the one to say that time is up, and why; this is for one that does not answer at all.
    const timer = setTimeout(() => {
      call.cancel();
      reject(unanswered(connection.socket, timeoutMs));
    }, timeoutMs + GRACE_MS);
    const call = connection.call(method, request, timeoutMs, {
      message: (bytes) => {
        answer = fromBinary(schema, bytes);
      },
      end: (status, socket) => {
        clearTimeout(timer);
        if (status.code === "OK" && answer !== undefined) resolve(answer);
        else reject(callError(status, socket));
      },
    });
  });
}

/** How much longer than the caller wanted to wait the daemon is waited for, in milliseconds. */
const GRACE_MS = 1_000;
