// Serves a page with a minified program that has a Sentry SDK for browsers in it, opens it in Chromium, and prints the ids of its events
// as JSON.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";

const [dsn, chromium, script] = process.argv.slice(2);
const page = `<!doctype html><meta charset="utf-8"><title>shop</title>
<script>globalThis.DSN = ${JSON.stringify(dsn)};</script><script src="/static/app.min.js?v=7"></script>`;

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, "http://page");
  const answer = (type, body) => response.writeHead(200, { "content-type": type }).end(body);
  if (pathname === "/done") {
    let text = "";
    request.on("data", (chunk) => (text += chunk)).on("end", () => {
      answer("text/plain", "");
      const { events } = JSON.parse(text);
      finish(0, JSON.stringify({ events: events.map((id) => id.replaceAll("-", "")) }));
    });
  } else if (pathname === "/static/app.min.js") answer("text/javascript", readFileSync(script));
  else if (pathname === "/") answer("text/html", page);
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
  const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--enable-logging=stderr"];
  const url = `http://127.0.0.1:${server.address().port}/`;
  browser = spawn(chromium, [...flags, `--user-data-dir=${profile}`, url], { stdio: ["ignore", "ignore", "pipe"] });
  browser.stderr.on("data", (chunk) => (errors = (errors + chunk).slice(-5000)));
  browser.on("exit", () => setTimeout(() => finish(1, ""), 2000));
});
setTimeout(() => {
  console.error(`the page has not ended: ${errors}`);
  finish(1, "");
}, 60_000).unref();
