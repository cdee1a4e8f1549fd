/** The library behind the line protocol of the conformance suite: one JSON object a line in, one out, in order. */

import { createInterface } from "node:readline";
import { inspect } from "node:util";
import { BearerdError, Broker, createFetch, type Client, type Token } from "@bearerd/client";

interface Command {
  do: string;
  client: string;
  socket: string | null;
  allow_http: boolean;
  min_validity_s: number | null;
  timeout_s: number | null;
  readers: number;
  times: number;
  id: string;
  set: Record<string, string>;
  method: string;
  url: string;
  headers: Record<string, string> | null;
  body: string | null;
  stream_body: boolean;
  follow: boolean;
  count: number;
  reads: number;
}

type Answer = Record<string, unknown>;

let broker = new Broker();
let allowHttp = false;
let fetches = new Map<string, typeof fetch>();

const commands: Record<string, (command: Command) => Answer | Promise<Answer>> = {
  open({ socket, allow_http }) {
    broker.close();
    broker = new Broker({ socket: socket ?? undefined });
    allowHttp = allow_http;
    fetches = new Map();
    return {};
  },

  async token(command) {
    return { token: described(await read(command)) };
  },

  async read({ client: name, readers, times }) {
    const client = broker.client(name);
    const ids = new Set<string>();
    const failures: Record<string, number> = {};
    const reader = async () => {
      for (let time = 0; time < times; time += 1) {
        try {
          ids.add((await client.token()).id);
        } catch (error) {
          count(failures, reasonOf(error));
        }
      }
    };
    await Promise.all(Array.from({ length: readers }, reader));
    return { reads: readers * times, ids: [...ids], failures };
  },

  async report({ client, id }) {
    const { token, rejection } = await broker.client(client).reject(id);
    return { rejection, token: described(token) };
  },

  async headers({ client, set }) {
    return { headers: await broker.client(client).headers(set) };
  },

  async request({ client, method, url, headers, body, stream_body, follow }) {
    const streamed = stream_body ? { body: new Blob([body ?? ""]).stream(), duplex: "half" as const } : { body };
    const response = await fetchOf(broker.client(client))(url, {
      method,
      headers: headers ?? {},
      ...streamed,
      redirect: follow ? "follow" : "manual",
    });
    const text = await response.text();
    return { status: response.status, body: text, headers: Object.fromEntries(response.headers) };
  },

  async burst({ client: name, method, url, headers, count: number }) {
    const statuses: Record<string, number> = {};
    const failures: Record<string, number> = {};
    const call = async () => {
      try {
        const response = await fetchOf(broker.client(name))(url, { method, headers: headers ?? {} });
        await response.arrayBuffer();
        count(statuses, String(response.status));
      } catch (error) {
        count(failures, reasonOf(error));
      }
    };
    await Promise.all(Array.from({ length: number }, call));
    return { statuses, failures };
  },

  async describe(command) {
    const token = await read(command);
    const forms = [
      String(token),
      JSON.stringify(token),
      inspect(token, { showHidden: true, depth: 9 }),
      `${inspect({ token })}`,
    ];
    return { text: forms.join("\n") };
  },

  close() {
    broker.close();
    return {};
  },

  async bench({ client: name, reads }) {
    const client = broker.client(name);
    for (let warm = 0; warm < 200_000; warm += 1) await client.token();
    const start = process.hrtime.bigint();
    for (let index = 0; index < reads; index += 1) await client.token();
    return { ns_per_read: Number(process.hrtime.bigint() - start) / reads };
  },
};

function read({ client, min_validity_s, timeout_s }: Command): Promise<Token> {
  return broker
    .client(client)
    .token({ minValidityMs: milliseconds(min_validity_s), timeoutMs: milliseconds(timeout_s) });
}

function milliseconds(seconds: number | null | undefined): number | undefined {
  return seconds === null || seconds === undefined ? undefined : seconds * 1000;
}

function fetchOf(client: Client): typeof fetch {
  let adapter = fetches.get(client.name);
  if (adapter === undefined) {
    adapter = createFetch(client, { allowHttp });
    fetches.set(client.name, adapter);
  }
  return adapter;
}

function described(token: Token): Answer {
  return {
    id: token.id,
    access_token: token.accessToken,
    authorization: token.authorization,
    token_type: token.tokenType,
    issued_at: token.issuedAt.getTime() / 1000,
    expires_at: token.expiresAt.getTime() / 1000,
    scope: token.scope,
    proof_required: token.proofRequired,
    headers: token.headers.map(({ name, value, perCall, pattern }) => ({ name, value, per_call: perCall, pattern })),
  };
}

function count(counts: Record<string, number>, key: string): void {
  counts[key] = (counts[key] ?? 0) + 1;
}

function reasonOf(error: unknown): string {
  return error instanceof BearerdError ? error.reason : (error as Error).name;
}

function failure(error: unknown): Answer {
  const {
    reason,
    code,
    message,
    retryAfter = null,
  } = error instanceof BearerdError
    ? error
    : { reason: reasonOf(error), code: "UNKNOWN", message: `${String(error)}: ${String((error as Error).cause)}` };
  return { ok: false, reason, code, message, retry_after_s: retryAfter };
}

async function answer(line: string): Promise<Answer> {
  try {
    const command = JSON.parse(line) as Command;
    const run = Object.hasOwn(commands, command.do) ? commands[command.do] : undefined;
    return run === undefined ? { ok: false, reason: "UNKNOWN_COMMAND" } : { ok: true, ...(await run(command)) };
  } catch (error) {
    return failure(error);
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(line))}\n`);
}
broker.close();
