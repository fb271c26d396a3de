// A program with one of the two TypeScript clients in it: node typescript.mjs PACKAGE URL STORE
//
// It signs in when it must, by the browser that BROWSER names, keeps its registration and its tokens
// in the file STORE, and answers requests in JSON-RPC, one a line: tools/list, tools/call, revision.
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createInterface } from "node:readline";

const [name, url, store] = process.argv.slice(2);
const { Client, StreamableHTTPClientTransport, UnauthorizedError } = await {
  "@modelcontextprotocol/client": () => import("@modelcontextprotocol/client"),
  "@modelcontextprotocol/sdk": async () => ({
    ...(await import("@modelcontextprotocol/sdk/client/index.js")),
    ...(await import("@modelcontextprotocol/sdk/client/streamableHttp.js")),
    ...(await import("@modelcontextprotocol/sdk/client/auth.js")),
  }),
}[name]();

class Kept {
  constructor() {
    try {
      Object.assign(this, JSON.parse(readFileSync(store, "utf8")));
    } catch (error) {
      if (error.code !== "ENOENT") throw error;
    }
  }
  set(values) {
    writeFileSync(store, JSON.stringify(Object.assign(this, values)));
  }
}

class Callback {
  #arrived = [];
  #awaited = [];
  async listen() {
    this.server = createServer((request, response) => {
      const { pathname, searchParams } = new URL(request.url, this.url);
      response.writeHead(pathname === "/callback" ? 200 : 404).end();
      if (pathname !== "/callback") return;
      const waiting = this.#awaited.shift();
      if (waiting) waiting(searchParams);
      else this.#arrived.push(searchParams);
    });
    await new Promise((listening) => this.server.listen(0, "127.0.0.1", listening));
    this.url = `http://127.0.0.1:${this.server.address().port}/callback`;
  }
  answer() {
    const early = this.#arrived.shift();
    return early ?? new Promise((arrive) => this.#awaited.push(arrive));
  }
}

class Provider {
  #verifier;
  #state;
  constructor(kept, callback) {
    this.kept = kept;
    this.redirectUrl = callback.url;
    this.clientMetadata = {
      client_name: "A program in TypeScript",
      redirect_uris: [callback.url],
      token_endpoint_auth_method: kept.method,
    };
  }
  clientInformation = () => this.kept.client;
  saveClientInformation = (client) => this.kept.set({ client });
  tokens = () => this.kept.tokens;
  saveTokens = (tokens) => this.kept.set({ tokens });
  codeVerifier = () => this.#verifier;
  saveCodeVerifier = (verifier) => void (this.#verifier = verifier);
  state = () => (this.#state = crypto.randomUUID());
  isOurs = (answer) => answer.get("state") === this.#state;
  invalidateCredentials(scope) {
    if (["all", "client"].includes(scope)) this.kept.set({ client: undefined });
    if (["all", "tokens"].includes(scope)) this.kept.set({ tokens: undefined });
  }
  redirectToAuthorization(address) {
    spawn(process.env.BROWSER, [address.href], { stdio: "ignore" });
  }
}

const callback = new Callback();
await callback.listen();
const provider = new Provider(new Kept(), callback);
let client, transport;

async function connect() {
  const options = { versionNegotiation: { mode: "auto" } }; // the older of the two knows no other
  client = new Client({ name: "A program in TypeScript", version: "1" }, options);
  transport = new StreamableHTTPClientTransport(new URL(url), { authProvider: provider });
  await client.connect(transport);
}

async function signIn() {
  const answer = await callback.answer();
  if (!provider.isOurs(answer)) throw new Error("The answer is to somebody else's question.");
  if (answer.has("error")) throw new Error(answer.get("error_description"));
  await transport.finishAuth(name.endsWith("/sdk") ? answer.get("code") : answer);
  await connect();
}

async function signedIn(act) {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
    await signIn();
    return await act();
  }
}

const METHODS = {
  revision: () => ({ revision: transport.protocolVersion }),
  "tools/list": () => client.listTools(),
  "tools/call": (params) => client.callTool(params),
};

await connect().catch((error) => {
  if (!(error instanceof UnauthorizedError)) throw error;
  return signIn();
});
for await (const line of createInterface({ input: process.stdin })) {
  const { id, method, params } = JSON.parse(line);
  const result = await signedIn(() => METHODS[method](params));
  console.log(JSON.stringify({ id, result }));
}
await client.close();
callback.server.close();
