// The status page: asks the REST interface how things are, and writes it down. Text only ever becomes text nodes.
"use strict";

const REFRESH_MS = 5000;
const SHOWN_CONVERSATIONS = 8;

const at = (id) => document.getElementById(id);

/** An element with properties and children; strings become text. */
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "state") made.dataset.state = value;
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** The JSON of a path, or the error that it answers. */
async function ask(path, options = {}) {
  const response = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  const body = await response.json();
  if (response.status === 401 || response.status === 403) throw new LoginNeeded(body.error.message);
  if (body.ok === false) throw new Error(body.error.message);
  return body;
}

class LoginNeeded extends Error {}

// --- health ---

function duration(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

function tile(value, label) {
  return element("div", { className: "tile" }, element("strong", {}, String(value)), element("span", {}, label));
}

function showHealth(health) {
  const words = { ok: "all well", degraded: "degraded", down: "down" };
  const down = Object.entries(health.services).filter(([, state]) => state !== "ok").map(([name]) => name);
  at("status").dataset.state = health.status;
  at("status").textContent = words[health.status] + (down.length ? ` (no ${down.join(", no ")})` : "");
  at("version").textContent = `Baton ${health.version}`;
  at("tiles").replaceChildren(
    tile(duration(health.uptimeS), "up"),
    tile(health.connections.sockets, "browsers"),
    tile(health.connections.bridges, "bridges"),
    tile(health.runs.active, "runs at work"),
    tile(health.runs.queued, "waiting"),
    tile(health.prompts.pending, "open questions"),
  );
  at("tiles").hidden = false;
}

// --- bridges ---

function agentLine(agent) {
  const name = element("span", { className: "name" }, agent.title || agent.id);
  if (agent.reason) name.append(element("span", { className: "quiet whole" }, agent.reason));
  const state = agent.available ? "ok" : "unknown";
  return element("li", {}, name, element("span", { className: "pill", state }, agent.available ? "ready" : "not here"));
}

function bridgeBlock(bridge) {
  const where = [bridge.hostname, bridge.inProcess ? "inside the server" : "", `${bridge.active} at work`];
  return element("div", { className: "bridge" },
    element("h3", {}, bridge.name || bridge.id),
    element("p", { className: "quiet" }, where.filter(Boolean).join(", ")),
    element("ul", {}, ...bridge.agents.map(agentLine)),
  );
}

/** What to do about it, where no agent can run but the demo. */
function bridgesNote(bridges) {
  const agents = bridges.flatMap((bridge) => bridge.agents);
  if (!bridges.length) {
    return ["No bridge service connected. Start the server without ", element("code", {}, "--bridge none"),
      ", or a bridge beside it."];
  }
  if (agents.some((agent) => agent.available && agent.id !== "demo")) return null;
  if (agents.some((agent) => agent.id === "claude" && agent.reason)) {
    return ["Only the demo agent can run now: it plays scripts. What Claude Code needs stands above."];
  }
  return ["Only the demo agent can run now: it plays scripts. For Claude Code: ",
    element("code", {}, "pip install 'baton-agents[claude]'"), ", log in once with ", element("code", {}, "claude"),
    " or set ", element("code", {}, "ANTHROPIC_API_KEY"), ", then start the server again."];
}

function showBridges(bridges) {
  const note = bridgesNote(bridges);
  at("bridges").replaceChildren(...bridges.map(bridgeBlock));
  if (note) at("bridges").append(element("p", { className: "note" }, ...note));
}

// --- conversations ---

function ago(time) {
  const seconds = Math.max(0, (Date.now() - Date.parse(time)) / 1000);
  return seconds < 60 ? "just now" : `${duration(seconds)} ago`;
}

function conversationLine(conversation) {
  const name = element("span", { className: "name" }, conversation.title || "Untitled");
  const path = `/api/chat/conversations/${conversation.id}/export?format=md`;
  name.append(element("span", { className: "quiet" },
    [conversation.agent, ago(conversation.updatedAt)].filter(Boolean).join(", "), ", ",
    element("a", { href: path }, "as Markdown")));
  const state = conversation.state;
  return element("li", {}, name, element("span", { className: "pill", state }, state.replace("_", " ")));
}

function showConversations(conversations) {
  at("conversations").replaceChildren(conversations.length
    ? element("ul", {}, ...conversations.map(conversationLine))
    : element("p", { className: "quiet" }, "Nothing was said yet."));
}

// --- hints ---

function commandBlock(text) {
  const copy = element("button", { type: "button", className: "plain" }, "Copy");
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  });
  return element("div", { className: "command" }, element("pre", {}, text), copy);
}

function showHints() {
  const origin = location.origin;
  const entries = [
    ["Browsers", element("code", {}, `${origin}/socket.io/`), " (Socket.IO 4)"],
    ["Bridges", element("code", {}, `${origin.replace(/^http/, "ws")}/bridge`)],
    ["REST", element("code", {}, `${origin}/api`)],
  ];
  at("addresses").replaceChildren(...entries.flatMap(([term, ...value]) => [
    element("dt", {}, term), element("dd", {}, ...value),
  ]));
  const header = '-H "Authorization: Bearer $TOKEN"';
  at("commands").replaceChildren(
    commandBlock(`TOKEN=$(baton token show)\nURL=${origin}/api/chat/conversations`),
    commandBlock(`curl -s ${header} \\\n  -X POST $URL`),
    commandBlock(`curl -s ${header} \\\n  -d '{"content": "Hello"}' $URL/ID/messages`),
    commandBlock(`curl -s ${header} \\\n  $URL/ID/messages`),
  );
}

// --- login ---

function showLogin(problem = "") {
  at("inside").hidden = true;
  at("logout").hidden = true;
  at("login").hidden = false;
  at("login-problem").textContent = problem;
  at("login-problem").hidden = !problem;
}

async function logIn(event) {
  event.preventDefault();
  const options = { method: "POST", body: JSON.stringify({ token: at("token").value.trim() }) };
  try {
    await ask("/api/login", options);
    at("token").value = "";
    await refresh();
  } catch (problem) {
    showLogin(problem.message);
  }
}

async function logOut() {
  await ask("/api/logout", { method: "POST" });
  showLogin();
}

// --- together ---

async function showInside() {
  const [bridges, page] = await Promise.all([
    ask("/api/bridges"), ask(`/api/chat/conversations?limit=${SHOWN_CONVERSATIONS}`),
  ]);
  showBridges(bridges.bridges);
  showConversations(page.conversations);
  at("login").hidden = true;
  at("inside").hidden = false;
  at("logout").hidden = false;
}

async function refresh() {
  try {
    showHealth(await ask("/health"));
    await showInside();
  } catch (problem) {
    if (!(problem instanceof LoginNeeded)) return sayUnreachable(problem);
    if (at("login").hidden) {
      showLogin(location.hash === "#token-refused" ? "That token is not valid." : "");
    }
  }
}

function sayUnreachable(problem) {
  // The server may only be starting again: what stood here stays, and the next round asks anew.
  at("status").dataset.state = "down";
  at("status").textContent = problem instanceof TypeError ? "not reachable" : problem.message;
}

showHints();
at("login").addEventListener("submit", logIn);
at("logout").addEventListener("click", logOut);
refresh();
setInterval(() => { if (!document.hidden) refresh(); }, REFRESH_MS);
