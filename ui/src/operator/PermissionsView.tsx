import { useCallback, useEffect, useState } from "react";

import { duration, fullTime } from "../app/format";
import { conversationPath } from "../app/router";
import { Link } from "../kit/Link";
import { Picker } from "../kit/Picker";
import { told } from "../kit/toasts";
import { useActions, useSelector } from "../state";
import { showHidden } from "../text/clean";
import type { AuditEntry, Grant } from "../wire/types";

export function PermissionsView() {
  const isAdmin = useSelector((state) => state.me?.role === "admin");
  return (
    <>
      <h1>Permissions</h1>
      <p className="lead">What agents may do without asking, and every decision that was taken.</p>
      <Grants />
      {isAdmin && <Audit />}
    </>
  );
}

/** Standing permissions, as one conversation sees them: its own, its project's and those for everything. */
function Grants() {
  const { grants, revokeGrant } = useActions();
  const conversations = useSelector((state) => state.conversations);
  const list = [...conversations.values()].map((entry) => entry.conversation).filter((one) => one.status === "active").sort((a, b) => b.updatedAt.localeCompare(a.updatedAt));
  const [picked, setPicked] = useState<string | null>(null);
  const conversationId = picked ?? list[0]?.id ?? null;
  const [found, setFound] = useState<readonly Grant[] | null>(null);
  const load = useCallback(async () => {
    if (conversationId === null) return;
    const answer = told(await grants(conversationId));
    if (answer.ok) setFound(answer.permissions);
  }, [grants, conversationId]);
  useEffect(() => void load(), [load]);

  const revoke = async (grant: Grant) => {
    if (conversationId === null) return;
    if (told(await revokeGrant(conversationId, grant.id)).ok) await load();
  };
  if (conversationId === null) return <section className="card"><h2>Standing permissions</h2><p className="quiet">They are made when somebody answers with "always", and there is no conversation yet.</p></section>;
  return (
    <section className="card">
      <header>
        <h2>Standing permissions</h2>
        <Picker label="As seen by" value={conversationId} shown={list.find((one) => one.id === conversationId)?.title || "Untitled"} choices={list.slice(0, 30).map((one) => ({ value: one.id, label: one.title || "Untitled" }))} onChange={setPicked} />
      </header>
      {found?.length === 0 && <p className="quiet">None. They are made when somebody answers with "in this conversation" or "always".</p>}
      {found !== null && found.length > 0 && (
        <div className="table" role="region" aria-label="Standing permissions" tabIndex={0}>
          <table>
            <thead><tr><th>Effect</th><th>Tool</th><th>For</th><th>Scope</th><th>Since</th><th><span className="away">Actions</span></th></tr></thead>
            <tbody>
              {found.map((grant) => (
                <tr key={grant.id} data-ended={grant.status !== "granted"}>
                  <td><span className="pill" data-tone={grant.effect === "allow" ? "ok" : "bad"}>{grant.effect}</span></td>
                  <td>{showHidden(grant.toolName)}</td>
                  <td>{grant.pattern === null ? <span className="quiet">any input</span> : <code>{showHidden(grant.pattern)}</code>}</td>
                  <td>{grant.scope}</td>
                  <td>{fullTime(grant.createdAt)}{grant.createdBy !== null && `, ${grant.createdBy}`}</td>
                  <td>{grant.status === "granted" ? <button type="button" className="button small" onClick={() => void revoke(grant)}>Revoke</button> : grant.status}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function Audit() {
  const { audit } = useActions();
  const [entries, setEntries] = useState<readonly AuditEntry[]>([]);
  const [next, setNext] = useState<string | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const load = useCallback(async (cursor: string | null) => {
    const answer = await audit({ next: cursor, limit: 50 });
    if (!answer.ok) return setProblem(answer.error.code === "forbidden" ? "Only admins see the audit." : answer.error.message);
    setEntries((now) => (cursor === null ? answer.entries : [...now, ...answer.entries]));
    setNext(answer.next);
  }, [audit]);
  useEffect(() => void load(null), [load]);
  return (
    <section className="card">
      <h2>Decisions, and what people did</h2>
      {problem !== null && <p className="quiet">{problem}</p>}
      {problem === null && entries.length === 0 && <p className="quiet">None yet.</p>}
      {entries.length > 0 && (
        <div className="table" role="region" aria-label="Decisions" tabIndex={0}>
          <table>
            <thead><tr><th>When</th><th>Tool</th><th>Risk</th><th>Decision</th><th>Why</th><th>Took</th></tr></thead>
            <tbody>
              {entries.map((entry) => (
                <tr key={entry.id}>
                  <td>{entry.conversationId === null ? fullTime(entry.createdAt) : <Link to={conversationPath(entry.conversationId)}>{fullTime(entry.createdAt)}</Link>}</td>
                  {entry.action === "prompt.decided" ? <Decision entry={entry} /> : <Deed entry={entry} />}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {next !== null && <button type="button" className="button small" onClick={() => void load(next)}>Older ones</button>}
    </section>
  );
}

function Decision({ entry }: { readonly entry: AuditEntry }) {
  return (
    <>
      <td>{showHidden(entry.toolName ?? entry.type)}</td>
      <td>{entry.riskLevel}</td>
      <td><span className="pill" data-tone={toneOf(entry.outcome)}>{entry.outcome}</span> {entry.userId}</td>
      <td>{showHidden(entry.reason)}</td>
      <td>{duration(entry.latencyMs)}</td>
    </>
  );
}

/** Something that a person did beside deciding: what, who and where from, about what. */
function Deed({ entry }: { readonly entry: AuditEntry }) {
  return (
    <>
      <td>{entry.action}</td>
      <td />
      <td>{entry.userId ?? "nobody known"}{entry.address !== null && <small className="quiet"> from {entry.address}</small>}</td>
      <td>{entry.subject === null ? "" : showHidden(entry.subject)}</td>
      <td />
    </>
  );
}

function toneOf(outcome: string): string {
  if (outcome === "allow" || outcome === "answered") return "ok";
  return outcome === "deny" ? "bad" : "busy";
}
