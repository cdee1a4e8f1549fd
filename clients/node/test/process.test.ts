/** Whole programs that use the package: how they end, what their environment changes, how they import it. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Server } from "@grpc/grpc-js";
import { serveBroker, streamed } from "./stock-server.js";

const directory = mkdtempSync(join(tmpdir(), "bearerd-client-"));
const socket = join(directory, "b.sock");
let server: Server;

before(async () => {
  server = await serveBroker(socket, (call) => {
    if (call.request.client === "demo") call.write(streamed("1"));
  });
});

after(() => {
  server.forceShutdown();
  rmSync(directory, { recursive: true });
});

/** Runs a program in the package's folder, where the package's name leads to itself. */
async function run(type: "module" | "commonjs", program: string, env: NodeJS.ProcessEnv = {}) {
  const cwd = fileURLToPath(new URL("../..", import.meta.url));
  const options = { cwd, env: { PATH: process.env["PATH"], BEARERD_SOCKET: socket, ...env }, timeout: 20_000 };
  return promisify(execFile)(process.execPath, [`--input-type=${type}`, "--eval", program], options);
}

const read = 'console.log(String(await new Broker().client("demo").token()));';

test("a program that forgets to close ends by itself", async () => {
  const { stdout } = await run("module", `import { Broker } from "@bearerd/client"; ${read}`);
  assert.match(stdout, /^Token\(demo, 1, /);
});

test("a read that waits keeps the program alive until its time is up", async () => {
  const program = `import { Broker } from "@bearerd/client";
    const read = new Broker().client("late").token({ timeoutMs: 100 });
    console.log(await read.catch((error) => error.reason));`;
  assert.equal((await run("module", program)).stdout, "DAEMON_UNREACHABLE\n");
});

test("no proxy variable has any influence", async () => {
  const proxy = "http://127.0.0.1:1";
  const env = { http_proxy: proxy, https_proxy: proxy, grpc_proxy: proxy, all_proxy: proxy, HTTP_PROXY: proxy };
  const { stdout } = await run("module", `import { Broker } from "@bearerd/client"; ${read}`, env);
  assert.match(stdout, /^Token/);
});

test("a CommonJS program can require it", async (t) => {
  if (!("require_module" in process.features)) return t.skip("this Node cannot require ES modules");
  const { stdout } = await run(
    "commonjs",
    `const { Broker } = require("@bearerd/client"); (async () => { ${read} })();`,
  );
  assert.match(stdout, /^Token/);
});

test("NODE_DEBUG=bearerd logs what happens, and no token", async () => {
  const { stderr } = await run("module", `import { Broker } from "@bearerd/client"; ${read}`, {
    NODE_DEBUG: "bearerd",
  });
  assert.match(stderr, /watch of demo began on .*b\.sock\n.*token of demo changed: id 1\n/);
  assert.doesNotMatch(stderr, /secret/);
});
