/** What whoever runs the server looks at. Loaded when it is opened. */
import { PanelLeft } from "lucide-react";
import { useEffect, useRef } from "react";

import { operatorPath, type OperatorView } from "../app/router";
import { Link } from "../kit/Link";
import { useSelector } from "../state";
import { BridgesView } from "./BridgesView";
import { PermissionsView } from "./PermissionsView";
import { ProjectsView } from "./ProjectsView";
import { TokensView } from "./TokensView";
import { UsageView } from "./UsageView";

const VIEWS: readonly { readonly name: OperatorView; readonly title: string; readonly isForAdmins?: boolean }[] = [
  { name: "projects", title: "Projects" },
  { name: "bridges", title: "Bridges" },
  { name: "permissions", title: "Permissions" },
  { name: "usage", title: "Health and usage" },
  { name: "tokens", title: "Tokens", isForAdmins: true },
];

export default function Operator({ view, onOpenSidebar }: { readonly view: OperatorView; readonly onOpenSidebar: () => void }) {
  const tabs = useRef<HTMLElement>(null);
  // On a phone the tabs are wider than the screen.
  useEffect(() => {
    tabs.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  }, [view]);
  const isAdmin = useSelector((state) => state.me?.role === "admin");
  const views = VIEWS.filter(({ isForAdmins = false }) => isAdmin || !isForAdmins);
  return (
    <>
      <header className="thread-header">
        <button type="button" className="icon-button open-sidebar" aria-label="Show the list" onClick={onOpenSidebar}><PanelLeft aria-hidden /></button>
        <nav ref={tabs} className="tabs" aria-label="Views">
          {views.map(({ name, title }) => (
            <Link key={name} to={operatorPath(name)} aria-current={name === view ? "page" : undefined}>{title}</Link>
          ))}
        </nav>
      </header>
      <div className="operator" tabIndex={-1}>
        {view === "projects" && <ProjectsView />}
        {view === "bridges" && <BridgesView />}
        {view === "permissions" && <PermissionsView />}
        {view === "usage" && <UsageView />}
        {view === "tokens" && (isAdmin ? <TokensView /> : <p className="quiet" role="status">Tokens are for admins.</p>)}
      </div>
    </>
  );
}
