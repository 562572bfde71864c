/** Brings Claude Code's own sessions from the machine of a bridge. Loaded when it is opened. */
import { Check, CircleAlert, LoaderCircle } from "lucide-react";
import { useCallback, useEffect, useState } from "react";

import { ago, bytes, fullTime, plural } from "../app/format";
import { conversationPath } from "../app/router";
import { Dialog } from "../kit/Dialog";
import { Link } from "../kit/Link";
import { Picker } from "../kit/Picker";
import { useActions, useNow, useSelector } from "../state";
import { showHidden } from "../text/clean";
import type { AgentSessionResource, ApiError, Bridge } from "../wire/types";

const AGENT = "claude";

interface ImportDialogProps {
  /** The bridge to begin with; null: the first that has Claude Code. */
  readonly bridgeId: string | null;
  readonly onClose: () => void;
}

export default function ImportDialog({ bridgeId, onClose }: ImportDialogProps) {
  const bridges = useSelector((state) => state.bridges?.filter(({ connected, agents }) => connected && agents.some(({ id }) => id === AGENT)) ?? []);
  const [picked, setPicked] = useState(bridgeId);
  const bridge = bridges.find((one) => one.id === picked) ?? bridges[0];
  return (
    <Dialog isOpen onClose={onClose} title="Import from Claude Code" size="wide">
      <p className="lead">What you did with Claude Code in a terminal goes on here: everything that was said, and the next message resumes the session. Do not go on with it in the terminal too.</p>
      {bridge === undefined ? (
        <p className="notice" data-tone="busy" role="status"><CircleAlert aria-hidden />No bridge with Claude Code is connected. Sessions are read by the bridge of the machine on which they are.</p>
      ) : (
        <Folder key={bridge.id} bridge={bridge} bridges={bridges} onBridge={setPicked} onClose={onClose} />
      )}
    </Dialog>
  );
}

interface FolderProps {
  readonly bridge: Bridge;
  readonly bridges: readonly Bridge[];
  readonly onBridge: (id: string) => void;
  readonly onClose: () => void;
}

const NO_PROJECT = "";

/** Where to look, and for which project. */
function Folder({ bridge, bridges, onBridge, onClose }: FolderProps) {
  const projects = useSelector((state) => state.projects) ?? [];
  const [folder, setFolder] = useState(bridge.workspaces[0]?.path ?? null);
  const [projectId, setProjectId] = useState(NO_PROJECT);
  return (
    <>
      <div className="picker-row">
        {bridges.length > 1 && <Picker label="Bridge" value={bridge.id} shown={bridge.name} choices={bridges.map((one) => ({ value: one.id, label: one.name, hint: one.hostname }))} onChange={onBridge} />}
        {bridge.workspaces.length > 0 && <Picker label="Folder" value={folder ?? ""} shown={folder ?? "Folder"} choices={bridge.workspaces.map((one) => ({ value: one.path, label: one.path }))} onChange={setFolder} />}
        {projects.length > 0 && <Picker label="Into the project" value={projectId} shown={projects.find((one) => one.id === projectId)?.name ?? "No project"} choices={[{ value: NO_PROJECT, label: "No project" }, ...projects.map((one) => ({ value: one.id, label: one.name }))]} onChange={setProjectId} />}
      </div>
      <Sessions key={folder} bridgeId={bridge.id} folder={folder} projectId={projectId === NO_PROJECT ? null : projectId} onClose={onClose} />
    </>
  );
}

type Outcome =
  | { readonly kind: "waits" | "works" }
  | { readonly kind: "done"; readonly conversationId: string; readonly isNew: boolean; readonly messages: number }
  | { readonly kind: "failed"; readonly problem: string };

interface SessionsProps {
  readonly bridgeId: string;
  readonly folder: string | null;
  readonly projectId: string | null;
  readonly onClose: () => void;
}

function Sessions({ bridgeId, folder, projectId, onClose }: SessionsProps) {
  const { found, next, error, isLoading, load } = useSessions(bridgeId, folder);
  const { outcomes, run, isRunning } = useImport({ bridgeId, folder, projectId });
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const choose = (id: string) => setChosen((now) => new Set(now.has(id) ? [...now].filter((one) => one !== id) : [...now, id]));
  const begin = async () => {
    const ids = [...chosen];
    setChosen(new Set());
    await run(ids);
  };
  const done = [...outcomes.values()].filter(({ kind }) => kind === "done").length;
  return (
    <>
      {error !== null && <p className="problem" role="alert">{error.message} <button type="button" className="button small" onClick={() => void load(null)}>Try again</button></p>}
      {found === null && error === null && <p className="quiet" role="status">Asking the bridge</p>}
      {found?.length === 0 && <p className="quiet">No session of Claude Code was kept for this folder.</p>}
      {found !== null && found.length > 0 && (
        <ul className="session-list" aria-label="Sessions">
          {found.map((session) => <SessionRow key={session.sessionId} session={session} isChosen={chosen.has(session.sessionId)} outcome={outcomes.get(session.sessionId)} onChoose={() => choose(session.sessionId)} onOpen={onClose} />)}
        </ul>
      )}
      {next !== null && <button type="button" className="button small" disabled={isLoading} onClick={() => void load(next)}>Show older ones</button>}
      <div className="form-foot">
        <span className="quiet" role="status">{isRunning ? "Importing" : done > 0 ? `${plural(done, "session")} imported` : ""}</span>
        <button type="button" className="button" onClick={onClose}>Close</button>
        <button type="button" className="button primary" disabled={chosen.size === 0 || isRunning} onClick={() => void begin()}>{chosen.size > 1 ? `Import ${chosen.size} sessions` : "Import"}</button>
      </div>
    </>
  );
}

interface SessionRowProps {
  readonly session: AgentSessionResource;
  readonly isChosen: boolean;
  readonly outcome: Outcome | undefined;
  readonly onChoose: () => void;
  readonly onOpen: () => void;
}

function SessionRow({ session, isChosen, outcome, onChoose, onOpen }: SessionRowProps) {
  const now = useNow(60_000);
  const title = showHidden(session.title) || "Untitled";
  const isOver = outcome !== undefined && outcome.kind !== "failed";
  return (
    <li>
      <label>
        <input type="checkbox" checked={isChosen} disabled={isOver} onChange={onChoose} />
        <span>
          <span className="session-title">{title}</span>
          <span className="facts">
            {session.updatedAt !== null && <time dateTime={session.updatedAt} title={fullTime(session.updatedAt)}>{lastUsed(session.updatedAt, now)}</time>}
            {` · ${bytes(session.sizeBytes)} · `}
            <code>{showHidden(session.workingDirectory)}</code>
          </span>
        </span>
      </label>
      {outcome !== undefined && <OutcomeMark outcome={outcome} onOpen={onOpen} />}
    </li>
  );
}

function lastUsed(time: string, now: number): string {
  const said = ago(time, now);
  return said === "now" ? "just now" : /\d (min|h|d)$/.test(said) ? `${said} ago` : said;
}

function OutcomeMark({ outcome, onOpen }: { readonly outcome: Outcome; readonly onOpen: () => void }) {
  switch (outcome.kind) {
    case "waits":
      return <span className="outcome quiet">Waits</span>;
    case "works":
      return <span className="outcome"><LoaderCircle aria-hidden className="spin" />Importing</span>;
    case "failed":
      return <span className="outcome problem"><CircleAlert aria-hidden />{outcome.problem}</span>;
    case "done":
      return (
        <span className="outcome">
          <Check aria-hidden />
          {outcome.isNew ? plural(outcome.messages, "message") : "Was here already"}
          <Link to={conversationPath(outcome.conversationId)} onClick={onOpen}>Open</Link>
        </span>
      );
  }
}

/** The sessions of a folder as far as they are loaded; null: not at all yet. */
function useSessions(bridgeId: string, workingDirectory: string | null) {
  const { sessions } = useActions();
  const [found, setFound] = useState<readonly AgentSessionResource[] | null>(null);
  const [next, setNext] = useState<string | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [isLoading, setLoading] = useState(false);
  const load = useCallback(async (cursor: string | null) => {
    setLoading(true);
    setError(null);
    const answer = await sessions({ bridgeId, workingDirectory, next: cursor });
    setLoading(false);
    if (!answer.ok) return setError(answer.error);
    setFound((before) => (cursor === null ? answer.sessions : [...(before ?? []), ...answer.sessions]));
    setNext(answer.next);
  }, [sessions, bridgeId, workingDirectory]);
  useEffect(() => void load(null), [load]);
  return { found, next, error, isLoading, load };
}

interface ImportInto {
  readonly bridgeId: string;
  readonly folder: string | null;
  readonly projectId: string | null;
}

/** Imports one session after the other, and keeps what became of each. */
function useImport({ bridgeId, folder, projectId }: ImportInto) {
  const { importSession } = useActions();
  const [outcomes, setOutcomes] = useState<ReadonlyMap<string, Outcome>>(new Map());
  const [isRunning, setRunning] = useState(false);
  const note = (id: string, outcome: Outcome) => setOutcomes((now) => new Map(now).set(id, outcome));
  const run = async (ids: readonly string[]) => {
    setRunning(true);
    for (const id of ids) note(id, { kind: "waits" });
    for (const sessionId of ids) {
      note(sessionId, { kind: "works" });
      const answer = await importSession({ sessionId, bridgeId, workingDirectory: folder, projectId });
      note(sessionId, answer.ok ? { kind: "done", conversationId: answer.conversation.id, isNew: answer.isNew, messages: answer.messageCount } : { kind: "failed", problem: answer.error.message });
    }
    setRunning(false);
  };
  return { outcomes, run, isRunning };
}
