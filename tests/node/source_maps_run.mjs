// Runs a minified program under an unmodified Sentry SDK for Node, and prints the ids of its events as JSON.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.env.CLIENTS}/`);
const Sentry = await import(pathToFileURL(require.resolve("@sentry/node")).href).then((module) => module.default ?? module);
const [dsn, file, release = ""] = process.argv.slice(2);

Sentry.init({ dsn, release: release || undefined, environment: "production", serverName: "web-1" });
const events = [];
globalThis.capture = (error) => events.push(Sentry.captureException(error).replaceAll("-", ""));
require(file);
await Sentry.flush(10_000);
console.log(JSON.stringify({ events, stack: globalThis.stack }));
