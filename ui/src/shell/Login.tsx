import { useState, type FormEvent } from "react";

import { useActions, useSelector } from "../state";
import { Command } from "../kit/Command";

/** Where no valid token is: what to type, and where to find it. */
export function Login() {
  const { login, reconnectNow } = useActions();
  const reason = useSelector((state) => (state.connection.code === "unauthenticated" ? null : state.connection.reason));
  const [problem, setProblem] = useState(location.hash === "#token-refused" ? "That token is not valid." : "");
  const [isBusy, setBusy] = useState(false);

  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const token = new FormData(event.currentTarget).get("token");
    setBusy(true);
    const answer = await login(typeof token === "string" ? token.trim() : "");
    setBusy(false);
    if (answer.ok) reconnectNow();
    else setProblem(answer.error.message);
  };

  return (
    <main className="login">
      <form onSubmit={(event) => void submit(event)}>
        <img src="/static/favicon.svg" alt="" width={40} height={40} />
        <h1>Baton</h1>
        <p>Paste the token of this server. Its first start printed a link that holds it; this prints it again:</p>
        <Command text="baton token show" />
        <label htmlFor="token">Token</label>
        <input id="token" name="token" type="password" required autoComplete="current-password" maxLength={512} spellCheck={false} autoFocus aria-describedby="login-problem" />
        <p id="login-problem" role="alert" className="problem">{problem || reason}</p>
        <button type="submit" className="button primary" disabled={isBusy}>Log in</button>
      </form>
    </main>
  );
}
