import { useEffect, useState } from "react";

import { conversationPath, navigate } from "../app/router";
import { useActions, useSelector } from "../state";

/** A link that names the agent's session: to its conversation, or a word that there is none. */
export function SessionLink({ sessionId }: { readonly sessionId: string }) {
  const { findBySession } = useActions();
  const isLive = useSelector((state) => state.connection.phase === "live");
  const [problem, setProblem] = useState("");
  useEffect(() => {
    if (!isLive) return;
    let isWanted = true;
    void findBySession(sessionId).then((conversation) => {
      if (!isWanted) return;
      if (conversation === null) setProblem("No conversation has this session.");
      else navigate(conversationPath(conversation.id), { isReplacing: true });
    });
    return () => {
      isWanted = false;
    };
  }, [findBySession, sessionId, isLive]);
  return <p className="blank" role="status">{problem || "Looking for the session"}</p>;
}
