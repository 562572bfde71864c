// Pictures of the main states for docs/screenshots: a server of its own with the demo agent, light and dark, desktop
// and phone. PYTHON names the interpreter that has Baton, CHROMIUM the browser, SCENES what to take instead of all.
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

import { showcase } from "./showcase.mjs";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const out = process.env.SCREENSHOTS ?? join(root, "docs/screenshots");
const folder = mkdtempSync(join(tmpdir(), "baton-pictures-"));
const LOOKS = [
  { name: "desktop-light", viewport: { width: 1280, height: 820 }, colorScheme: "light" },
  { name: "desktop-dark", viewport: { width: 1280, height: 820 }, colorScheme: "dark" },
  { name: "phone-light", viewport: { width: 390, height: 844 }, colorScheme: "light", hasTouch: true, isMobile: true },
  { name: "phone-dark", viewport: { width: 390, height: 844 }, colorScheme: "dark", hasTouch: true, isMobile: true },
];

/** Names of scenes, separated by commas: pictures of these only. */
const only = process.env.SCENES?.split(",");
const isWanted = (scene) => only === undefined || only.includes(scene);

/** What is sent in each conversation, what it is called, and when it is ready for its picture. */
const SCENES = [
  { name: "markdown", title: "Each kind of Markdown", send: ["/demo markdown words=150 rate=3000"], until: "[aria-label='Copy the answer']" },
  { name: "work", title: "Look for the slow part", send: ["/demo work rate=2000"], until: "text=as was to be expected" },
  { name: "streaming", title: "Tell me about the relay", send: ["/demo slow words=400 rate=30"], until: ".working-line" },
  { name: "permission", title: "Tidy up the build folder", send: ["/demo ask rate=2000"], until: ".prompt" },
  { name: "plan", title: "Speed up the import", send: ["/demo plan rate=2000"], until: ".prompt" },
  { name: "question", title: "Name the new command", send: ["/demo question rate=2000"], until: ".prompt" },
  { name: "failed", title: "Deploy to staging", send: ["/demo fail rate=2000"], until: "text=Retry" },
  { name: "queue", title: "Find the slow tests", send: ["/demo silent seconds=60", "Then run the tests", "And write the changelog"], until: "text=Next: 2 messages" },
];

async function freePort() {
  const probe = createServer();
  await new Promise((done) => probe.listen(0, "127.0.0.1", done));
  const { port } = probe.address();
  await new Promise((done) => probe.close(done));
  return port;
}

async function startServer() {
  const port = await freePort();
  const project = join(folder, "project");
  mkdirSync(project);
  writeFileSync(join(project, "relay.py"), "def pass_on(baton): ...\n");
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("BATON_")));
  const child = spawn(process.env.PYTHON ?? "python3", ["-m", "baton", "serve"], {
    cwd: folder,
    stdio: "ignore",
    env: { ...inherited, PYTHONPATH: root, HOST: "127.0.0.1", PORT: String(port), BATON_DATA: join(folder, "data"), BATON_AGENTS: "demo", BATON_WORKSPACE: project },
  });
  const url = `http://127.0.0.1:${port}`;
  for (let tries = 0; tries < 300; tries += 1) {
    const isReady = await fetch(`${url}/health/ready`).then((answer) => answer.ok, () => false);
    if (isReady) return { child, url };
    await pause(100);
  }
  throw new Error("The server did not start");
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function say(page, text) {
  await page.fill("#composer", text);
  await page.click("button[aria-label=Send]");
  await pause(400);
}

async function picture(page, look, scene) {
  if (!isWanted(scene)) return;
  await pause(500);
  await page.screenshot({ path: join(out, `${scene}-${look.name}.png`) });
}

let isStocked = false;

/** What the views of the operator show beside what the scenes have left; once for all looks. */
async function stock(context, url) {
  if (isStocked) return;
  isStocked = true;
  const post = async (path, data) => (await context.request.post(`${url}${path}`, { data })).json();
  const { project } = await post("/api/projects", { name: "Relay", workingDirectory: join(folder, "project") });
  await post("/api/projects", { name: "Garden" });
  const { conversations } = await (await context.request.get(`${url}/api/chat/conversations`)).json();
  for (const { id } of conversations.slice(0, 3)) await context.request.patch(`${url}/api/chat/conversations/${id}`, { data: { projectId: project.id } });
  await post("/api/permissions", { toolName: "Bash", pattern: "npm test:*" });
  await post("/api/permissions", { toolName: "Write", pattern: "src/*", projectId: project.id });
  await post("/api/permissions", { toolName: "Bash", pattern: "git push:*", effect: "deny" });
}

/** A new conversation with its messages, under its name. */
async function begin(page, url, scene) {
  await page.goto(url);
  await page.waitForSelector("#composer");
  await say(page, scene.send[0]);
  await page.waitForURL(/\/c\//);
  for (const text of scene.send.slice(1)) await say(page, text);
  const id = new URL(page.url()).pathname.slice("/c/".length);
  await page.request.patch(`${url}/api/chat/conversations/${id}`, { data: { title: scene.title } });
  return id;
}

/** The conversation of showcase.mjs, in the shape of one that was. */
async function shootThread(request, page, url, look) {
  const id = await begin(page, url, { title: "", send: ["/demo tool rate=2000"] });
  await page.waitForSelector("[aria-label='Copy the answer']");
  const exported = await (await request.get(`${url}/api/chat/conversations/${id}/export?format=json`)).json();
  const imported = await (await request.post(`${url}/api/chat/import`, { data: showcase(exported) })).json();
  if (!imported.ok) throw new Error(imported.error.message);
  await request.delete(`${url}/api/chat/conversations/${id}`);
  await page.goto(`${url}/c/${imported.conversation.id}`);
  await page.waitForSelector("text=shall I change that too?");
  await picture(page, look, "thread");
}

async function shoot(browser, url, look) {
  const { name, ...options } = look;
  const context = await browser.newContext({ ...options, locale: "en-GB", timezoneId: "UTC" });
  const page = await context.newPage();
  page.on("pageerror", (error) => console.error(`${name}: ${error.message}`));
  await page.goto(url);
  await page.waitForSelector(".login");
  await picture(page, look, "login");
  const token = readFileSync(join(folder, "data", "admin.token"), "utf-8").trim();
  await page.goto(`${url}/?token=${token}`);
  await page.waitForSelector("#composer");
  await picture(page, look, "new-chat");
  if (isWanted("thread")) await shootThread(context.request, page, url, look);
  for (const scene of SCENES.filter(({ name }) => isWanted(name))) {
    await begin(page, url, scene);
    await page.waitForSelector(scene.until);
    await picture(page, look, scene.name);
    if (scene.name === "permission" && options.isMobile) {
      await page.click("button[aria-label='Show the list']");
      await picture(page, look, "list");
    }
  }
  await stock(context, url);
  for (const view of ["projects", "bridges", "permissions", "usage"].filter(isWanted)) {
    await page.goto(`${url}/o/${view}`);
    await page.waitForSelector("h1");
    await pause(700);
    await picture(page, look, view);
  }
  // What still runs would keep the places that the next look needs.
  await context.request.post(`${url}/api/chat/conversations/reset-active`);
  // Each look begins with an empty list.
  const { conversations } = await (await context.request.get(`${url}/api/chat/conversations?limit=200`)).json();
  for (const { id } of conversations) await context.request.delete(`${url}/api/chat/conversations/${id}`);
  await context.close();
}

mkdirSync(out, { recursive: true });
const { child, url } = await startServer();
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
try {
  for (const look of LOOKS) await shoot(browser, url, look);
} finally {
  await browser.close();
  child.kill();
  await pause(500);
  rmSync(folder, { recursive: true, force: true });
}
