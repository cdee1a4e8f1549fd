/** The connection to the daemon. */

import { Client } from "./client.js";
import { Connection } from "./connection.js";
import { defaultLogger, type Logger } from "./logger.js";
import { findSocket } from "./socket.js";

/** How to reach the daemon. */
export interface BrokerOptions {
  /**
   * Path of the daemon's socket. Without it `$BEARERD_SOCKET`, else `/run/bearerd/bearerd.sock` if it is there, else the
   * user's own socket, as the `bearerd` command finds it. Looked for anew at each attempt to connect.
   */
  socket?: string | undefined;
  /** How long reads wait for the first token if they do not say, in milliseconds. Default: 10 s. */
  timeoutMs?: number | undefined;
  /** Gets messages about changes of state, never a token. Default: standard error with `NODE_DEBUG=bearerd`. */
  logger?: Logger | undefined;
}

/**
 * The connection to a bearerd daemon, made at the first read. One for a process is enough.
 *
 * It does not keep the process alive; only a read that waits does.
 */
export class Broker {
  readonly #connection: Connection;
  readonly #timeoutMs: number;
  readonly #logger: Logger;
  readonly #clients = new Map<string, Client>();
  #closed = false;

  /** Connects to nothing yet. */
  constructor(options: BrokerOptions = {}) {
    this.#connection = new Connection(() => findSocket(options.socket));
    this.#timeoutMs = options.timeoutMs ?? 10_000;
    this.#logger = options.logger ?? defaultLogger;
  }

  /** The client of that name: the same object for the same name. Whether the daemon knows it, a read tells. */
  client(name: string): Client {
    let client = this.#clients.get(name);
    if (client === undefined) {
      client = new Client(name, this.#connection, this.#timeoutMs, this.#logger);
      if (this.#closed) client.close();
      this.#clients.set(name, client);
    }
    return client;
  }

  /** Ends the connection. Reads that wait and later ones fail with `CLOSED`. Again: nothing happens. */
  close(): void {
    this.#closed = true;
    for (const client of this.#clients.values()) client.close();
    this.#connection.close();
  }

  /** {@link close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}
