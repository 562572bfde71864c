import { lazy, Suspense, useEffect, useState } from "react";

import { useAlerts } from "./app/alerts";
import { useKeys } from "./app/keys";
import { navigate, newChatPath, useRoute, type Route } from "./app/router";
import { setPreferences, usePreferences } from "./app/preferences";
import { Toasts } from "./kit/toasts";
import { Banner } from "./shell/Banner";
import { Login } from "./shell/Login";
import { NewChat } from "./shell/NewChat";
import { SessionLink } from "./shell/SessionLink";
import { ShortcutSheet } from "./shell/ShortcutSheet";
import { Sidebar } from "./shell/Sidebar";
import { ThreadPage } from "./thread/ThreadPage";
import { useSelector } from "./state";

const Operator = lazy(() => import("./operator/Operator"));

export function App() {
  const needsLogin = useSelector((state) => state.connection.phase === "refused");
  return (
    <>
      {needsLogin ? <Login /> : <Shell />}
      <Toasts />
    </>
  );
}

function Shell() {
  const route = useRoute();
  const { sidebarClosed } = usePreferences();
  const [isDrawerOpen, setDrawerOpen] = useState(false);
  const [isSheetOpen, setSheetOpen] = useState(false);
  useAlerts();
  useKeys({
    newChat: () => navigate(newChatPath()),
    showSheet: () => setSheetOpen(true),
    toggleSidebar: () => setPreferences({ sidebarClosed: !sidebarClosed }),
  });
  // On a phone the list is a drawer; choosing something closes it.
  useEffect(() => setDrawerOpen(false), [route]);
  const openSidebar = () => {
    setPreferences({ sidebarClosed: false });
    setDrawerOpen(true);
  };
  return (
    <div className="shell" data-sidebar={sidebarClosed ? "closed" : "open"} data-drawer={isDrawerOpen ? "open" : "closed"}>
      <a className="skip" href="#main">Skip to the conversation</a>
      <Sidebar onClose={() => { setDrawerOpen(false); setPreferences({ sidebarClosed: true }); }} onShowSheet={() => setSheetOpen(true)} />
      <button type="button" className="scrim" tabIndex={-1} aria-hidden onClick={() => setDrawerOpen(false)} />
      <main id="main" tabIndex={-1}>
        <Banner />
        <View route={route} onOpenSidebar={openSidebar} />
      </main>
      <ShortcutSheet isOpen={isSheetOpen} onClose={() => setSheetOpen(false)} />
    </div>
  );
}

function View({ route, onOpenSidebar }: { readonly route: Route; readonly onOpenSidebar: () => void }) {
  switch (route.view) {
    case "new":
      return <NewChat projectId={route.projectId} onOpenSidebar={onOpenSidebar} />;
    case "conversation":
      return <ThreadPage key={route.conversationId} conversationId={route.conversationId} messageId={route.messageId} onOpenSidebar={onOpenSidebar} />;
    case "session":
      return <SessionLink sessionId={route.sessionId} />;
    case "operator":
      return (
        <Suspense fallback={<p className="blank" role="status">Loading</p>}>
          <Operator view={route.name} onOpenSidebar={onOpenSidebar} />
        </Suspense>
      );
  }
}
