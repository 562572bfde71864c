import { useState, type FormEvent } from "react";

import { Dialog } from "../kit/Dialog";
import { Field } from "../kit/Field";
import { told, toast } from "../kit/toasts";
import { useActions, useSelector } from "../state";
import type { ApiError, Project } from "../wire/types";

interface ProjectDialogProps {
  /** The one to change; null: a new one. */
  readonly project: Project | null;
  readonly isOpen: boolean;
  readonly onClose: () => void;
  readonly onDone?: (project: Project) => void;
}

/** Name and folder of a project, new or known. */
export function ProjectDialog({ project, isOpen, onClose, onDone }: ProjectDialogProps) {
  return (
    <Dialog isOpen={isOpen} onClose={onClose} title={project === null ? "New project" : "Edit the project"}>
      <ProjectFields project={project} onClose={onClose} onDone={onDone} />
    </Dialog>
  );
}

function ProjectFields({ project, onClose, onDone }: Pick<ProjectDialogProps, "project" | "onClose"> & { readonly onDone: ProjectDialogProps["onDone"] | undefined }) {
  const { createProject, patchProject } = useActions();
  const folders = useSelector((state) => [...new Set(state.bridges?.flatMap((bridge) => bridge.workspaces.map((one) => one.path)) ?? [])]);
  const [error, setError] = useState<ApiError | null>(null);
  const [isSaving, setSaving] = useState(false);
  const save = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const [name, folder] = ["name", "folder"].map((field) => String(form.get(field) as string | null ?? "").trim());
    if (!name) return setError({ code: "invalid_payload", message: "", retryable: false, fields: { name: ["Give it a name."] } });
    const wanted = { name, workingDirectory: folder || null };
    setSaving(true);
    const answer = await (project === null ? createProject(wanted) : patchProject(project.id, wanted));
    setSaving(false);
    if (!answer.ok) return setError(answer.error);
    onClose();
    onDone?.(answer.project);
  };
  const fields = error?.fields ?? {};
  return (
    <form className="stack" noValidate onSubmit={(event) => void save(event)}>
      <Field label="Name" problems={fields.name}>
        {(control) => <input {...control} name="name" defaultValue={project?.name ?? ""} maxLength={200} autoComplete="off" autoFocus />}
      </Field>
      <Field label="Folder" hint="Where new chats of this project work, on the machine of their bridge. Leave it empty to choose each time." problems={fields.workingDirectory}>
        {(control) => <input {...control} name="folder" className="mono" list="project-folders" defaultValue={project?.workingDirectory ?? ""} maxLength={4096} autoComplete="off" spellCheck={false} />}
      </Field>
      <datalist id="project-folders">{folders.map((path) => <option key={path} value={path} />)}</datalist>
      {error !== null && Object.keys(fields).length === 0 && <p className="problem" role="alert">{error.message}</p>}
      <div className="form-foot">
        <button type="button" className="button" onClick={onClose}>Cancel</button>
        <button type="submit" className="button primary" disabled={isSaving}>{project === null ? "Create" : "Save"}</button>
      </div>
    </form>
  );
}

interface DeleteProjectProps {
  /** null: nobody asks for it. */
  readonly project: Project | null;
  readonly onClose: () => void;
}

/** Says what becomes of everything in the project before it goes: this cannot be undone. */
export function DeleteProject({ project, onClose }: DeleteProjectProps) {
  const { removeProject } = useActions();
  const [isDeleting, setDeleting] = useState(false);
  const remove = async () => {
    if (project === null) return;
    setDeleting(true);
    const answer = told(await removeProject(project.id));
    setDeleting(false);
    onClose();
    if (answer.ok) toast(`The project ${project.name} is deleted.`);
  };
  return (
    <Dialog isOpen={project !== null} onClose={onClose} title={`Delete the project ${project?.name ?? ""}?`}>
      <div className="stack">
        <p>Its conversations stay, and are listed without a project from then on. Its files stay where they are.</p>
        <p>Permissions that were given for the project reach nothing any more. A deleted project cannot be brought back.</p>
        <div className="form-foot">
          <button type="button" className="button" autoFocus onClick={onClose}>Keep it</button>
          <button type="button" className="button" data-style="danger" disabled={isDeleting} onClick={() => void remove()}>Delete the project</button>
        </div>
      </div>
    </Dialog>
  );
}
