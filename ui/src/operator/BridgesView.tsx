import { Check, CircleAlert, Plug, Unplug } from "lucide-react";

import { ago, plural } from "../app/format";
import { Command } from "../kit/Command";
import { useNow, useSelector } from "../state";
import type { Agent, Bridge } from "../wire/types";

export function BridgesView() {
  const bridges = useSelector((state) => state.bridges);
  return (
    <>
      <h1>Bridges</h1>
      <p className="lead">A bridge runs agents and is the only thing that touches files. Several machines can have one each.</p>
      {bridges === null ? <p role="status">Asking</p> : bridges.map((bridge) => <BridgeCard key={bridge.id} bridge={bridge} />)}
      <section className="card">
        <h2>{bridges?.length === 0 ? "No bridge service connected" : "Connect another machine"}</h2>
        <p>Make a token for it here, then start it there, in the folder where agents may work:</p>
        <Command text="baton token create --role bridge --name my-laptop" />
        <Command text={`baton bridge --backend ${location.origin} --token "$TOKEN"`} />
      </section>
    </>
  );
}

function BridgeCard({ bridge }: { readonly bridge: Bridge }) {
  const now = useNow(10_000);
  const facts = [bridge.hostname, bridge.inProcess ? "inside the server" : `version ${bridge.version}`];
  return (
    <section className="card bridge-card" data-connected={bridge.connected}>
      <header>
        {bridge.connected ? <Plug aria-hidden /> : <Unplug aria-hidden />}
        <h2>{bridge.name || bridge.id}</h2>
        <span className="pill" data-tone={bridge.connected ? "ok" : "bad"}>{bridge.connected ? "connected" : "away"}</span>
      </header>
      <p className="quiet">
        {facts.filter(Boolean).join(", ")}
        {!bridge.connected && bridge.lastSeenAt !== null && `, last seen ${ago(bridge.lastSeenAt, now)} ago`}
      </p>
      <div className="load" role="img" aria-label={`${bridge.active} of ${bridge.maxConcurrentRequests} places taken`}>
        {Array.from({ length: Math.min(bridge.maxConcurrentRequests, 40) }, (_, at) => <span key={at} data-taken={at < bridge.active} />)}
      </div>
      <p className="quiet">{bridge.active} of {plural(bridge.maxConcurrentRequests, "place")} taken{bridge.queued > 0 && `, ${bridge.queued} waiting`}{bridge.allowBypass && ", may run without asking"}</p>
      <ul className="agents">{bridge.agents.map((agent) => <AgentLine key={agent.id} agent={agent} />)}</ul>
      {bridge.workspaces.length > 0 && (
        <p className="quiet">Folders: {bridge.workspaces.map((one) => <code key={one.path}>{one.path}</code>)}</p>
      )}
    </section>
  );
}

function AgentLine({ agent }: { readonly agent: Agent }) {
  const command = /`([^`]+)`/.exec(agent.reason ?? "")?.[1];
  return (
    <li>
      {agent.available ? <Check aria-hidden /> : <CircleAlert aria-hidden />}
      <span>
        <strong>{agent.title || agent.id}</strong> {agent.available ? "ready" : "not available"}
        {agent.models.length > 0 && <small>{agent.models.join(", ")}</small>}
        {agent.reason !== undefined && <small>{agent.reason}</small>}
        {command !== undefined && <Command text={command} />}
      </span>
    </li>
  );
}
