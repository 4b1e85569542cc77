// Sends with an unmodified Sentry SDK for Node all that it can send, and prints the ids of the events as JSON.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.env.CLIENTS}/`);
const Sentry = await import(pathToFileURL(require.resolve("@sentry/node")).href).then((module) => module.default ?? module);
const [dsn, release = "shop@1.2.3", repeat = "3"] = process.argv.slice(2);

Sentry.init({
  dsn, release, environment: "production", serverName: "web-1", tracesSampleRate: 1, enableLogs: true, sendDefaultPii: true,
  sendClientReports: true,
});
Sentry.setTag("team", "checkout");
Sentry.setUser({ id: "42", email: "ann@shop.example", ip_address: "203.0.113.7" });
Sentry.setContext("order", { id: 17, lines: [1, 2, 3] });

class OrderError extends Error {
  name = "OrderError";
}

function load(order) {
  return JSON.parse(`{"order": ${order}`);
}

function charge(order) {
  try {
    return load(order);
  } catch (cause) {
    throw new OrderError(`order ${order} cannot be charged`, { cause });
  }
}

function handled(order) {
  try {
    return charge(order);
  } catch (error) {
    return Sentry.captureException(error);
  }
}

const sent = {};
Sentry.addBreadcrumb({ category: "cart", message: "put into the cart", level: "info", data: { product: "p-1" } });
console.warn("a breadcrumb of the console");
Sentry.startSpan({ name: "checkout", op: "task" }, (span) => {
  sent.chained = Array.from({ length: Number(repeat) }, (_, number) => handled(number));
  sent.trace = span.spanContext().traceId;
});
sent.message = [Sentry.captureMessage("disk of web-1 is 91 % full", "warning")];
Sentry.withScope((scope) => {
  scope.setFingerprint(["my-own", "group"]);
  scope.setLevel("fatal");
  sent.fingerprint = [Sentry.captureException(new RangeError("one")), Sentry.captureException(new TypeError("another"))];
});
Sentry.withScope((scope) => {
  scope.addAttachment({ filename: "config.bin", data: new Uint8Array([255, 0, 10, 10]), contentType: "application/octet-stream" });
  sent.attachment = [Sentry.captureMessage("with an attachment")];
});
Sentry.logger.warn("payment is slow", { number: 7, duration_ms: 1250.5 });
const schedule = { schedule: { type: "crontab", value: "0 3 * * *" }, checkinMargin: 5, maxRuntime: 30, timezone: "Europe/Berlin" };
Sentry.withMonitor("nightly-import", () => undefined, schedule);
Sentry.captureFeedback({ message: "it does not work", email: "bob@shop.example", associatedEventId: sent.chained[0] });
Sentry.startSession();
Sentry.captureException(new OrderError("within a session"), { mechanism: { type: "onuncaughtexception", handled: false } });
Sentry.endSession();
await Sentry.flush(10_000);
console.log(JSON.stringify(sent));
