import { Archive, ArchiveRestore, Copy, Download, Ellipsis, FileText, Folder, GitFork, Pencil, Plus, Trash2 } from "lucide-react";
import { memo, useEffect, useState } from "react";

import { ago } from "../app/format";
import { conversationPath, navigate, newChatPath, useRoute } from "../app/router";
import { Link } from "../kit/Link";
import { Menu, MenuItem, MenuLine } from "../kit/Menu";
import { StateMark } from "../kit/StateMark";
import { told, toast } from "../kit/toasts";
import { conversationsByProject, listKey, useActions, useNow, useSelector, type ListEntry } from "../state";
import { MoveMenu } from "./MoveMenu";
import { ProjectMenu } from "./ProjectMenu";

/** All conversations below their projects; archived ones on request. */
export function ConversationList() {
  const [isArchive, setArchive] = useState(false);
  const status = isArchive ? "archived" : "active";
  const conversations = useSelector((state) => state.conversations);
  const projects = useSelector((state) => state.projects);
  const page = useSelector((state) => state.lists.get(listKey({ status })));
  const { loadConversations } = useActions();
  const isLive = useSelector((state) => state.connection.phase === "live");
  useEffect(() => {
    if (isLive && isArchive) void loadConversations({ status: "archived" });
  }, [isLive, isArchive, loadConversations]);

  const groups = conversationsByProject({ conversations, projects }, { status });
  const isEmpty = groups.every((group) => group.entries.length === 0);
  return (
    <>
      {groups.map(({ project, entries }) => (
        <section key={project?.id ?? "none"} className="group" hidden={entries.length === 0 && (project === null || isArchive)}>
          {(project !== null || groups.length > 1) && (
            <h2>
              {project !== null && <Folder aria-hidden />}
              <span>{project?.name ?? "No project"}</span>
              {project !== null && !isArchive && (
                <>
                  <Link className="icon-button small" to={newChatPath(project.id)} aria-label={`New chat in ${project.name}`} title="New chat here">
                    <Plus aria-hidden />
                  </Link>
                  <ProjectMenu project={project} />
                </>
              )}
            </h2>
          )}
          <ul>
            {entries.map((entry) => <Entry key={entry.conversation.id} entry={entry} />)}
          </ul>
        </section>
      ))}
      {isEmpty && <p className="quiet padded">{isArchive ? "Nothing is archived." : page?.isLoading === true ? "Loading" : "No conversations yet."}</p>}
      {page?.error != null && (
        <p className="problem padded">
          {page.error.message} <button type="button" className="button small" onClick={() => void loadConversations({ status })}>Try again</button>
        </p>
      )}
      {page?.next != null && (
        <button type="button" className="button small quiet" disabled={page.isLoading} onClick={() => void loadConversations({ status, more: true })}>
          Show older ones
        </button>
      )}
      <button type="button" className="button small quiet archive-switch" onClick={() => setArchive(!isArchive)}>
        <Archive aria-hidden />
        {isArchive ? "Back to the active ones" : "Archived"}
      </button>
    </>
  );
}

const Entry = memo(function Entry({ entry }: { readonly entry: ListEntry }) {
  const route = useRoute();
  const now = useNow(30_000);
  const [isRenaming, setRenaming] = useState(false);
  const { conversation, state, isUnread } = entry;
  // Only admins are shown what is others', and only there does it matter whose it is.
  const isAnothers = useSelector((page) => page.me !== null && page.me.userId !== conversation.userId);
  const isCurrent = route.view === "conversation" && route.conversationId === conversation.id;
  const title = conversation.title || "Untitled";
  if (isRenaming) return <Rename entry={entry} onDone={() => setRenaming(false)} />;
  return (
    <li className="entry" data-current={isCurrent} data-unread={isUnread && !isCurrent}>
      <Link to={conversationPath(conversation.id)} aria-current={isCurrent ? "page" : undefined}>
        <span className="entry-title" title={title}>{title}</span>
        <span className="entry-facts">
          <StateMark state={state} />
          {isUnread && !isCurrent && <span className="unread">New</span>}
          {isAnothers && <span className="entry-owner" title={`Of ${conversation.userId}`}>{conversation.userId}</span>}
          <span className="entry-time">{ago(conversation.updatedAt, now)}</span>
        </span>
      </Link>
      <EntryMenu entry={entry} onRename={() => setRenaming(true)} isCurrent={isCurrent} />
    </li>
  );
});

function Rename({ entry, onDone }: { readonly entry: ListEntry; readonly onDone: () => void }) {
  const { rename } = useActions();
  const { id, title } = entry.conversation;
  const save = (next: string) => {
    onDone();
    if (next.trim() !== "" && next.trim() !== title) void rename(id, next.trim()).then(told);
  };
  return (
    <li className="entry">
      <input
        className="rename"
        aria-label="Title"
        autoFocus
        defaultValue={title}
        maxLength={200}
        onFocus={(event) => event.target.select()}
        onBlur={(event) => save(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter") save(event.currentTarget.value);
          if (event.key === "Escape") onDone();
        }}
      />
    </li>
  );
}

interface EntryMenuProps {
  readonly entry: ListEntry;
  readonly isCurrent: boolean;
  readonly onRename: () => void;
}

function EntryMenu({ entry: { conversation }, isCurrent, onRename }: EntryMenuProps) {
  const actions = useActions();
  const { id } = conversation;
  const isArchived = conversation.status === "archived";
  const leave = () => isCurrent && navigate(newChatPath());

  const remove = async () => {
    if (!told(await actions.remove(id)).ok) return;
    leave();
    toast("Conversation deleted.", { action: { label: "Undo", run: () => void actions.restore(id).then(told) } });
  };
  const archive = async () => {
    if (!told(await actions.archive(id)).ok) return;
    leave();
    toast("Conversation archived.", { action: { label: "Undo", run: () => void actions.restore(id).then(told) } });
  };
  const fork = async () => {
    const answer = told(await actions.fork(id));
    if (answer.ok) navigate(conversationPath(answer.conversation.id));
  };
  return (
    <Menu
      align="end"
      trigger={
        <button type="button" className="icon-button small entry-menu" aria-label={`Actions for ${conversation.title || "Untitled"}`}>
          <Ellipsis aria-hidden />
        </button>
      }
    >
      <MenuItem icon={<Pencil aria-hidden />} onSelect={() => setTimeout(onRename)}>Rename</MenuItem>
      <MoveMenu conversation={conversation} />
      <MenuItem icon={<GitFork aria-hidden />} onSelect={() => void fork()}>Fork</MenuItem>
      <MenuItem icon={<Copy aria-hidden />} onSelect={() => void navigator.clipboard.writeText(location.origin + conversationPath(id))}>Copy link</MenuItem>
      <MenuLine />
      <MenuItem icon={<FileText aria-hidden />} onSelect={() => download(actions.exportUrl(id, "md"))}>Export as Markdown</MenuItem>
      <MenuItem icon={<Download aria-hidden />} onSelect={() => download(actions.exportUrl(id, "json"))}>Export as JSON</MenuItem>
      <MenuLine />
      {isArchived ? (
        <MenuItem icon={<ArchiveRestore aria-hidden />} onSelect={() => void actions.restore(id).then(told)}>Bring back</MenuItem>
      ) : (
        <MenuItem icon={<Archive aria-hidden />} onSelect={() => void archive()}>Archive</MenuItem>
      )}
      <MenuItem icon={<Trash2 aria-hidden />} isBad onSelect={() => void remove()}>Delete</MenuItem>
    </Menu>
  );
}

function download(url: string): void {
  const link = document.createElement("a");
  link.href = url;
  link.download = "";
  link.click();
}
