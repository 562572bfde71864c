import { Bot, Cpu, Folder, PanelLeft, Plug, Shield } from "lucide-react";
import { useEffect, useState } from "react";

import { folderName, modeName, modelName } from "../app/format";
import { preferences, setPreferences, type LastChoice } from "../app/preferences";
import { conversationPath, navigate } from "../app/router";
import { MessageBox } from "../composer/MessageBox";
import { modeChoices, nextMode } from "../composer/modes";
import { Notice } from "../kit/Notice";
import { Picker } from "../kit/Picker";
import { told } from "../kit/toasts";
import { bridgeFacts, outboxOf, useActions, useSelector } from "../state";
import type { Bridge, PermissionMode, Project } from "../wire/types";
import { Unsent } from "../thread/UserMessage";
import { ImportButton } from "./ImportButton";
import { ProjectForm } from "./ProjectForm";

interface NewChatProps {
  readonly projectId: string | null;
  readonly onOpenSidebar: () => void;
}

const NONE: readonly Bridge[] = [];

/** Where a conversation begins: who answers, where it works, and the first message. */
export function NewChat({ projectId, onOpenSidebar }: NewChatProps) {
  const [choice, setChoice] = useState<LastChoice>(() => preferences().lastChoice);
  const [project, setProject] = useState(projectId);
  useEffect(() => setProject(projectId), [projectId]);
  const bridges = useSelector((state) => state.bridges?.filter((bridge) => bridge.connected) ?? NONE);
  const projects = useSelector((state) => state.projects) ?? [];
  const unsent = useSelector((state) => outboxOf(state, null));
  const facts = useSelector((state) => bridgeFacts(state, null, location.origin));
  const { send } = useActions();
  const here = settle(choice, bridges);
  const chosenProject = projects.find((one) => one.id === project) ?? null;
  // A project that has a folder works there, wherever the last chat did.
  const folder = chosenProject?.workingDirectory ?? here.folder;
  const agent = here.bridge?.agents.find((one) => one.id === here.agent);
  useEffect(() => {
    document.getElementById("composer")?.focus();
  }, []);

  const change = (next: Partial<LastChoice>) => {
    const changed = { ...choice, ...next };
    setChoice(changed);
    setPreferences({ lastChoice: changed });
  };
  const begin = (content: string, attachments: readonly string[]) => {
    const { sent } = send({
      content,
      ...(attachments.length > 0 ? { attachments } : {}),
      ...(here.agent === null ? {} : { agent: here.agent }),
      ...(here.model === null ? {} : { model: here.model }),
      ...(bridges.length > 1 && here.bridge !== null ? { bridgeId: here.bridge.id } : {}),
      ...(folder === null ? {} : { workingDirectory: folder }),
      ...(chosenProject === null ? {} : { projectId: chosenProject.id }),
      permissionMode: here.mode as PermissionMode,
    });
    void sent.then((answer) => told(answer).ok && "conversationId" in answer && navigate(conversationPath(answer.conversationId)));
  };
  return (
    <>
      <header className="thread-header bare">
        <button type="button" className="icon-button open-sidebar" aria-label="Show the list" onClick={onOpenSidebar}><PanelLeft aria-hidden /></button>
      </header>
      <div className="new-chat-page">
        <div className="new-chat-inner">
          <h1>What should be done{chosenProject === null ? "" : ` in ${chosenProject.name}`}?</h1>
          {facts.kind !== "ok" && facts.kind !== "unknown" && <Notice tone="busy" text={facts.text} command={facts.command} />}
          {agent !== undefined && !agent.available && <Notice tone="bad" text={agent.reason ?? `${agent.title} is not available.`} command={/`([^`]+)`/.exec(agent.reason ?? "")?.[1] ?? null} />}
          {unsent.map((entry) => <Unsent key={entry.requestId} requestId={entry.requestId} />)}
          <MessageBox
            draftKey="new"
            conversationId={null}
            bridgeId={here.bridge?.id ?? null}
            placeholder="Describe it in your own words"
            lastSent={null}
            onStop={null}
            onSend={begin}
            onNextMode={() => change({ mode: nextMode(here.mode) })}
            pickers={<Pickers here={here} folderOfProject={chosenProject?.workingDirectory ?? null} bridges={bridges} onChange={change} />}
          />
          <div className="below-box">
            <ProjectForm projects={projects} value={chosenProject} onChange={(next: Project | null) => setProject(next?.id ?? null)} />
            {here.bridge?.agents.some(({ id }) => id === "claude") && <ImportButton bridgeId={here.bridge.id} className="picker" />}
          </div>
          <p className="new-chat-hints">
            <span><kbd>@</kbd> names a file</span>
            <span><kbd>Shift</kbd> <kbd>Tab</kbd> the next permission mode</span>
            <span><kbd>Esc</kbd> <kbd>?</kbd> all keys</span>
          </p>
        </div>
      </div>
    </>
  );
}

interface Here {
  readonly bridge: Bridge | null;
  readonly agent: string | null;
  readonly model: string | null;
  readonly mode: string;
  readonly folder: string | null;
}

/** The last choice, as far as it can still be had. */
function settle(choice: LastChoice, bridges: readonly Bridge[]): Here {
  const bridge = bridges.find((one) => one.id === choice.bridgeId) ?? bridges[0] ?? null;
  const agents = bridge?.agents ?? [];
  const agent = agents.find((one) => one.id === choice.agent) ?? agents.find((one) => one.available && one.id !== "demo") ?? agents.find((one) => one.available) ?? agents[0] ?? null;
  const folder = bridge?.workspaces.find((one) => one.path === choice.folder) ?? bridge?.workspaces[0] ?? null;
  return {
    bridge,
    agent: agent?.id ?? null,
    model: choice.model !== null && (agent?.models.includes(choice.model) ?? false) ? choice.model : null,
    mode: choice.mode === "bypassPermissions" && !bridge?.allowBypass ? "default" : choice.mode,
    folder: folder?.path ?? null,
  };
}

interface PickersProps {
  readonly here: Here;
  readonly folderOfProject: string | null;
  readonly bridges: readonly Bridge[];
  readonly onChange: (next: Partial<LastChoice>) => void;
}

function Pickers({ here, folderOfProject, bridges, onChange }: PickersProps) {
  const { bridge } = here;
  const agents = bridge?.agents ?? [];
  const agent = agents.find((one) => one.id === here.agent);
  const models = agent?.models ?? [];
  const folders = bridge?.workspaces ?? [];
  return (
    <>
      {bridges.length > 1 && bridge !== null && (
        <Picker label="Bridge" icon={<Plug aria-hidden />} value={bridge.id} shown={bridge.name} choices={bridges.map((one) => ({ value: one.id, label: one.name, hint: one.hostname }))} onChange={(bridgeId) => onChange({ bridgeId, folder: null })} />
      )}
      {agents.length > 0 && (
        <Picker
          label="Agent"
          icon={<Bot aria-hidden />}
          value={here.agent ?? ""}
          shown={agent?.title ?? "Agent"}
          choices={agents.map((one) => ({ value: one.id, label: one.title || one.id, hint: one.available ? undefined : (one.reason ?? "Not available") }))}
          onChange={(next) => onChange({ agent: next, model: null })}
        />
      )}
      {models.length > 1 && (
        <Picker label="Model" icon={<Cpu aria-hidden />} value={here.model ?? ""} shown={here.model === null ? "Default model" : modelName(here.model)} choices={[{ value: "", label: "Default model" }, ...models.map((one) => ({ value: one, label: modelName(one) }))]} onChange={(next) => onChange({ model: next === "" ? null : next })} />
      )}
      <Picker label="Permission mode" icon={<Shield aria-hidden />} value={here.mode} shown={modeName(here.mode)} choices={modeChoices(bridge?.allowBypass === true)} onChange={(mode) => onChange({ mode })} isLoud={here.mode === "bypassPermissions"} />
      {folderOfProject !== null && <span className="picker fixed" title={`${folderOfProject}: the folder of the project`}><Folder aria-hidden /><span>{folderName(folderOfProject)}</span></span>}
      {folderOfProject === null && folders.length > 0 && (
        <Picker label="Folder" icon={<Folder aria-hidden />} value={here.folder ?? ""} shown={folderName(here.folder ?? "")} choices={folders.map((one) => ({ value: one.path, label: one.name || folderName(one.path), hint: one.path }))} onChange={(folder) => onChange({ folder })} />
      )}
    </>
  );
}
