// A stock client of the daemon: grpc-js with default options and its usual loader, none of our library. Commands come
// on standard input, one JSON object a line; each gets one on standard output.

import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { credentials, loadPackageDefinition, makeGenericClientConstructor, status } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { service as healthService } from "grpc-health-check";

const socket = process.argv[2];
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const definition = loadSync(["bearerd/v1/token_broker.proto", "google/rpc/error.proto"], {
  includeDirs: [here("../../../../proto"), here("proto")],
  keepCase: true,
  enums: String,
  longs: Number,
  defaults: true,
  oneofs: true,
});
const { TokenBroker } = loadPackageDefinition(definition).bearerd.v1;
const Health = makeGenericClientConstructor(healthService, "grpc.health.v1.Health");
const broker = new TokenBroker(`unix:${socket}`, credentials.createInsecure());
const health = new Health(`unix:${socket}`, credentials.createInsecure());

const commands = {
  async get({ client, min_validity_s, rejected, timeout_s }) {
    const request = { client, rejected_token_id: rejected ?? "", min_validity: duration(min_validity_s) };
    const { token, rejection } = await unary(broker, "GetToken", request, timeout_s);
    const { id, authorization, headers } = token;
    return { id, authorization, rejection: rejection.replace("REJECTION_", ""), headers };
  },

  async watch({ client }) {
    return follow(broker.WatchToken({ client }), ({ state, token, unavailable }) =>
      state === "token" ? { id: token.id } : { unavailable: unavailable.reason },
    );
  },

  async next({ watch, timeout_s }) {
    return { watch, ...(await watches[watch - 1].next(timeout_s)) };
  },

  async list() {
    const { clients } = await unary(broker, "ListClients", {});
    return { clients: clients.map(({ name, state }) => ({ name, state: state.replace("CLIENT_STATE_", "") })) };
  },

  async health({ service }) {
    return { status: (await unary(health, "check", { service })).status };
  },

  async health_watch({ service }) {
    return follow(health.watch({ service }), (answer) => ({ status: answer.status }));
  },
};

/** Streams that are open, or have ended; the first one is number 1. */
const watches = [];

/** The messages of a stream, kept until they are asked for. */
class Messages {
  #arrived = [];
  #wake = () => {};

  constructor(stream, read) {
    const add = (message) => {
      this.#arrived.push(message);
      this.#wake();
    };
    stream.on("data", (message) => add({ message: read(message) }));
    stream.on("error", (error) => add({ error }));
    stream.on("end", () => add({ error: Object.assign(new Error("the stream ended"), { code: status.OK }) }));
  }

  async next(timeout_s) {
    if (this.#arrived.length === 0) await this.#arrival(timeout_s ?? 30);
    const { message, error } = this.#arrived[0];
    // An end stays the end.
    if (error) throw error;
    this.#arrived.shift();
    return message;
  }

  #arrival(timeout_s) {
    return new Promise((resolve, reject) => {
      const late = Object.assign(new Error(`nothing came within ${timeout_s} s`), { code: status.DEADLINE_EXCEEDED });
      const timer = setTimeout(() => reject(late), timeout_s * 1000);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

async function follow(stream, read) {
  const messages = new Messages(stream, read);
  const watch = watches.push(messages);
  return { watch, ...(await messages.next()) };
}

function unary(client, method, request, timeout_s) {
  const options = timeout_s == null ? {} : { deadline: Date.now() + timeout_s * 1000 };
  return new Promise((resolve, reject) => {
    client[method](request, options, (error, response) => (error ? reject(error) : resolve(response)));
  });
}

function duration(seconds) {
  if (seconds == null) return null;
  return { seconds: Math.floor(seconds), nanos: Math.round((seconds % 1) * 1e9) };
}

/** An error with what its google.rpc details say. */
function failure(error) {
  const answer = { ok: false, code: status[error.code] ?? "UNKNOWN", message: error.details ?? error.message };
  for (const detail of details(error)) {
    const message = definition[detail.type_url.split("/").at(-1)]?.deserialize(detail.value);
    if (message?.domain) Object.assign(answer, { domain: message.domain, reason: message.reason });
    if (message?.retry_delay) answer.retry_after_s = message.retry_delay.seconds + message.retry_delay.nanos / 1e9;
  }
  return { domain: null, reason: null, retry_after_s: null, ...answer };
}

function details(error) {
  const [bytes] = error.metadata?.get("grpc-status-details-bin") ?? [];
  return bytes ? definition["google.rpc.Status"].deserialize(bytes).details : [];
}

async function answer({ do: name, ...command }) {
  try {
    if (!Object.hasOwn(commands, name)) return { ok: false, reason: "UNKNOWN_COMMAND" };
    return { ok: true, ...(await commands[name](command)) };
  } catch (error) {
    return failure(error);
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
}
broker.close();
health.close();
process.exit();
