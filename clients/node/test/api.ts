/** An HTTP server on this machine that answers what a test wants and keeps what it was sent. */

import { createServer, type IncomingHttpHeaders, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";

/** A request as it arrived. */
export interface Arrived {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** An answer. */
export interface Reply {
  readonly status: number;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

/** The server. */
export class Api {
  readonly arrived: Arrived[] = [];
  readonly #server: Server;

  private constructor(reply: (request: Arrived, index: number) => Reply) {
    this.#server = createServer((incoming, outgoing) => {
      void read(incoming).then((request) => {
        const { status, headers, body } = reply(request, this.arrived.push(request) - 1);
        outgoing.writeHead(status, headers);
        outgoing.end(body);
      });
    });
  }

  /** @param reply - What to answer to the request of that index. */
  static async start(reply: (request: Arrived, index: number) => Reply): Promise<Api> {
    const api = new Api(reply);
    await new Promise<void>((resolve) => api.#server.listen(0, "127.0.0.1", resolve));
    return api;
  }

  /** The URL of a path. */
  url(path: string): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}${path}`;
  }

  [Symbol.dispose](): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

async function read(incoming: IncomingMessage): Promise<Arrived> {
  let body = "";
  for await (const piece of incoming.setEncoding("utf8")) body += piece;
  return { method: incoming.method ?? "", path: incoming.url ?? "", headers: incoming.headers, body };
}
