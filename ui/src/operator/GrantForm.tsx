import { useState, type FormEvent } from "react";

import { Field, inWords } from "../kit/Field";
import { Picker } from "../kit/Picker";
import { Switch } from "../kit/Switch";
import { useActions, useSelector } from "../state";
import type { ApiError, CreateGrant, GrantAnswer } from "../wire/types";
import { EXPIRIES, expiryOf, patternHint, problemsOf, TOOLS, type Expiry } from "./grants";

type Scope = "all" | "project" | "conversation";

const SCOPES: readonly { readonly value: Scope; readonly label: string }[] = [
  { value: "all", label: "Everywhere" },
  { value: "project", label: "One project" },
  { value: "conversation", label: "One conversation" },
];
const EFFECTS = [
  { value: "allow", label: "Allow" },
  { value: "deny", label: "Deny" },
] as const;

interface GrantFormProps {
  /** Where one was when one opened the form; null: nowhere in particular. */
  readonly conversationId: string | null;
  readonly onDone: (grant: GrantAnswer["permission"]) => void;
  readonly onCancel: () => void;
}

/** Allows or denies a tool by hand. What the server has against a value stands below it. */
export function GrantForm({ conversationId, onDone, onCancel }: GrantFormProps) {
  const { giveGrant, giveWideGrant } = useActions();
  // What reaches further than one's own conversations is for admins.
  const isAdmin = useSelector((state) => state.me?.role === "admin");
  const [scope, setScope] = useState<Scope>(conversationId === null && isAdmin ? "all" : "conversation");
  const [projectId, setProjectId] = useState<string | null>(null);
  const [conversation, setConversation] = useState(conversationId);
  const [effect, setEffect] = useState<"allow" | "deny">("allow");
  const [tool, setTool] = useState("");
  const [expiry, setExpiry] = useState<Expiry>("never");
  const [error, setError] = useState<ApiError | null>(null);
  const [isSending, setSending] = useState(false);

  const save = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const pattern = textOf(form, "pattern");
    const grant: CreateGrant = { toolName: tool.trim(), effect, pattern: pattern === "" ? null : pattern, expiresAt: expiryOf(expiry, textOf(form, "at"), Date.now()) };
    const missing = missingOf(grant.toolName, scope, projectId, conversation);
    if (missing !== null) return setError(missing);
    setSending(true);
    const answer =
      scope === "conversation" && conversation !== null ? await giveGrant(conversation, { ...grant, scope }) : await giveWideGrant({ ...grant, projectId: scope === "project" ? projectId : null });
    setSending(false);
    if (answer.ok) onDone(answer.permission);
    else setError(answer.error);
  };
  const problems = problemsOf(error);
  return (
    <form className="stack" noValidate onSubmit={(event) => void save(event)}>
      <Switch label="What it does" value={effect} choices={EFFECTS} onChange={setEffect} />
      <Field label="Tool" hint={<>Its name, or <code>mcp__server__*</code> for all tools of a server.</>} problems={problems.toolName}>
        {(control) => <input {...control} list="grant-tools" autoComplete="off" spellCheck={false} maxLength={200} autoFocus value={tool} onChange={(event) => setTool(event.target.value)} />}
      </Field>
      <datalist id="grant-tools">{TOOLS.map((name) => <option key={name} value={name} />)}</datalist>
      <Field label="Only for" hint={patternHint(tool)} problems={problems.pattern}>
        {(control) => <input {...control} name="pattern" className="mono" autoComplete="off" spellCheck={false} maxLength={500} placeholder="Any input" />}
      </Field>
      <div className="field" role="group" aria-labelledby="grant-where">
        <span id="grant-where" className="field-label">Where</span>
        {isAdmin && <Switch label="Where" value={scope} choices={SCOPES} onChange={setScope} />}
        {scope === "project" && <ProjectPicker value={projectId} onChange={setProjectId} />}
        {scope === "conversation" && <ConversationPicker value={conversation} onChange={setConversation} />}
        {(problems.projectId ?? problems.conversationId) !== undefined && <p className="problem" role="alert">{inWords(problems.projectId ?? problems.conversationId ?? [])}</p>}
      </div>
      <div className="field">
        <span className="field-label">Until</span>
        <Picker label="Until" value={expiry} choices={EXPIRIES} onChange={(value) => setExpiry(value as Expiry)} />
        {expiry === "at" && <input name="at" type="datetime-local" aria-label="Date and time" aria-invalid={problems.expiresAt !== undefined} />}
        {problems.expiresAt !== undefined && <p className="problem" role="alert">{inWords(problems.expiresAt)}</p>}
      </div>
      {problems.other.length > 0 && <p className="problem" role="alert">{inWords(problems.other)}</p>}
      <div className="form-foot">
        <button type="button" className="button" onClick={onCancel}>Cancel</button>
        <button type="submit" className="button primary" disabled={isSending}>{effect === "allow" ? "Allow from now on" : "Deny from now on"}</button>
      </div>
    </form>
  );
}

function textOf(form: FormData, name: string): string {
  const value = form.get(name);
  return typeof value === "string" ? value.trim() : "";
}

/** What only the page can know to be missing, in the shape in which the server tells of the rest. */
function missingOf(tool: string, scope: Scope, projectId: string | null, conversationId: string | null): ApiError | null {
  const fields: Record<string, readonly string[]> = {};
  if (tool === "") fields.toolName = ["Name the tool."];
  if (scope === "project" && projectId === null) fields.projectId = ["Choose a project."];
  if (scope === "conversation" && conversationId === null) fields.conversationId = ["Choose a conversation."];
  return Object.keys(fields).length === 0 ? null : { code: "invalid_payload", message: "Something is missing", retryable: false, fields };
}

interface ChoiceProps {
  readonly value: string | null;
  readonly onChange: (id: string) => void;
}

function ProjectPicker({ value, onChange }: ChoiceProps) {
  const projects = useSelector((state) => state.projects) ?? [];
  if (projects.length === 0) return <p className="field-hint">There is no project yet.</p>;
  return <Picker label="Project" value={value ?? ""} shown={projects.find((one) => one.id === value)?.name ?? "Choose a project"} choices={projects.map((one) => ({ value: one.id, label: one.name }))} onChange={onChange} />;
}

const MOST_LISTED = 50;

export function ConversationPicker({ value, onChange }: ChoiceProps) {
  const conversations = useSelector((state) => state.conversations);
  const list = [...conversations.values()].map((entry) => entry.conversation).filter((one) => one.status === "active").sort((a, b) => b.updatedAt.localeCompare(a.updatedAt));
  if (list.length === 0) return <p className="field-hint">There is no conversation yet.</p>;
  const title = list.find((one) => one.id === value)?.title;
  return <Picker label="Conversation" value={value ?? ""} shown={value === null ? "Choose a conversation" : title || "Untitled"} choices={list.slice(0, MOST_LISTED).map((one) => ({ value: one.id, label: one.title || "Untitled" }))} onChange={onChange} />;
}
