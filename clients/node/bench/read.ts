/** What a read costs while the stream is up: `npm run bench` beside `bearerd dev`, `$BEARERD_SOCKET` as it says. */

import { Broker, type Client } from "@bearerd/client";

const READS = 2_000_000;
const ROUNDS = 5;

const ways: Record<string, (client: Client) => Promise<void>> = {
  "tokenNow()": async (client) => {
    for (let index = 0; index < READS; index += 1) client.tokenNow();
  },
  "await token()": async (client) => {
    for (let index = 0; index < READS; index += 1) await client.token();
  },
  "await token({ minValidityMs })": async (client) => {
    for (let index = 0; index < READS; index += 1) await client.token({ minValidityMs: 1_000 });
  },
};

using broker = new Broker();
const client = broker.client(process.argv[2] ?? "demo");
await client.token();
for (const [name, way] of Object.entries(ways)) {
  const rounds: number[] = [];
  for (let round = 0; round <= ROUNDS; round += 1) {
    const start = process.hrtime.bigint();
    await way(client);
    rounds.push(Number(process.hrtime.bigint() - start) / READS);
  }
  // The first round warms up; of the others the median.
  const [median] = rounds
    .slice(1)
    .sort((a, b) => a - b)
    .slice(Math.floor(ROUNDS / 2));
  console.log(`read ${median?.toFixed(1)} ns  ${name}`);
}
