import { Activity, FolderKanban, KeyRound, Keyboard, Moon, PanelLeftClose, PenLine, Plug, Settings2, ShieldCheck, Sun, SunMoon } from "lucide-react";
import { useEffect, useState } from "react";

import { navigate, newChatPath, operatorPath, type OperatorView } from "../app/router";
import { preferences, setPreferences, usePreferences, type Theme } from "../app/preferences";
import { Link } from "../kit/Link";
import { Menu, MenuChoices, MenuItem, MenuLine } from "../kit/Menu";
import { toast } from "../kit/toasts";
import { useActions, useSelector } from "../state";
import { ConversationList } from "./ConversationList";
import { Search } from "./Search";
import { Tray } from "./Tray";

interface SidebarProps {
  readonly onClose: () => void;
  readonly onShowSheet: () => void;
}

export function Sidebar({ onClose, onShowSheet }: SidebarProps) {
  const [query, setQuery] = useState("");
  return (
    <nav className="sidebar" aria-label="Conversations">
      <header>
        <Link className="brand" to={newChatPath()}>
          <img src="/static/favicon.svg" alt="" width={22} height={22} />
          Baton
        </Link>
        <button type="button" className="icon-button" aria-label="Hide the list" title="Hide the list (Alt B)" onClick={onClose}>
          <PanelLeftClose aria-hidden />
        </button>
      </header>
      <Link className="button new-chat" to={newChatPath()} title="New chat (Alt N)">
        <PenLine aria-hidden />
        New chat
      </Link>
      <input
        id="search"
        type="search"
        className="search"
        placeholder="Search"
        aria-label="Search conversations and messages"
        value={query}
        onChange={(event) => setQuery(event.target.value)}
        onKeyDown={(event) => event.key === "Escape" && setQuery("")}
      />
      <Tray />
      <div className="sidebar-list">{query.trim() === "" ? <ConversationList /> : <Search query={query.trim()} />}</div>
      <SidebarFoot onShowSheet={onShowSheet} />
    </nav>
  );
}

const THEMES: readonly { readonly value: Theme; readonly label: string }[] = [
  { value: "system", label: "As the system" },
  { value: "light", label: "Light" },
  { value: "dark", label: "Dark" },
];
const THEME_ICONS = { system: SunMoon, light: Sun, dark: Moon } as const;

function SidebarFoot({ onShowSheet }: { readonly onShowSheet: () => void }) {
  const me = useSelector((state) => state.me);
  const { logout } = useActions();
  const { theme, sound, notifications } = usePreferences();
  const ThemeIcon = THEME_ICONS[theme];
  return (
    <footer>
      <BridgeLine />
      <Menu
        align="end"
        trigger={
          <button type="button" className="icon-button" aria-label="Settings and views" title="Settings and views">
            <Settings2 aria-hidden />
          </button>
        }
      >
        <MenuLinks />
        <MenuLine />
        <MenuChoices label="Appearance" value={theme} choices={THEMES} onChange={(value) => setPreferences({ theme: value as Theme })} />
        <MenuLine />
        <MenuItem icon={<ThemeIcon aria-hidden className="hidden" />} onSelect={() => void toggleNotifications()}>
          {notifications ? "Turn notifications off" : "Notify me when an agent asks"}
        </MenuItem>
        <MenuItem icon={<ThemeIcon aria-hidden className="hidden" />} onSelect={() => setPreferences({ sound: !sound })}>
          {sound ? "Turn the sound off" : "Sound when an agent asks"}
        </MenuItem>
        <MenuItem icon={<Keyboard aria-hidden />} onSelect={onShowSheet}>Keyboard</MenuItem>
        <MenuLine />
        <MenuItem icon={<ThemeIcon aria-hidden className="hidden" />} onSelect={() => void logout().then(() => location.reload())}>
          Log out{me === null ? "" : ` (${me.userId})`}
        </MenuItem>
      </Menu>
    </footer>
  );
}

function MenuLinks() {
  const isAdmin = useSelector((state) => state.me?.role === "admin");
  return (
    <>
      <MenuItem icon={<FolderKanban aria-hidden />} onSelect={() => go("projects")}>Projects</MenuItem>
      <MenuItem icon={<Plug aria-hidden />} onSelect={() => go("bridges")}>Bridges</MenuItem>
      <MenuItem icon={<ShieldCheck aria-hidden />} onSelect={() => go("permissions")}>Permissions</MenuItem>
      <MenuItem icon={<Activity aria-hidden />} onSelect={() => go("usage")}>Health and usage</MenuItem>
      {isAdmin && <MenuItem icon={<KeyRound aria-hidden />} onSelect={() => go("tokens")}>Tokens</MenuItem>}
    </>
  );
}

function go(view: OperatorView): void {
  navigate(operatorPath(view));
}

async function toggleNotifications(): Promise<void> {
  if (preferences().notifications) return setPreferences({ notifications: false });
  if (!("Notification" in window)) return toast("This browser shows no notifications.", { isBad: true });
  const answer = await Notification.requestPermission();
  if (answer === "granted") setPreferences({ notifications: true });
  else toast("The browser does not allow notifications of this page.", { isBad: true });
}

/** Whether anything can run, in one line that is always there. */
function BridgeLine() {
  const bridges = useSelector((state) => state.bridges);
  const health = useSelector((state) => state.health);
  const { health: ask } = useActions();
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && void ask(), 60_000);
    return () => clearInterval(timer);
  }, [ask]);
  const connected = bridges?.filter((bridge) => bridge.connected) ?? [];
  const text = bridges === null ? "Asking for bridges" : connected.length === 0 ? "No bridge" : connected.length === 1 ? `${connected[0]?.name ?? "Bridge"} ready` : `${connected.length} bridges ready`;
  return (
    <Link className="bridge-line" to={operatorPath("bridges")} data-ok={connected.length > 0} title={health === null ? undefined : `Baton ${health.version}`}>
      <Plug aria-hidden />
      <span>{text}</span>
    </Link>
  );
}
