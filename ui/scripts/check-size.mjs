// What a first visit loads, packed as it travels. Fails above the budget: a page must show its first message soon.
import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const BUDGET_KB = 300;
const folder = resolve(dirname(fileURLToPath(import.meta.url)), "../../baton/web/static/app");
const index = readFileSync(join(folder, "index.html"), "utf-8");

// The index names the entry, its style and, as preloads, every chunk that the entry imports at once.
const named = [...index.matchAll(/(?:src|href)="\/static\/app\/([^"]+)"/g)].map((match) => match[1]);
const sizes = ["index.html", ...named].map((name) => [name, gzipSync(readFileSync(join(folder, name))).length / 1024]);
const total = sizes.reduce((sum, [, size]) => sum + size, 0);

console.log(`First load: ${total.toFixed(1)} KB of ${BUDGET_KB} KB packed (${named.length + 1} files)`);
if (total > BUDGET_KB) {
  for (const [name, size] of sizes) console.error(`  ${size.toFixed(1)} KB  ${name}`);
  process.exit(1);
}
