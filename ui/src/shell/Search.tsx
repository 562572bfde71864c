import { useEffect, useState } from "react";

import { ago } from "../app/format";
import { conversationPath } from "../app/router";
import { Link } from "../kit/Link";
import { useActions, useNow } from "../state";
import type { SearchHit } from "../wire/types";
import { showHidden } from "../text/clean";

const PAUSE_MS = 200;

interface Found {
  readonly query: string;
  readonly hits: readonly SearchHit[];
  readonly next: string | null;
  readonly problem: string;
}

/** What was found; each hit leads to its message. */
export function Search({ query }: { readonly query: string }) {
  const { search } = useActions();
  const now = useNow(60_000);
  const [found, setFound] = useState<Found | null>(null);
  useEffect(() => {
    let isWanted = true;
    const timer = setTimeout(() => {
      void search({ q: query }).then((answer) => {
        if (!isWanted) return;
        setFound(answer.ok ? { query, hits: answer.results, next: answer.next, problem: "" } : { query, hits: [], next: null, problem: answer.error.message });
      });
    }, PAUSE_MS);
    return () => {
      isWanted = false;
      clearTimeout(timer);
    };
  }, [query, search]);

  const more = async () => {
    if (found?.next == null) return;
    const answer = await search({ q: query, next: found.next });
    if (answer.ok) setFound({ ...found, hits: [...found.hits, ...answer.results], next: answer.next });
  };
  return (
    <section className="group" aria-label="Search results">
      <p className="away" role="status">{found?.query === query ? `${found.hits.length} found` : "Searching"}</p>
      <ul>
        {found?.hits.map((hit, at) => (
          <li key={`${hit.conversationId}-${hit.messageId ?? at}`} className="entry hit">
            <Link to={conversationPath(hit.conversationId, hit.messageId)}>
              <span className="entry-title">{hit.title || "Untitled"}</span>
              <span className="snippet">{snippet(hit.snippet)}</span>
              <span className="entry-facts">
                <span>{hit.role === "user" ? "You" : hit.role === null ? "Title" : "Agent"}</span>
                <span className="entry-time">{ago(hit.createdAt, now)}</span>
              </span>
            </Link>
          </li>
        ))}
      </ul>
      {found?.problem && <p className="problem padded">{found.problem}</p>}
      {found !== null && found.query === query && found.hits.length === 0 && !found.problem && <p className="quiet padded">Nothing has all of these words.</p>}
      {found?.next != null && <button type="button" className="button small quiet" onClick={() => void more()}>Show more</button>}
    </section>
  );
}

/** Matches stand between U+E000 and U+E001. */
function snippet(text: string) {
  return text.split("\ue000").flatMap((part, at) => {
    if (at === 0) return [showHidden(part)];
    const [match = "", rest = ""] = part.split("\ue001");
    return [<mark key={at}>{showHidden(match)}</mark>, showHidden(rest)];
  });
}
