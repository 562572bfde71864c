/** What reaches a person who looks elsewhere: the title with a count, a notification of the browser, a sound. */
import { useEffect, useRef } from "react";

import { titleOf, useSelector } from "../state";
import { conversationPath, navigate } from "./router";
import { preferences } from "./preferences";

export function useAlerts(): void {
  const title = useSelector(titleOf);
  useEffect(() => {
    document.title = title;
  }, [title]);

  const prompts = useSelector((state) => state.prompts);
  const known = useRef<Set<string> | null>(null);
  useEffect(() => {
    // What waits already when the page comes is in the tray; only what comes after it calls.
    const before = known.current;
    known.current = new Set(prompts.keys());
    if (before === null || !document.hidden) return;
    for (const prompt of prompts.values()) {
      if (!before.has(prompt.id)) call(prompt.title, prompt.id, prompt.conversationId);
    }
  }, [prompts]);

  const escalations = useSelector((state) => state.escalations);
  useEffect(() => {
    if (!document.hidden) return;
    for (const told of escalations.values()) {
      call(`Still waits for an answer: ${told.toolName ?? "a question"}`, told.promptId, told.conversationId);
    }
  }, [escalations]);
}

function call(text: string, tag: string, conversationId: string): void {
  const { notifications, sound } = preferences();
  if (sound) beep();
  if (!notifications || !("Notification" in window) || Notification.permission !== "granted") return;
  const shown = new Notification("Baton: an agent asks", { body: text.slice(0, 200), tag, icon: "/static/favicon.svg" });
  shown.onclick = () => {
    window.focus();
    navigate(conversationPath(conversationId));
    shown.close();
  };
}

/** Two short tones, made here: no file to load. */
function beep(): void {
  try {
    const audio = new AudioContext();
    const gain = audio.createGain();
    gain.gain.value = 0.06;
    gain.connect(audio.destination);
    [660, 880].forEach((frequency, at) => {
      const tone = audio.createOscillator();
      tone.frequency.value = frequency;
      tone.connect(gain);
      tone.start(audio.currentTime + at * 0.14);
      tone.stop(audio.currentTime + at * 0.14 + 0.1);
    });
    setTimeout(() => void audio.close(), 1000);
  } catch {
    // Browsers refuse sound before the first click on a page.
  }
}
