import { Check, CircleAlert, Plug, Unplug } from "lucide-react";

import { ago, plural } from "../app/format";
import { Command } from "../kit/Command";
import { Notice } from "../kit/Notice";
import { ImportButton } from "../shell/ImportButton";
import { useNow, useSelector } from "../state";
import type { Agent, Bridge } from "../wire/types";

const IMPORTS_FROM = "claude";

export function BridgesView() {
  const bridges = useSelector((state) => state.bridges);
  const isNobodyThere = bridges !== null && !bridges.some((bridge) => bridge.connected);
  return (
    <>
      <h1>Bridges</h1>
      <p className="lead">A bridge runs agents and is the only thing that touches files. Several machines can have one each.</p>
      {bridges === null && <p role="status">Asking</p>}
      {isNobodyThere && <Notice tone="bad" text="No bridge service connected. What is sent now waits until one is; the commands to start one are below." />}
      {bridges?.map((bridge) => <BridgeCard key={bridge.id} bridge={bridge} />)}
      <section className="card">
        <h2>{isNobodyThere ? "Start a bridge" : "Connect another machine"}</h2>
        <ol className="steps">
          <li>
            <p>On the server, make a token for it. The token is shown once.</p>
            <Command text="baton token create --role bridge --name my-laptop" />
          </li>
          <li>
            <p>On the other machine, with that token in <code>TOKEN</code>, start it in the folder where agents may work.</p>
            <Command text={`baton bridge --backend ${location.origin} --token "$TOKEN" --workspace .`} />
          </li>
        </ol>
        <p className="quiet">It appears here as soon as it is connected, and comes back by itself after a break.</p>
      </section>
    </>
  );
}

function BridgeCard({ bridge }: { readonly bridge: Bridge }) {
  const now = useNow(10_000);
  const facts = [bridge.hostname, bridge.inProcess ? "inside the server" : `version ${bridge.version}`, since(bridge, now)];
  return (
    <section className="card bridge-card" data-connected={bridge.connected} aria-label={bridge.name || bridge.id}>
      <header>
        {bridge.connected ? <Plug aria-hidden /> : <Unplug aria-hidden />}
        <h2>{bridge.name || bridge.id}</h2>
        <span className="pill" data-tone={bridge.connected ? "ok" : "bad"}>{bridge.connected ? "connected" : "away"}</span>
      </header>
      <p className="quiet">{facts.filter(Boolean).join(", ")}</p>
      <div>
        <div className="load" role="img" aria-label={`${bridge.active} of ${plural(bridge.maxConcurrentRequests, "place")} taken`}>
          {Array.from({ length: Math.min(bridge.maxConcurrentRequests, 40) }, (_, at) => <span key={at} data-taken={at < bridge.active} />)}
        </div>
        <p className="quiet load-said">{bridge.active} of {plural(bridge.maxConcurrentRequests, "place")} taken{bridge.queued > 0 && `, ${bridge.queued} waiting`}</p>
      </div>
      {bridge.agents.length === 0 && <p className="quiet">It offers no agent.</p>}
      <ul className="agents">{bridge.agents.map((agent) => <AgentLine key={agent.id} agent={agent} />)}</ul>
      <dl className="bridge-facts">
        {bridge.workspaces.length > 0 && (
          <div>
            <dt>Folders</dt>
            <dd>{bridge.workspaces.map((one) => <code key={one.path}>{one.path}</code>)}</dd>
          </div>
        )}
        {bridge.allowBypass && (
          <div>
            <dt>Asking</dt>
            <dd>May be switched off for an hour (allow everything)</dd>
          </div>
        )}
      </dl>
      {bridge.connected && bridge.agents.some((agent) => agent.id === IMPORTS_FROM) && <ImportButton bridgeId={bridge.id} />}
    </section>
  );
}

/** Since when it is there, or is not. */
function since({ connected, connectedAt, lastSeenAt }: Bridge, now: number): string {
  const [at, word] = connected ? [connectedAt, "for"] : [lastSeenAt, "last seen"];
  if (at === null) return "";
  const said = ago(at, now);
  if (said === "now") return connected ? "just connected" : "last seen just now";
  return connected ? `connected ${word} ${said}` : `${word} ${said} ago`;
}

function AgentLine({ agent }: { readonly agent: Agent }) {
  const command = /`([^`]+)`/.exec(agent.reason ?? "")?.[1];
  return (
    <li data-available={agent.available}>
      {agent.available ? <Check aria-hidden /> : <CircleAlert aria-hidden />}
      <div>
        <p><strong>{agent.title || agent.id}</strong> {agent.available ? "ready" : "not available"}</p>
        {agent.models.length > 0 && <small>{agent.models.join(", ")}</small>}
        {agent.reason !== undefined && <small>{agent.reason.replaceAll("`", "")}</small>}
        {command !== undefined && <Command text={command} />}
      </div>
    </li>
  );
}
