/** The daemon's API served by stock gRPC, so that our own gRPC has somebody else to agree with. */

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from "@grpc/grpc-js";
import * as pb from "#src/generated/bearerd/v1/token_broker_pb.js";
import { token } from "./scripted-daemon.js";

/** What answers GetToken. */
export type Get = (
  call: ServerUnaryCall<pb.GetTokenRequest, pb.GetTokenResponse>,
  answer: sendUnaryData<pb.GetTokenResponse>,
) => void;

/** What answers WatchToken. */
export type Watch = (call: ServerWritableStream<pb.WatchTokenRequest, pb.WatchTokenResponse>) => void;

/** Serves on a Unix socket. */
export async function serveBroker(socket: string, watch: Watch, get: Get = () => {}): Promise<Server> {
  const server = new Server();
  server.addService(service, { WatchToken: watch, GetToken: get });
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    );
  });
  return server;
}

/** A message of a stream. */
export function streamed(id: string): pb.WatchTokenResponse {
  return create(pb.WatchTokenResponseSchema, { state: { case: "token", value: token(id) } });
}

const service = {
  GetToken: {
    path: "/bearerd.v1.TokenBroker/GetToken",
    requestStream: false,
    responseStream: false,
    requestSerialize: Buffer.from,
    requestDeserialize: (bytes: Buffer) => fromBinary(pb.GetTokenRequestSchema, bytes),
    responseSerialize: (message: pb.GetTokenResponse) => Buffer.from(toBinary(pb.GetTokenResponseSchema, message)),
    responseDeserialize: Buffer.from,
  },
  WatchToken: {
    path: "/bearerd.v1.TokenBroker/WatchToken",
    requestStream: false,
    responseStream: true,
    requestSerialize: Buffer.from,
    requestDeserialize: (bytes: Buffer) => fromBinary(pb.WatchTokenRequestSchema, bytes),
    responseSerialize: (message: pb.WatchTokenResponse) => Buffer.from(toBinary(pb.WatchTokenResponseSchema, message)),
    responseDeserialize: Buffer.from,
  },
} as const;
