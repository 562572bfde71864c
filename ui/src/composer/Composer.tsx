import { Cpu, Shield } from "lucide-react";
import { useMemo } from "react";

import { modelName, modeName } from "../app/format";
import { Picker } from "../kit/Picker";
import { told } from "../kit/toasts";
import { activeRun, agentsOf, contentOf, messageOf, shallowEqual, useActions, useSelector, type Thread } from "../state";
import type { PermissionMode } from "../wire/types";
import { MessageBox } from "./MessageBox";
import { modeChoices, nextMode } from "./modes";

/** The message box of a conversation. */
export function Composer({ thread }: { readonly thread: Thread }) {
  const { conversationId, conversation } = thread;
  const { send, abort, setMode, patchConversation } = useActions();
  const run = activeRun(thread);
  const offers = useSelector(agentsOf, sameOffers);
  const bridge = useSelector((state) => state.bridges?.find((one) => one.id === conversation?.bridgeId && one.connected) ?? state.bridges?.find((one) => one.connected));
  const lastSent = useMemo(() => lastOwn(thread), [thread]);
  const mode = conversation?.permissionMode ?? "default";
  const model = conversation?.model ?? "";
  const offer = offers.find(({ agent }) => agent.id === conversation?.agent)?.agent;
  const models = offer?.models ?? [];
  const modes = modeChoices(bridge?.allowBypass === true);

  const change = (next: string) => void setMode(conversationId, next as PermissionMode).then(told);
  return (
    <MessageBox
      draftKey={conversationId}
      conversationId={conversationId}
      bridgeId={bridge?.id ?? null}
      placeholder={run === undefined ? "Message the agent" : "Add a message; it waits for its turn"}
      lastSent={lastSent}
      onSend={(content, attachments) => void send({ conversationId, content, ...(attachments.length > 0 ? { attachments } : {}) })}
      onStop={run === undefined ? null : () => void abort(run.requestId).then(told)}
      onNextMode={() => change(nextMode(mode))}
      pickers={
        <>
          <Picker label="Permission mode" icon={<Shield aria-hidden />} value={mode} choices={modes} onChange={change} shown={modeName(mode)} isLoud={mode === "bypassPermissions"} />
          {models.length > 1 && (
            <Picker
              label="Model"
              icon={<Cpu aria-hidden />}
              value={model}
              shown={model === "" ? "Default model" : modelName(model)}
              choices={[{ value: "", label: "Default model" }, ...models.map((one) => ({ value: one, label: modelName(one) }))]}
              onChange={(next) => void patchConversation(conversationId, { model: next === "" ? null : next }).then(told)}
            />
          )}
        </>
      }
    />
  );
}

function sameOffers(a: ReturnType<typeof agentsOf>, b: ReturnType<typeof agentsOf>): boolean {
  return a.length === b.length && a.every((one, at) => shallowEqual(one, b[at]));
}

function lastOwn(thread: Thread): string | null {
  for (let at = thread.ids.length - 1; at >= Math.max(0, thread.ids.length - 200); at -= 1) {
    const message = messageOf(thread, thread.ids[at] ?? "");
    if (message?.role === "user") return contentOf(message);
  }
  return null;
}
