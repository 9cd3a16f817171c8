// A client of the TypeScript SDK whose requests alternate between two gateways, and which is asked something on the way.
//
// Read from stdin by `node --input-type=module -`, so that packages are found in the working directory. Its argument is
// JSON: {sdk: "v1" | "v2", nodes: [url, url], server, go}. Prints what it saw as one line of JSON; half way it prints "half"
// and waits for the file `go` to be there.

import { existsSync } from "node:fs";

const asked = JSON.parse(process.argv[2]);
const sdk = await (asked.sdk === "v1" ? first() : second());
const seen = { nodes: {}, names: [], tools: [], errors: [], updated: 0 };

let turn = 0;
const alternating = (url, init) => {
  const node = asked.nodes[turn++ % asked.nodes.length];
  seen.nodes[node] = (seen.nodes[node] ?? 0) + 1;
  return fetch(node, init);
};

const client = new sdk.Client(
  { name: "nodes.mjs", version: "1" },
  { capabilities: { elicitation: {} }, versionNegotiation: { mode: "legacy" } },
);
const content = { username: "ann", email: "ann@example.com" };
const answer = () => ({ action: "accept", content });
client.setRequestHandler(sdk.ElicitRequestSchema ?? "elicitation/create", answer);
client.onerror = (error) => seen.errors.push(String(error));
await client.connect(new sdk.StreamableHTTPClientTransport(new URL(asked.nodes[0]), { fetch: alternating }));

const ask = { name: `${asked.server}__test_elicitation`, arguments: { message: "who?" } };
for (let half = 0; half < 2; half++) {
  for (let round = 0; round < 4; round++) {
    seen.tools.push((await client.listTools()).tools.length);
    seen.names.push((await client.callTool(ask)).content[0].text.includes("ann"));
  }
  if (half === 0) {
    console.log("half");
    while (!existsSync(asked.go)) await new Promise((resolve) => setTimeout(resolve, 10));
    seen.errors.length = 0; // that the standing stream broke is known
  }
}
client.onerror = undefined;
await client.close();
console.log(JSON.stringify(seen));

async function first() {
  const [index, http, types] = await Promise.all(
    ["client/index", "client/streamableHttp", "types"].map((name) => import(`@modelcontextprotocol/sdk/${name}.js`)),
  );
  return { ...index, ...http, ElicitRequestSchema: types.ElicitRequestSchema };
}

async function second() {
  return { ...(await import("@modelcontextprotocol/client")) };
}
