import { CircleAlert, LoaderCircle, RefreshCw } from "lucide-react";
import { useEffect, useState } from "react";

import { connectionSentence, useActions, useNow, useSelector } from "../state";

/** A connection that comes back at once is no news. */
const QUIET_MS = 600;

/** Whether the page shows what is so: the connection, and a server of another version. */
export function Banner() {
  const connection = useSelector((state) => state.connection);
  const version = useSelector((state) => state.health?.version ?? null);
  const isOutdated = useSelector((state) => state.isOutdated) || (version !== null && version !== __BATON_VERSION__);
  return (
    <>
      {isOutdated && <OutdatedBanner version={version} />}
      {connection.phase !== "live" && connection.phase !== "refused" && <ConnectionBanner key={connection.phase} />}
    </>
  );
}

function OutdatedBanner({ version }: { readonly version: string | null }) {
  return (
    <div className="banner" data-tone="busy" role="status">
      <RefreshCw aria-hidden />
      <span>The server is version {version ?? "unknown"}, this page is {__BATON_VERSION__}. Load it again to go on safely; drafts stay.</span>
      <button type="button" className="button small" onClick={() => location.reload()}>Reload</button>
    </div>
  );
}

function ConnectionBanner() {
  const connection = useSelector((state) => state.connection);
  const { reconnectNow } = useActions();
  const now = useNow();
  const [isDue, setDue] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setDue(true), QUIET_MS);
    return () => clearTimeout(timer);
  }, []);
  if (!isDue) return null;
  const { text, canRetry, tone } = connectionSentence(connection, now);
  return (
    <div className="banner" data-tone={tone}>
      {tone === "bad" ? <CircleAlert aria-hidden /> : <LoaderCircle aria-hidden className="spin" />}
      {/* The clock in the sentence is not read aloud each second; the change of phase is. */}
      <span aria-hidden>{text}. {connection.phase === "lost" && "What you send is kept here until then."}</span>
      <span className="away" role="status">{connection.phase === "lost" ? "Connection lost" : text}</span>
      {canRetry && <button type="button" className="button small" onClick={reconnectNow}>Retry now</button>}
    </div>
  );
}
