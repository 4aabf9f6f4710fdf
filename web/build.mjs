// Builds what the pages need into src/bitdose/service/web/static: names carry a digest, `assets.json` lists them.

import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const out = new URL("../src/bitdose/service/web/static/", import.meta.url).pathname;
const here = new URL(".", import.meta.url).pathname;
const LIMIT_BYTES = 300_000;
const shared = {
  absWorkingDir: here, bundle: true, format: "esm", minify: true, target: "es2022", metafile: true, outdir: out,
  entryNames: "[name]-[hash]", chunkNames: "[name]-[hash]", assetNames: "[name]-[hash]", publicPath: "/static",
  loader: { ".wasm": "file" }, legalComments: "none",
  // The codecs' glue asks for these only where there is no browser.
  external: ["fs", "path", "crypto", "module", "url", "util", "worker_threads", "perf_hooks"],
};

const entries = (result) =>
  Object.entries(result.metafile.outputs)
    .filter(([, made]) => made.entryPoint)
    .map(([path, made]) => [basename(made.entryPoint), basename(path)]);

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
const worker = await build({ ...shared, entryPoints: ["src/worker.js"], splitting: true });
const [[, workerName]] = entries(worker);
const pages = await build({
  ...shared, define: { WORKER_URL: JSON.stringify(`/static/${workerName}`) }, entryPoints: ["src/page/app.js", "src/style.css"],
});
const assets = Object.fromEntries([...entries(worker), ...entries(pages)]);
const version = createHash("sha256").update(JSON.stringify(assets)).digest("hex").slice(0, 12);
await build({
  ...shared, entryPoints: ["src/sw.js"], entryNames: "sw", format: "iife",
  define: { VERSION: JSON.stringify(version) },
});
await writeFile(`${out}assets.json`, `${JSON.stringify({ ...assets, version }, null, 2)}\n`);

let total = 0;
for (const name of (await readdir(out)).sort()) {
  const bytes = gzipSync(await readFile(out + name), { level: 9 }).length;
  const codec = /wasm|openjpeg|libjpegturbo/.test(name);
  if (!codec) total += bytes;
  console.log(`${String(bytes).padStart(8)} gz  ${name}${codec ? "  (codec module)" : ""}`);
}
console.log(`${String(total).padStart(8)} gz  all but the codec modules; at most ${LIMIT_BYTES}`);
if (total > LIMIT_BYTES) process.exit(1);
