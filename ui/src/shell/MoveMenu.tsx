import { FolderInput } from "lucide-react";

import { MenuChoices, MenuMore } from "../kit/Menu";
import { told, toast } from "../kit/toasts";
import { useActions, useSelector } from "../state";
import type { Conversation } from "../wire/types";

/** Puts the conversation into another project, or into none. */
export function MoveMenu({ conversation }: { readonly conversation: Conversation }) {
  const projects = useSelector((state) => state.projects) ?? [];
  const { move } = useActions();
  const { id } = conversation;
  const known = projects.find((project) => project.id === conversation.projectId);
  const moveTo = async (projectId: string) => {
    const before = known?.id ?? null;
    const next = projectId === "" ? null : projectId;
    if (next === before || !told(await move(id, next)).ok) return;
    const name = projects.find((project) => project.id === next)?.name;
    toast(name === undefined ? "Moved out of its project." : `Moved to ${name}.`, { action: { label: "Undo", run: () => void move(id, before).then(told) } });
  };
  if (projects.length === 0) return null;
  return (
    <MenuMore icon={<FolderInput aria-hidden />} label="Move to project">
      <MenuChoices
        value={known?.id ?? ""}
        choices={[{ value: "", label: "No project" }, ...projects.map((project) => ({ value: project.id, label: project.name }))]}
        onChange={(projectId) => void moveTo(projectId)}
      />
    </MenuMore>
  );
}
