// Calls a partner's API as the client `partner` of bearerd. To try it beside `bearerd dev`, which says what to export:
//
//     ./run

import { Broker } from "@bearerd/client";

const broker = new Broker(); // connects at the first call, to the socket that the `bearerd` command would find
const partner = broker.client("partner");

const response = await partner.fetch(`${process.env.PARTNER_URL}/api/accounts`, {
  headers: { "Requestor-ID": "4711" }, // a per-call header: without it nothing is sent
});
if (!response.ok) throw new Error(`the API answered ${response.status}: ${await response.text()}`);
console.log(await response.text());
