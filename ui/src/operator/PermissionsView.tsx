import { Plus } from "lucide-react";
import { useCallback, useEffect, useState } from "react";

import { duration, fullTime, shortTime } from "../app/format";
import { conversationPath } from "../app/router";
import { Dialog } from "../kit/Dialog";
import { Link } from "../kit/Link";
import { Picker } from "../kit/Picker";
import { told, toast } from "../kit/toasts";
import { useActions, useSelector } from "../state";
import { showHidden } from "../text/clean";
import type { AuditEntry, Grant } from "../wire/types";
import { GrantForm } from "./GrantForm";
import { outcomeWord } from "./words";

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

const WIDE = "";
const MOST_LISTED = 50;

/** Standing permissions: those that reach far, or all that reach one conversation. */
function Grants() {
  const { grants, wideGrants, revokeGrant, revokeWideGrant } = useActions();
  const conversations = useSelector((state) => state.conversations);
  const list = [...conversations.values()].map((entry) => entry.conversation).filter((one) => one.status === "active").sort((a, b) => b.updatedAt.localeCompare(a.updatedAt));
  const isAdmin = useSelector((state) => state.me?.role === "admin");
  const [picked, setPicked] = useState<string | null>(null);
  const shownFor = picked ?? (isAdmin ? WIDE : (list[0]?.id ?? null));
  const [found, setFound] = useState<readonly Grant[] | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [isGiving, setGiving] = useState(false);
  const load = useCallback(async () => {
    if (shownFor === null) return setFound([]);
    const answer = await (shownFor === WIDE ? wideGrants() : grants(shownFor));
    setProblem(answer.ok ? null : answer.error.message);
    if (answer.ok) setFound(answer.permissions);
  }, [grants, wideGrants, shownFor]);
  useEffect(() => void load(), [load]);

  const revoke = async (grant: Grant) => {
    if (shownFor === null) return;
    if (told(await (shownFor === WIDE ? revokeWideGrant(grant.id) : revokeGrant(shownFor, grant.id))).ok) toast(`${grant.toolName} is asked about again.`);
    await load();
  };
  const given = (grant: Grant) => {
    setGiving(false);
    toast(`${showHidden(grant.toolName)} is ${grant.effect === "allow" ? "allowed" : "denied"} from now on.`);
    const next = grant.scope === "conversation" && grant.conversationId !== null ? grant.conversationId : WIDE;
    if (next === shownFor) void load();
    else setPicked(next);
  };
  const choices = [...(isAdmin ? [{ value: WIDE, label: "Everywhere and in projects" }] : []), ...list.slice(0, MOST_LISTED).map((one) => ({ value: one.id, label: one.title || "Untitled" }))];
  return (
    <section className="card" aria-label="Standing permissions">
      <header>
        <h2>Standing permissions</h2>
        <Picker label="That reach" value={shownFor ?? ""} shown={shownFor === null ? "No conversation yet" : undefined} choices={choices} onChange={setPicked} />
        <button type="button" className="button small push" onClick={() => setGiving(true)}><Plus aria-hidden />Allow or deny a tool</button>
      </header>
      {problem !== null && <p className="problem" role="alert">{problem} <button type="button" className="button small" onClick={() => void load()}>Try again</button></p>}
      {found?.length === 0 && <p className="quiet">{shownFor === WIDE ? "None. They are given here, or when somebody answers with “always”." : "None reaches this conversation. They are given here, or when somebody answers with “in this conversation” or “always”."}</p>}
      {found !== null && found.length > 0 && <GrantTable grants={found} onRevoke={(grant) => void revoke(grant)} />}
      <Dialog isOpen={isGiving} onClose={() => setGiving(false)} title="Allow or deny a tool">
        <GrantForm conversationId={shownFor === WIDE ? null : shownFor} onDone={given} onCancel={() => setGiving(false)} />
      </Dialog>
    </section>
  );
}

/** On a phone each row is a block; the roles say that it is a table all the same. */
function GrantTable({ grants, onRevoke }: { readonly grants: readonly Grant[]; readonly onRevoke: (grant: Grant) => void }) {
  return (
    <div className="table blocks" role="region" aria-label="Standing permissions" tabIndex={0}>
      <table role="table">
        <thead role="rowgroup"><tr role="row">{["Effect", "Tool", "Only for", "Where", "Until", "Given"].map((name) => <th key={name} role="columnheader">{name}</th>)}<th role="columnheader"><span className="away">Actions</span></th></tr></thead>
        <tbody role="rowgroup">
          {grants.map((grant) => (
            <tr key={grant.id} role="row" data-ended={grant.status !== "granted"}>
              <td role="cell"><span className="pill" data-tone={grant.effect === "allow" ? "ok" : "bad"}>{outcomeWord(grant.effect)}</span></td>
              <td role="cell" className="tool-cell">{showHidden(grant.toolName)}</td>
              <td role="cell">{grant.pattern === null ? <span className="quiet">any input</span> : <code>{showHidden(grant.pattern)}</code>}</td>
              <td role="cell"><Where grant={grant} /></td>
              <td role="cell" data-label="until">{grant.expiresAt === null ? <span className="quiet">taken back</span> : <time dateTime={grant.expiresAt} title={fullTime(grant.expiresAt)}>{shortTime(grant.expiresAt)}</time>}</td>
              <td role="cell" data-label="given"><time dateTime={grant.createdAt} title={fullTime(grant.createdAt)}>{shortTime(grant.createdAt)}</time>{grant.createdBy !== null && <small>by {grant.createdBy}</small>}</td>
              <td role="cell" className="act">{grant.status === "granted" ? <button type="button" className="button small" onClick={() => onRevoke(grant)}>Revoke</button> : grant.status}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Where({ grant }: { readonly grant: Grant }) {
  const project = useSelector((state) => state.projects?.find((one) => one.id === grant.projectId));
  if (grant.scope === "all") return "everywhere";
  if (grant.scope === "project") return `project ${project?.name ?? "that is gone"}`;
  return "this conversation";
}

/** What was decided, by whom and why. */
function Audit() {
  const { audit } = useActions();
  const [entries, setEntries] = useState<readonly AuditEntry[] | null>(null);
  const [next, setNext] = useState<string | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const load = useCallback(async (cursor: string | null) => {
    const answer = await audit({ next: cursor, limit: 25 });
    if (!answer.ok) return setProblem(answer.error.code === "forbidden" ? "Only admins see the audit." : answer.error.message);
    setProblem(null);
    setEntries((now) => (cursor === null ? answer.entries : [...(now ?? []), ...answer.entries]));
    setNext(answer.next);
  }, [audit]);
  useEffect(() => void load(null), [load]);
  return (
    <section className="card" aria-label="Decisions">
      <h2>Decisions, and what people did</h2>
      {problem !== null && <p className="quiet">{problem}</p>}
      {problem === null && entries?.length === 0 && <p className="quiet">None yet.</p>}
      {entries !== null && entries.length > 0 && (
        <div className="table blocks" role="region" aria-label="Decisions" tabIndex={0}>
          <table role="table">
            <thead role="rowgroup"><tr role="row">{["When", "Decision", "Tool", "Risk", "Conversation", "Why"].map((name) => <th key={name} role="columnheader">{name}</th>)}</tr></thead>
            <tbody role="rowgroup">{entries.map((entry) => (entry.action === "prompt.decided" ? <Decision key={entry.id} entry={entry} /> : <Deed key={entry.id} entry={entry} />))}</tbody>
          </table>
        </div>
      )}
      {next !== null && <button type="button" className="button small" onClick={() => void load(next)}>Older ones</button>}
    </section>
  );
}

function Decision({ entry }: { readonly entry: AuditEntry }) {
  return (
    <tr role="row">
      <When entry={entry} />
      <td role="cell"><span className="pill" data-tone={toneOf(entry.outcome)}>{outcomeWord(entry.outcome)}</span>{entry.latencyMs > 0 && <small>{entry.userId !== null && `by ${entry.userId} `}after {duration(entry.latencyMs)}</small>}</td>
      <td role="cell" className="tool-cell">{showHidden(entry.toolName ?? entry.type)}</td>
      <td role="cell"><span className="risk" data-risk={entry.riskLevel}>{entry.riskLevel.toLowerCase()}</span></td>
      <td role="cell" className="cut"><InConversation entry={entry} /></td>
      <td role="cell" className="why">{showHidden(entry.reason)}</td>
    </tr>
  );
}

/** Something that a person did beside deciding: what, who and where from, about what. */
function Deed({ entry }: { readonly entry: AuditEntry }) {
  return (
    <tr role="row">
      <When entry={entry} />
      <td role="cell">{entry.action}<small>by {entry.userId ?? "nobody known"}{entry.address !== null && ` from ${entry.address}`}</small></td>
      <td role="cell" />
      <td role="cell" />
      <td role="cell" className="cut"><InConversation entry={entry} /></td>
      <td role="cell" className="why">{entry.subject === null ? "" : showHidden(entry.subject)}</td>
    </tr>
  );
}

function When({ entry }: { readonly entry: AuditEntry }) {
  return <td role="cell"><time dateTime={entry.createdAt} title={fullTime(entry.createdAt)}>{shortTime(entry.createdAt)}</time></td>;
}

function InConversation({ entry: { conversationId } }: { readonly entry: AuditEntry }) {
  const title = useSelector((state) => (conversationId === null ? undefined : state.conversations.get(conversationId)?.conversation.title));
  if (conversationId === null) return null;
  return <Link to={conversationPath(conversationId)}>{title === undefined ? "Open" : title || "Untitled"}</Link>;
}

function toneOf(outcome: string): string {
  if (outcome === "allow" || outcome === "answered") return "ok";
  return outcome === "deny" ? "bad" : "busy";
}
