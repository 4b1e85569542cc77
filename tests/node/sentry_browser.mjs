// Serves a page that runs an unmodified Sentry SDK for browsers, opens it in Chromium, and prints as JSON what the page says: the ids
// of its events. The page is of another origin than the host that takes them.
import { spawn } from "node:child_process";
import { createReadStream, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";

const [dsn, chromium, agent = ""] = process.argv.slice(2);
const modules = path.join(process.env.CLIENTS, "node_modules");

/** Returns the import map of the SDK's modules, which the browser loads one by one: what is sent is not a bundler's work. */
function importMap() {
  const imports = {};
  const add = (name) => {
    if (name in imports) return;
    const folder = path.join(modules, name);
    const about = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8"));
    const of = (entry) => {
      for (let at = entry; ; at = at.browser ?? at.import ?? at.module ?? at.default) if (typeof at === "string") return at;
    };
    for (const [sub, entry] of Object.entries(about.exports ?? { ".": about.module ?? about.main })) {
      if (!entry || sub.includes("*") || sub === "./package.json" || entry === null) continue;
      try {
        imports[path.posix.join(name, sub)] = `/node_modules/${path.posix.join(name, of(entry))}`;
      } catch {
        // An entry that is not for browsers.
      }
    }
    Object.keys(about.dependencies ?? {}).filter((other) => existsSync(path.join(modules, other))).forEach(add);
  };
  add("@sentry/browser");
  return { imports };
}

const page = `<!doctype html><meta charset="utf-8"><title>shop</title>
<script type="importmap">${JSON.stringify(importMap())}</script>
<script type="module" src="/shop.js"></script><button id="buy">buy</button>`;

const shop = `import * as Sentry from "@sentry/browser";
Sentry.init({ dsn: ${JSON.stringify(dsn)}, release: "shop-web@2.0.0", environment: "production", enableLogs: true,
  integrations: [Sentry.browserTracingIntegration()], tracesSampleRate: 1 });
Sentry.setUser({ id: "42" });
class CartError extends Error { name = "CartError"; }
function total(cart) { return cart.lines.map((line) => line.price.amount); }
function show(cart) { try { return total(cart); } catch (cause) { throw new CartError("the cart cannot be shown", { cause }); } }
const sent = {};
Sentry.addBreadcrumb({ category: "cart", message: "opened the cart", level: "info" });
document.querySelector("#buy").click();
for (const lines of [[{}], [{ name: "x" }]]) {
  try { show({ lines }); } catch (error) { (sent.chained ??= []).push(Sentry.captureException(error)); }
}
sent.message = [Sentry.captureMessage("the basket is slow", "warning")];
Sentry.logger.error("payment failed", { number: 8 });
const ids = new Promise((resolve) => {
  Sentry.getClient().on("beforeSendEvent", (event) => {
    if (event.exception?.values?.some((one) => one.value?.includes("nobody handles"))) (sent.unhandled ??= []).push(event.event_id);
    if (sent.unhandled?.length === 2) resolve();
  });
});
setTimeout(() => { throw new RangeError("nobody handles this"); });
setTimeout(() => { Promise.reject(new TypeError("nobody handles this promise")); }, 20);
await Promise.race([ids, new Promise((resolve) => setTimeout(resolve, 10000))]);
await Sentry.flush(10000);
await fetch("/done", { method: "POST", body: JSON.stringify({ ...sent, flushed: true }) });
`;

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, "http://page");
  const answer = (type, body) => response.writeHead(200, { "content-type": type }).end(body);
  if (pathname === "/done") {
    let text = "";
    request.on("data", (chunk) => (text += chunk)).on("end", () => {
      answer("text/plain", "");
      finish(0, text);
    });
  } else if (pathname === "/shop.js") answer("text/javascript", shop);
  else if (pathname.startsWith("/node_modules/") && !pathname.includes("..")) {
    const file = path.join(process.env.CLIENTS, pathname);
    if (!existsSync(file)) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": "text/javascript" });
    createReadStream(file).pipe(response);
  } else if (pathname === "/") answer("text/html", page);
  else response.writeHead(404).end();
});

const profile = mkdtempSync(path.join(tmpdir(), "watchfire-chromium-"));
let browser;
let errors = "";
function finish(code, text) {
  if (text) console.log(text);
  browser?.kill("SIGKILL");
  server.close();
  setTimeout(() => {
    rmSync(profile, { recursive: true, force: true, maxRetries: 10 });
    process.exit(code);
  }, 200);
}
server.listen(0, "127.0.0.1", () => {
  const url = `http://127.0.0.1:${server.address().port}/`;
  const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--enable-logging=stderr"];
  const more = [`--user-data-dir=${profile}`, ...(agent ? [`--user-agent=${agent}`] : [])];
  browser = spawn(chromium, [...flags, ...more, url], { stdio: ["ignore", "ignore", "pipe"] });
  browser.stderr.on("data", (chunk) => (errors = (errors + chunk).slice(-5000)));
  browser.on("exit", () => setTimeout(() => finish(1, ""), 2000));
});
setTimeout(() => {
  console.error(`the page has not ended: ${errors}`);
  finish(1, "");
}, 60_000).unref();
