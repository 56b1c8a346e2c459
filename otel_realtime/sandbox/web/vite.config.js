import { existsSync, readFileSync } from "node:fs";
import { defineConfig } from "vite";

/** Write the licences of the packages whose code or files went into the page. */
function licences() {
  return {
    name: "licences",
    generateBundle(_, bundle) {
      const used = new Set();
      const note = (path) => {
        const found = /^.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path.replaceAll("\\", "/"));
        if (found) used.add(found[0]);
      };
      for (const part of Object.values(bundle)) {
        if (part.type === "chunk") for (const id of Object.keys(part.modules)) note(id);
        else for (const id of part.originalFileNames ?? []) note(id);
      }
      const texts = [...used].sort().map((folder) => {
        const { name, version, license, homepage } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
        const file = ["LICENSE", "LICENSE.md", "LICENCE"].map((item) => `${folder}/${item}`).find((item) => existsSync(item));
        if (!file) this.error(`${name} has no licence file`);
        return `${name} ${version} (${license})${homepage ? `\n${homepage}` : ""}\n\n${readFileSync(file, "utf8").trim()}\n`;
      });
      const head = "The page contains code and fonts of these packages, under their licences.\n";
      this.emitFile({ type: "asset", fileName: "LICENSES.txt", source: [head, ...texts].join(`\n${"-".repeat(80)}\n\n`) });
    },
  };
}

// File names without hashes: the server sends an ETag, and a rebuild that changes nothing changes no file.
export default defineConfig({
  base: "/static/",
  plugins: [licences()],
  build: {
    outDir: "../static",
    emptyOutDir: true,
    assetsInlineLimit: 0, // the page's policy loads nothing from data: addresses
    modulePreload: false,
    target: "es2023",
    rollupOptions: {
      output: {
        entryFileNames: "page.js",
        assetFileNames: ({ names }) => (names[0]?.endsWith(".css") ? "page.css" : "[name][extname]"),
        codeSplitting: false,
      },
    },
  },
  // `npm run dev` shows the calls of a sandbox that runs beside it.
  server: { proxy: { "/api": { target: "http://127.0.0.1:8321", changeOrigin: true } } },
});
