import { Ellipsis, PenLine, Pencil, Trash2 } from "lucide-react";
import { useState } from "react";

import { navigate, newChatPath } from "../app/router";
import { Menu, MenuItem, MenuLine } from "../kit/Menu";
import type { Project } from "../wire/types";
import { DeleteProject, ProjectDialog } from "./ProjectDialog";

/** What can be done with a project, behind one button. */
export function ProjectMenu({ project }: { readonly project: Project }) {
  const [isEditing, setEditing] = useState(false);
  const [isDeleting, setDeleting] = useState(false);
  return (
    <>
      <Menu
        align="end"
        trigger={
          <button type="button" className="icon-button small" aria-label={`Actions for the project ${project.name}`} title="Rename, folder, delete">
            <Ellipsis aria-hidden />
          </button>
        }
      >
        <MenuItem icon={<PenLine aria-hidden />} onSelect={() => navigate(newChatPath(project.id))}>New chat here</MenuItem>
        <MenuItem icon={<Pencil aria-hidden />} onSelect={() => setTimeout(() => setEditing(true))}>Name and folder</MenuItem>
        <MenuLine />
        <MenuItem icon={<Trash2 aria-hidden />} isBad onSelect={() => setTimeout(() => setDeleting(true))}>Delete</MenuItem>
      </Menu>
      <ProjectDialog project={project} isOpen={isEditing} onClose={() => setEditing(false)} />
      <DeleteProject project={isDeleting ? project : null} onClose={() => setDeleting(false)} />
    </>
  );
}
