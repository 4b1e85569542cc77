// Raises errors and prints what an unmodified Sentry SDK for Node makes of them: one JSON object a line, with the error's name.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { readFile } from "node:fs/promises";
import { EventEmitter } from "node:events";
import http from "node:http";

const require = createRequire(`${process.env.CLIENTS}/`);
const Sentry = await import(pathToFileURL(require.resolve("@sentry/node")).href).then((module) => module.default ?? module);

class ApiError extends Error {
  constructor(message, options) {
    super(message, options);
    this.name = "ApiError";
  }
}

class Cart {
  constructor(lines) { this.lines = lines; }
  total() { return this.lines.reduce((sum, line) => sum + line.price.amount, 0); }
  discount(code) { return this.rules.get(code); }
  checkout(user) {
    if (!user.id) throw new ApiError(`user ${user.name} has no id`);
    if (!this.lines.length) throw new ApiError(`cart of user ${user.id} is empty`);
    return this.total();
  }
}

const parse = (text) => JSON.parse(text);
const config = (text) => { try { return parse(text); } catch (cause) { throw new ApiError("configuration cannot be read", { cause }); } };
const walk = (node) => node.children.map((child) => walk(child));
async function product(id) { const text = await readFile(`/var/lib/shop/products/${id}.json`, "utf8"); return parse(text); }
function request(path) {
  return new Promise((resolve, reject) => http.get({ host: "127.0.0.1", port: 9, path }, resolve).on("error", reject));
}
async function stock(id) { return request(`/stock/${id}`); }
function emitter() { const bus = new EventEmitter(); bus.on("order", (order) => order.lines.push(1)); return bus; }
function price(value) { return value.toFixed(200); }
function repeat(count) { return "x".repeat(count); }

const errors = {
  "no price": () => new Cart([{ name: "p-1" }]).total(),
  "no rules": () => new Cart([]).discount("SPRING"),
  "no user id": () => new Cart([]).checkout({ name: "ann" }),
  "empty cart": () => new Cart([]).checkout({ id: 42 }),
  "configuration is no json": () => config("{port: 3}"),
  "product is no json": () => parse("<html>"),
  "leaf without children": () => walk({ children: [{ children: [{}] }] }),
  "no product file": () => product(17),
  "stock server away": () => stock(17),
  "order without lines": () => emitter().emit("order", {}),
  "too many digits": () => price(3.5),
  "repeat below nought": () => repeat(-1),
};

let label = "";
Sentry.init({
  dsn: "http://key@127.0.0.1:9/1",
  beforeSend(event) { console.log(JSON.stringify({ label, event })); return null; },
  integrations: (all) => all.filter((one) => one.name !== "Dedupe"),
});
for (const [name, raise] of Object.entries(errors)) {
  label = name;
  try { await raise(); } catch (error) { Sentry.captureException(error); }
  await Sentry.flush(2000);
}
