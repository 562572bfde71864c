import { FolderKanban, Plus } from "lucide-react";
import { useState, type FormEvent } from "react";

import { Picker } from "../kit/Picker";
import { told } from "../kit/toasts";
import { useActions } from "../state";
import type { Project } from "../wire/types";

interface ProjectFormProps {
  readonly projects: readonly Project[];
  readonly value: Project | null;
  readonly onChange: (project: Project | null) => void;
}

/** The project of the new conversation, or a new one. */
export function ProjectForm({ projects, value, onChange }: ProjectFormProps) {
  const { createProject } = useActions();
  const [isNaming, setNaming] = useState(false);
  const create = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const name = new FormData(event.currentTarget).get("name");
    if (typeof name !== "string" || name.trim() === "") return setNaming(false);
    const answer = told(await createProject({ name: name.trim() }));
    if (answer.ok) onChange(answer.project);
    setNaming(false);
  };
  if (isNaming) {
    return (
      <form className="project-form" onSubmit={(event) => void create(event)}>
        <input name="name" aria-label="Name of the new project" placeholder="Name of the new project" autoFocus maxLength={200} onKeyDown={(event) => event.key === "Escape" && setNaming(false)} />
        <button type="submit" className="button small primary">Create</button>
        <button type="button" className="button small" onClick={() => setNaming(false)}>Cancel</button>
      </form>
    );
  }
  return (
    <div className="project-form">
      {projects.length > 0 && (
        <Picker
          label="Project"
          icon={<FolderKanban aria-hidden />}
          value={value?.id ?? ""}
          shown={value?.name ?? "No project"}
          choices={[{ value: "", label: "No project" }, ...projects.map((one) => ({ value: one.id, label: one.name }))]}
          onChange={(id) => onChange(projects.find((one) => one.id === id) ?? null)}
        />
      )}
      <button type="button" className="picker" onClick={() => setNaming(true)}>
        <Plus aria-hidden />
        <span>New project</span>
      </button>
    </div>
  );
}
