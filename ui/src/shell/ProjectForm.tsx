import { FolderKanban, Plus } from "lucide-react";
import { useState } from "react";

import { Picker } from "../kit/Picker";
import type { Project } from "../wire/types";
import { ProjectDialog } from "./ProjectDialog";

interface ProjectFormProps {
  readonly projects: readonly Project[];
  readonly value: Project | null;
  readonly onChange: (project: Project | null) => void;
}

/** The project of the new conversation, or a new one. */
export function ProjectForm({ projects, value, onChange }: ProjectFormProps) {
  const [isMaking, setMaking] = useState(false);
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
      <button type="button" className="picker" onClick={() => setMaking(true)}>
        <Plus aria-hidden />
        <span>New project</span>
      </button>
      <ProjectDialog project={null} isOpen={isMaking} onClose={() => setMaking(false)} onDone={onChange} />
    </div>
  );
}
