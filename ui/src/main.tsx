import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { App } from "./App";
import { applyTheme } from "./app/preferences";
import { takeToken } from "./app/token";
import { BatonProvider, createBaton } from "./state";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/kit.css";
import "./styles/shell.css";
import "./styles/thread.css";
import "./styles/composer.css";
import "./styles/prompts.css";
import "./styles/operator.css";

applyTheme();

async function begin(root: HTMLElement): Promise<void> {
  const baton = createBaton();
  await takeToken(baton.actions.login);
  baton.start();
  createRoot(root).render(
    <StrictMode>
      <BatonProvider baton={baton}>
        <App />
      </BatonProvider>
    </StrictMode>,
  );
}

const root = document.getElementById("root");
if (root !== null) void begin(root);
