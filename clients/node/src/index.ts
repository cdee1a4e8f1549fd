/**
 * Access tokens from bearerd, the token broker daemon.
 *
 * ```ts
 * const broker = new Broker();
 * const wawex = broker.client("wawex");
 * const response = await wawex.fetch("https://api.wawex.ai/accounts", { headers: { "Requestor-ID": "4711" } });
 * ```
 *
 * @packageDocumentation
 */

export { Broker, type BrokerOptions } from "./broker.js";
export type { Client, Proof, ProofRequest, ReadOptions, Rejection, Replacement } from "./client.js";
export { BearerdError, type GrpcCode } from "./errors.js";
export { createFetch, type FetchOptions } from "./fetch.js";
export type { Logger } from "./logger.js";
export type { RequestHeader, Token } from "./token.js";
