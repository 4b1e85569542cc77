// Bundles and minifies the program in `shop/` as people do: `first`, `second`, which has other names and places, or `browser`. Prints
// where it lies.
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(`${process.env.CLIENTS}/`);
const esbuild = require("esbuild");
const [folder, build = "first"] = process.argv.slice(2);
const shop = join(dirname(fileURLToPath(import.meta.url)), "shop");
const isPage = build === "browser";

await esbuild.build({
  entryPoints: { app: join(shop, isPage ? "browser.ts" : "main.ts") },
  inject: build === "second" ? [join(shop, "extra.ts")] : [],
  nodePaths: [join(process.env.CLIENTS, "node_modules")],
  outdir: folder, outExtension: { ".js": ".min.js" },
  bundle: true, minify: true, sourcemap: true, logLevel: "error",
  platform: isPage ? "browser" : "node", format: isPage ? "iife" : "cjs",
});
console.log(JSON.stringify({ file: join(folder, "app.min.js") }));
