import { FolderKanban, PenLine, Plus } from "lucide-react";
import { useState } from "react";

import { ago, plural } from "../app/format";
import { conversationPath, newChatPath } from "../app/router";
import { Link } from "../kit/Link";
import { StateMark } from "../kit/StateMark";
import { ProjectDialog } from "../shell/ProjectDialog";
import { ProjectMenu } from "../shell/ProjectMenu";
import { conversationsByProject, listKey, useNow, useSelector, type ListEntry } from "../state";
import type { Project } from "../wire/types";

export function ProjectsView() {
  const projects = useSelector((state) => state.projects);
  const conversations = useSelector((state) => state.conversations);
  const hasMore = useSelector((state) => state.lists.get(listKey({}))?.next != null);
  const [isMaking, setMaking] = useState(false);
  const groups = conversationsByProject({ conversations, projects });
  return (
    <>
      <div className="view-head">
        <div>
          <h1>Projects</h1>
          <p className="lead">Conversations that belong together, and the folder that they work in. Everybody on this server sees them.</p>
        </div>
        <button type="button" className="button" onClick={() => setMaking(true)}><Plus aria-hidden />New project</button>
      </div>
      {projects === null && <p role="status">Loading</p>}
      {projects?.length === 0 && (
        <section className="card blank-card">
          <FolderKanban aria-hidden />
          <p>No projects yet. Without one, each chat chooses its folder by itself.</p>
        </section>
      )}
      <div className="columns">
        {groups.map(({ project, entries }) => project !== null && <ProjectCard key={project.id} project={project} entries={entries} hasMore={hasMore} />)}
      </div>
      <ProjectDialog project={null} isOpen={isMaking} onClose={() => setMaking(false)} />
    </>
  );
}

const SHOWN = 4;

interface ProjectCardProps {
  readonly project: Project;
  readonly entries: readonly ListEntry[];
  /** Not all conversations are loaded: there may be older ones. */
  readonly hasMore: boolean;
}

function ProjectCard({ project, entries, hasMore }: ProjectCardProps) {
  const now = useNow(30_000);
  return (
    <section className="card project-card" aria-label={project.name}>
      <header>
        <FolderKanban aria-hidden />
        <h2>{project.name}</h2>
        <ProjectMenu project={project} />
      </header>
      <p className="quiet">{project.workingDirectory === null ? "No folder of its own" : <code>{project.workingDirectory}</code>}</p>
      {entries.length > 0 && (
        <ul className="card-list">
          {entries.slice(0, SHOWN).map(({ conversation, state }) => (
            <li key={conversation.id}>
              <Link to={conversationPath(conversation.id)}>{conversation.title || "Untitled"}</Link>
              <StateMark state={state} />
              <span className="quiet">{ago(conversation.updatedAt, now)}</span>
            </li>
          ))}
        </ul>
      )}
      <footer>
        <span className="quiet">{entries.length === 0 && !hasMore ? "No conversations yet" : `${plural(entries.length, "conversation")}${hasMore ? " or more" : ""}`}</span>
        <Link className="button small" to={newChatPath(project.id)}><PenLine aria-hidden />New chat</Link>
      </footer>
    </section>
  );
}
