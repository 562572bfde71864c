const BY_ENDING: Readonly<Record<string, string>> = {
  c: "c", h: "c", cc: "cpp", cpp: "cpp", cs: "csharp", css: "css", go: "go", html: "xml", java: "java", js: "javascript",
  json: "json", jsx: "javascript", kt: "kotlin", lua: "lua", md: "markdown", mjs: "javascript", php: "php", py: "python",
  rb: "ruby", rs: "rust", scss: "scss", sh: "bash", sql: "sql", svg: "xml", swift: "swift", toml: "ini", ts: "typescript",
  tsx: "typescript", xml: "xml", yaml: "yaml", yml: "yaml",
};

/** The language of a file, from its name; empty: none that is known. */
export function languageOf(path: string): string {
  return BY_ENDING[path.slice(path.lastIndexOf(".") + 1).toLowerCase()] ?? "";
}
