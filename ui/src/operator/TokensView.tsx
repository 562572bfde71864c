/** Tokens, for admins: who can come in, one more of them, and one less. */
import { useCallback, useEffect, useState, type FormEvent } from "react";

import { fullTime } from "../app/format";
import { Command } from "../kit/Command";
import { Dialog } from "../kit/Dialog";
import { Picker } from "../kit/Picker";
import { told } from "../kit/toasts";
import { useActions, useNow } from "../state";
import { showHidden } from "../text/clean";
import type { AccountRole, ApiToken, CreateToken, NewTokenAnswer } from "../wire/types";

const ROLES: readonly { readonly value: AccountRole; readonly label: string; readonly detail: string }[] = [
  { value: "user", label: "User", detail: "A person: sees and runs what is their own" },
  { value: "bridge", label: "Bridge", detail: "A machine that runs agents, and nothing else" },
  { value: "admin", label: "Admin", detail: "A person who sees all, and makes tokens" },
];
const LIVES: readonly { readonly value: string; readonly label: string }[] = [
  { value: "", label: "For ever" },
  { value: "7", label: "7 days" },
  { value: "30", label: "30 days" },
  { value: "365", label: "A year" },
];

export function TokensView() {
  const { tokens: ask } = useActions();
  const [tokens, setTokens] = useState<readonly ApiToken[] | null>(null);
  const [made, setMade] = useState<NewTokenAnswer | null>(null);
  const load = useCallback(async () => {
    const answer = told(await ask());
    if (answer.ok) setTokens(answer.tokens);
  }, [ask]);
  useEffect(() => void load(), [load]);
  const show = (answer: NewTokenAnswer) => {
    setMade(answer);
    void load();
  };
  return (
    <>
      <h1>Tokens</h1>
      <p className="lead">Whoever comes in shows a token. What is done with it is done by its name, and belongs to that name.</p>
      <CreateForm onMade={show} />
      {tokens !== null && <List tokens={tokens} onChanged={() => void load()} />}
      <Dialog isOpen={made !== null} onClose={() => setMade(null)} title={`The token of ${made?.token.name ?? ""}`} description="Copy it now: it is shown this once, and only its hash is kept.">
        {made !== null && <Command text={made.secret} what="token" />}
      </Dialog>
    </>
  );
}

function CreateForm({ onMade }: { readonly onMade: (answer: NewTokenAnswer) => void }) {
  const { createToken } = useActions();
  const [role, setRole] = useState<AccountRole>("user");
  const [days, setDays] = useState("");
  const [isSameUser, setSameUser] = useState(false);
  const create = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const name = new FormData(form).get("name");
    if (typeof name !== "string" || name.trim() === "") return;
    const wish: CreateToken = { name: name.trim(), role, expiresInDays: days === "" ? null : Number(days), sameUser: isSameUser };
    const answer = told(await createToken(wish));
    if (!answer.ok) return;
    form.reset();
    setSameUser(false);
    onMade(answer);
  };
  const shown = ROLES.find(({ value }) => value === role);
  return (
    <section className="card">
      <h2>Make a token</h2>
      <form className="token-form" onSubmit={(event) => void create(event)}>
        <label htmlFor="token-name">Name</label>
        <input id="token-name" name="name" required maxLength={100} autoComplete="off" placeholder={role === "bridge" ? "my-laptop" : "anna"} />
        <Picker label="Role" value={role} shown={shown?.label ?? role} choices={ROLES} onChange={(value) => setRole(value as AccountRole)} />
        <Picker label="Counts" value={days} shown={LIVES.find(({ value }) => value === days)?.label ?? days} choices={LIVES} onChange={setDays} />
        <button type="submit" className="button small primary">Make it</button>
        {role !== "bridge" && (
          <label className="choice-line">
            <input type="checkbox" checked={isSameUser} onChange={(event) => setSameUser(event.currentTarget.checked)} />
            Another token of a user who has one, for one more device or member of a team
          </label>
        )}
      </form>
      <p className="quiet">{shown?.detail}.</p>
    </section>
  );
}

function List({ tokens, onChanged }: { readonly tokens: readonly ApiToken[]; readonly onChanged: () => void }) {
  const { revokeToken } = useActions();
  const now = useNow(30_000);
  const [asked, setAsked] = useState<ApiToken | null>(null);
  const revoke = async (token: ApiToken) => {
    setAsked(null);
    if (told(await revokeToken(token.id)).ok) onChanged();
  };
  return (
    <section className="card">
      <h2>All tokens</h2>
      <div className="table" role="region" aria-label="All tokens" tabIndex={0}>
        <table>
          <thead><tr><th>Name</th><th>Role</th><th>Made</th><th>Last used</th><th>Counts until</th><th><span className="away">Actions</span></th></tr></thead>
          <tbody>
            {tokens.map((token) => {
              const end = endOf(token, now);
              return (
                <tr key={token.id} data-ended={end !== null}>
                  <td>{showHidden(token.name)}{token.bridgeId !== null && <small> {showHidden(token.bridgeId)}</small>}</td>
                  <td>{token.role}</td>
                  <td>{fullTime(token.createdAt)}{token.createdBy !== null && `, ${token.createdBy}`}</td>
                  <td>{token.lastUsedAt === null ? "never" : fullTime(token.lastUsedAt)}</td>
                  <td>{token.expiresAt === null ? "for ever" : fullTime(token.expiresAt)}</td>
                  <td>{end ?? <button type="button" className="button small" aria-label={`Revoke ${token.name}`} onClick={() => setAsked(token)}>Revoke</button>}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      <Dialog isOpen={asked !== null} onClose={() => setAsked(null)} title={`Revoke the token of ${asked?.name ?? ""}?`} description="It opens nothing from now on, and what came in with it is closed at once. This cannot be undone.">
        <p className="row">
          <button type="button" className="button" onClick={() => setAsked(null)}>Keep it</button>
          {asked !== null && <button type="button" className="button" data-style="danger" onClick={() => void revoke(asked)}>Revoke it</button>}
        </p>
      </Dialog>
    </section>
  );
}

/** Why a token opens nothing any more; null: it does. */
function endOf(token: ApiToken, now: number): string | null {
  if (token.revokedAt !== null) return "revoked";
  return token.expiresAt !== null && Date.parse(token.expiresAt) <= now ? "expired" : null;
}
