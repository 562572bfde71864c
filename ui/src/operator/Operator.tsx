/** What whoever runs the server looks at. Loaded when it is opened. */
import { PanelLeft } from "lucide-react";

import { operatorPath, type OperatorView } from "../app/router";
import { Link } from "../kit/Link";
import { BridgesView } from "./BridgesView";
import { PermissionsView } from "./PermissionsView";
import { UsageView } from "./UsageView";

const VIEWS: readonly { readonly name: OperatorView; readonly title: string }[] = [
  { name: "bridges", title: "Bridges" },
  { name: "permissions", title: "Permissions" },
  { name: "usage", title: "Health and usage" },
];

export default function Operator({ view, onOpenSidebar }: { readonly view: OperatorView; readonly onOpenSidebar: () => void }) {
  return (
    <>
      <header className="thread-header">
        <button type="button" className="icon-button open-sidebar" aria-label="Show the list" onClick={onOpenSidebar}><PanelLeft aria-hidden /></button>
        <nav className="tabs" aria-label="Views">
          {VIEWS.map(({ name, title }) => (
            <Link key={name} to={operatorPath(name)} aria-current={name === view ? "page" : undefined}>{title}</Link>
          ))}
        </nav>
      </header>
      <div className="operator" tabIndex={-1}>
        {view === "bridges" && <BridgesView />}
        {view === "permissions" && <PermissionsView />}
        {view === "usage" && <UsageView />}
      </div>
    </>
  );
}
