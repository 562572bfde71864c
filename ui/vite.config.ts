import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// The version of the server that this page belongs to: a page that meets another one says "reload".
const source = readFileSync(fileURLToPath(new URL("../baton/__init__.py", import.meta.url)), "utf-8");
const version = /__version__ = "([^"]+)"/.exec(source)?.[1] ?? "unknown";

const backend = process.env.UI_BACKEND ?? "http://localhost:3001";

export default defineConfig(({ command }) => ({
  // Built files lie beside the status page's own; the dev server has the root to itself.
  base: command === "build" ? "/static/app/" : "/",
  define: { __BATON_VERSION__: JSON.stringify(version) },
  plugins: [react()],
  build: {
    outDir: fileURLToPath(new URL("../baton/web/static/app", import.meta.url)),
    emptyOutDir: true,
    target: "es2022",
    // Those that know `light-dark()`: for older ones each colour would be written three times.
    cssTarget: ["chrome123", "edge123", "firefox120", "safari17.5"],
    // A polyfill would be an inline script, which the policy forbids; the browsers of that target need none.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 700,
  },
  server: {
    port: 5173,
    strictPort: true,
    proxy: {
      "/api": { target: backend, changeOrigin: true },
      "/health": { target: backend, changeOrigin: true },
      "/static/favicon.svg": { target: backend, changeOrigin: true },
      "/socket.io": { target: backend, changeOrigin: true, ws: true },
    },
  },
  test: { environment: "node", include: ["src/**/*.test.{ts,tsx}"] },
}));
