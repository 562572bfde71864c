/** Where one speaks: text over several lines that is kept as a draft, files, mentions and commands. */
import { ArrowUp, Paperclip, Square } from "lucide-react";
import { useEffect, useId, useLayoutEffect, useRef, useState, type ClipboardEvent, type DragEvent, type KeyboardEvent, type ReactNode } from "react";

import { useDrafts } from "../state";
import { onHandover } from "./handover";
import { mentionAt, withMention } from "./mentions";
import { UploadList } from "./UploadList";
import { useSuggestions, type Place } from "./useSuggestions";
import { useUploads } from "./useUploads";

interface MessageBoxProps extends Place {
  /** Under which name the draft is kept: a conversation's id, or `new`. */
  readonly draftKey: string;
  readonly placeholder: string;
  /** Below the text: mode, model and so on. */
  readonly pickers: ReactNode;
  readonly onSend: (content: string, attachments: readonly string[]) => void;
  /** Null where nothing runs. */
  readonly onStop: (() => void) | null;
  readonly onNextMode: () => void;
  /** The last message of one's own, brought back by arrow up. */
  readonly lastSent: string | null;
}

/** On a touch screen Enter makes a new line: its keyboards have no Shift Enter. */
const isTouch = () => window.matchMedia("(pointer: coarse)").matches;

export function MessageBox({ draftKey, placeholder, pickers, onSend, onStop, onNextMode, lastSent, conversationId, bridgeId }: MessageBoxProps) {
  const drafts = useDrafts();
  const [text, setText] = useState(() => drafts.get(draftKey));
  const [caret, setCaret] = useState(0);
  const [isDragging, setDragging] = useState(false);
  const [chosen, setChosen] = useState(0);
  const [closed, setClosed] = useState<string | null>(null);
  const box = useRef<HTMLTextAreaElement>(null);
  const picker = useRef<HTMLInputElement>(null);
  const { uploads, isBusy, add, remove, take } = useUploads();
  const listId = useId();

  const mention = mentionAt(text, caret);
  const mentionKey = mention === null ? null : `${mention.kind}${mention.from}`;
  const suggestions = useSuggestions(closed === mentionKey ? null : mention, { conversationId, bridgeId });
  const isSuggesting = mention !== null && suggestions.length > 0;
  const selected = Math.min(chosen, suggestions.length - 1);

  const write = (next: string, at = next.length) => {
    setText(next);
    setCaret(at);
    drafts.set(draftKey, next);
    requestAnimationFrame(() => box.current?.setSelectionRange(at, at));
  };
  const writeLatest = useRef(write);
  useEffect(() => {
    writeLatest.current = write;
  });
  useEffect(
    () =>
      onHandover((given) => {
        writeLatest.current(given);
        box.current?.focus();
      }),
    [],
  );
  useGrowth(box, text);

  const canSend = !isBusy && (text.trim() !== "" || uploads.some((one) => one.attachment !== null));
  const send = () => {
    if (!canSend) return;
    onSend(text.trim() === "" ? "See the attachments." : text, take());
    setText("");
    setCaret(0);
    drafts.clear(draftKey);
  };
  const accept = (at: number) => {
    const suggestion = suggestions[at];
    if (suggestion === undefined || mention === null) return;
    const next = withMention(text, mention, suggestion.value);
    write(next.text, next.caret);
    setChosen(0);
  };

  /** Whether the key was for the list of suggestions. */
  const onListKey = (key: string): boolean => {
    if (!isSuggesting) return false;
    if (key === "ArrowDown") setChosen((selected + 1) % suggestions.length);
    else if (key === "ArrowUp") setChosen((selected + suggestions.length - 1) % suggestions.length);
    else if (key === "Enter" || key === "Tab") accept(selected);
    else if (key === "Escape") setClosed(mentionKey);
    else return false;
    return true;
  };
  const onKeyDown = (event: KeyboardEvent<HTMLTextAreaElement>) => {
    if (event.nativeEvent.isComposing) return; // Enter that ends an input method's word sends nothing
    if (!event.shiftKey && onListKey(event.key)) return event.preventDefault();
    if (event.key === "Enter" && !event.shiftKey && !isTouch()) {
      event.preventDefault();
      send();
    } else if (event.key === "Tab" && event.shiftKey) {
      event.preventDefault();
      onNextMode();
    } else if (event.key === "Escape") {
      if (onStop !== null) onStop();
      else event.currentTarget.blur();
    } else if (event.key === "ArrowUp" && text === "" && lastSent !== null) {
      event.preventDefault();
      write(lastSent);
    }
  };
  const onPaste = (event: ClipboardEvent) => {
    if (event.clipboardData.files.length === 0) return;
    event.preventDefault();
    add(event.clipboardData.files);
  };
  const onDrop = (event: DragEvent) => {
    event.preventDefault();
    setDragging(false);
    add(event.dataTransfer.files);
  };

  return (
    <div
      className="composer"
      data-dragging={isDragging}
      onDragOver={(event) => { event.preventDefault(); setDragging(true); }}
      onDragLeave={() => setDragging(false)}
      onDrop={onDrop}
    >
      {isSuggesting && (
        <ul className="suggestions" id={listId} role="listbox" aria-label={mention.kind === "file" ? "Files" : "Commands"}>
          {suggestions.map((one, at) => (
            <li key={one.value} id={`${listId}-${at}`} role="option" aria-selected={at === selected} onMouseDown={(event) => { event.preventDefault(); accept(at); }}>
              <code>{mention.kind === "file" ? one.value : `/${one.value}`}</code>
              <span>{one.hint}</span>
            </li>
          ))}
        </ul>
      )}
      <UploadList uploads={uploads} onRemove={remove} />
      <textarea
        ref={box}
        id="composer"
        rows={1}
        aria-label="Message"
        role="combobox"
        aria-autocomplete="list"
        aria-expanded={isSuggesting}
        aria-controls={isSuggesting ? listId : undefined}
        aria-activedescendant={isSuggesting ? `${listId}-${selected}` : undefined}
        placeholder={placeholder}
        value={text}
        dir="auto"
        onChange={(event) => {
          setText(event.target.value);
          setCaret(event.target.selectionStart);
          setClosed(null);
          setChosen(0);
          drafts.set(draftKey, event.target.value);
        }}
        onSelect={(event) => setCaret(event.currentTarget.selectionStart)}
        onKeyDown={onKeyDown}
        onPaste={onPaste}
      />
      <div className="composer-foot">
        <input ref={picker} type="file" multiple hidden onChange={(event) => { add(event.target.files ?? []); event.target.value = ""; }} />
        <button type="button" className="icon-button" aria-label="Attach files" title="Attach files (or drop, or paste them)" onClick={() => picker.current?.click()}>
          <Paperclip aria-hidden />
        </button>
        <div className="pickers">{pickers}</div>
        {onStop !== null && (
          <button type="button" className="icon-button stop" aria-label="Stop the run" title="Stop the run (Esc)" onClick={onStop}>
            <Square aria-hidden />
          </button>
        )}
        <button type="button" className="icon-button send" aria-label="Send" title="Send (Enter)" disabled={!canSend} onClick={send}>
          <ArrowUp aria-hidden />
        </button>
      </div>
    </div>
  );
}

/** Makes the box as high as its text; how high at most says the style. */
function useGrowth(box: React.RefObject<HTMLTextAreaElement | null>, text: string): void {
  useLayoutEffect(() => {
    const element = box.current;
    if (element === null) return;
    element.style.height = "auto";
    element.style.height = `${element.scrollHeight}px`;
  }, [box, text]);
}
