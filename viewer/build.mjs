// Bundles src/main.js and what it needs into one script for the case pages, with the licences at its end.
//
//   node build.mjs [FILE]
import { readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const output = resolve(process.argv[2] ?? join(here, "../src/ricenet/evaluation/occlusion/page/viewer.js"));

// NiiVue also reads chunked Zarr images; the decoders for them are 60 % of a bundle, and no page has such an image
const withoutZarrDecoders = {
  name: "without-zarr-decoders",
  setup(bundling) {
    bundling.onResolve({ filter: /^numcodecs(\/|$)/ }, (asked) => ({ path: asked.path, namespace: "excluded" }));
    bundling.onLoad({ filter: /.*/, namespace: "excluded" }, (asked) => ({
      contents: `throw new Error(${JSON.stringify(`${asked.path} is not part of this page`)}); export default null;`,
    }));
  },
};

const bundled = await build({
  absWorkingDir: here,
  entryPoints: ["src/main.js"],
  bundle: true,
  write: false,
  minify: true,
  metafile: true,
  format: "iife",
  target: "es2022",
  charset: "ascii", // a page may be read in any encoding
  legalComments: "none", // the whole texts follow
  logLevel: "warning",
  plugins: [withoutZarrDecoders],
});
const script = bundled.outputFiles[0].text;
if (/<\/script|<!--/i.test(script)) {
  throw new Error("the bundle cannot stand within a page's <script>: it holds </script or <!--");
}

const packages = new Set();
for (const path of Object.keys(bundled.metafile.inputs)) {
  const found = /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path);
  if (found) {
    packages.add(found[1]);
  }
}
const licences = [...packages].sort().map((name) => {
  const folder = join(here, "node_modules", name);
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  return `${name} ${version} (${license})\n\n${licenceText(name, folder).trim()}\n`;
});
const notices = `Third-party software in this script:\n\n${licences.join(`\n${"-".repeat(78)}\n\n`)}`;
writeFileSync(`${output}.partial`, `${script}/*!\n${notices.replaceAll("*/", "* /").replaceAll("</", "< /")}*/\n`);
renameSync(`${output}.partial`, output);
console.log(`viewer.js: ${(script.length / 1e6).toFixed(2)} MB of ${[...packages].sort().join(", ")}`);

function licenceText(name, folder) {
  const own = readdirSync(folder).find((file) => /^licen[cs]e(\.md|\.txt)?$/i.test(file));
  try {
    // packages that ship without the text of their licence have it in licences/
    return readFileSync(own ? join(folder, own) : join(here, "licences", `${name.replace("/", "+")}.txt`), "utf8");
  } catch {
    throw new Error(`${name}: the package brings no licence text; put its project's into viewer/licences/`);
  }
}
