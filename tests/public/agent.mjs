// An agent built on the TypeScript SDK: connects, uses everything once, and prints what it saw as one line of JSON.
//
// Read from stdin by `node --input-type=module -`, so that packages are found in the working directory. Its argument is
// JSON: {sdk: "v1" | "v2", mode: "legacy" | "auto", transport: "http" | "sse" | "stdio", url, command, server, name}.

const asked = JSON.parse(process.argv[2]);
const sdk = await (asked.sdk === "v1" ? first() : second());
const tool = (name) => `${asked.server}__${name}`;

const seen = { progress: [], changes: 0, errors: [] };
const client = new sdk.Client(
  { name: "agent.mjs", version: "1" },
  {
    versionNegotiation: { mode: asked.mode }, // the second SDK's; the first knows one way only
    listChanged: { resources: { autoRefresh: false, debounceMs: 0, onChanged: () => seen.changes++ } },
  },
);
client.onerror = (error) => seen.errors.push(String(error));
await client.connect(transport());
seen.version = client.getNegotiatedProtocolVersion?.();
seen.server = client.getServerVersion();

const { tools } = await client.listTools();
seen.tools = tools.map((tool) => tool.name);
seen.echo = await client.callTool({ name: tool("echo"), arguments: { message: "Grüße" } });
seen.structured = await client.callTool({ name: tool("get-structured-content"), arguments: { location: "Chicago" } });
seen.refused = await client.callTool({ name: "no-such-tool", arguments: {} }).catch((error) => error.code);

const { resources } = await client.listResources();
seen.resources = resources.map((resource) => resource.uri);
seen.document = await client.readResource({
  uri: `${asked.server === "everything" ? "" : `${asked.server}+`}demo://resource/static/document/features.md`,
});
seen.prompt = await client.getPrompt({
  name: tool("args-prompt"),
  arguments: { city: "Chicago", state: "Illinois" },
});
seen.completion = await client.complete({
  ref: { type: "ref/prompt", name: tool("completable-prompt") },
  argument: { name: "department", value: "S" },
});

const slow = { name: tool("trigger-long-running-operation"), arguments: { duration: 0.4, steps: 4 } };
const options = { onprogress: ({ progress, total }) => seen.progress.push([progress, total]) };
seen.slow = await (asked.sdk === "v1" ? client.callTool(slow, undefined, options) : client.callTool(slow, options));

// The list is fetched again only when it is said to have changed.
let fetched = seen.changes;
seen.after = [];
await client.callTool({
  name: tool("gzip-file-as-resource"),
  arguments: { name: asked.name, data: "data:text/plain,a%20secret" },
});
const patience = Date.now() + 10_000;
while (!seen.after.some((uri) => uri.endsWith(asked.name)) && Date.now() < patience) {
  if (fetched < seen.changes) {
    fetched = seen.changes;
    seen.after = (await client.listResources()).resources.map((resource) => resource.uri);
  }
  await new Promise((resolve) => setTimeout(resolve, 10));
}

client.onerror = undefined; // that its streams are aborted now is no error
await client.close();
console.log(JSON.stringify(seen));

async function first() {
  const [index, http, sse, stdio] = await Promise.all(
    ["index", "streamableHttp", "sse", "stdio"].map((name) => import(`@modelcontextprotocol/sdk/client/${name}.js`)),
  );
  return { ...index, ...http, ...sse, ...stdio };
}

async function second() {
  return { ...(await import("@modelcontextprotocol/client")), ...(await import("@modelcontextprotocol/client/stdio")) };
}

function transport() {
  switch (asked.transport) {
    case "http":
      return new sdk.StreamableHTTPClientTransport(new URL(asked.url));
    case "sse":
      return new sdk.SSEClientTransport(new URL(asked.url));
    case "stdio":
      return new sdk.StdioClientTransport({ ...asked.command, stderr: "inherit" });
  }
}
