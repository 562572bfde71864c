/**
 * What one stream event does to the message that it is about. Pure; the order of events is `thread.ts`'s business.
 *
 * Text grows by `+=`: engines keep an appended string as a tree of its parts, so that a delta costs the same
 * whatever the length. It becomes flat when a view reads it, once per frame. Measured (streaming.bench.ts, Node 20):
 * 5 us per delta, in a thread of 100 messages as in one of 10,000; and 0.2 ms where the text has a million
 * characters, nearly all of it for making it flat at every fourth delta.
 */
import type {
  Block,
  Message,
  MessageStartedEvent,
  StreamEvent,
  TextBlock,
  TextDeltaEvent,
  TextDoneEvent,
  ThinkingBlock,
  ThinkingDeltaEvent,
  ThinkingDoneEvent,
  ToolDoneEvent,
  ToolInputEvent,
  ToolProgressEvent,
  ToolStartedEvent,
  ToolUseBlock,
} from "../wire/types";
import { withItem } from "./maps";
import type { LiveMessage } from "./model";

/** The event does not fit what is here: something was missed, and the client must join again. */
export const MISFIT = Symbol("misfit");

export type Grown = LiveMessage | typeof MISFIT;

type Delta = TextDeltaEvent | ThinkingDeltaEvent;
type Whole = TextDoneEvent | ThinkingDoneEvent;
type ToolEvent = ToolInputEvent | ToolProgressEvent | ToolDoneEvent;
type Growing = TextBlock | ThinkingBlock;

/** Events that are about a message. */
export type MessageEvent = Extract<StreamEvent, { messageId: string }>;

/** A message that begins with `event`. The server's own times come with the whole message. */
export function begun(
  event: MessageStartedEvent,
  of: { conversationId: string; projectId: string | null; requestId: string; seq: number },
  now: number,
): LiveMessage {
  const at = new Date(now).toISOString();
  return {
    id: event.messageId,
    conversationId: of.conversationId,
    projectId: of.projectId,
    requestId: of.requestId,
    // The server always names it; one that does not has nothing to sort by, and goes to the end.
    ordinal: event.ordinal ?? Number.MAX_SAFE_INTEGER,
    seq: of.seq,
    role: "assistant",
    status: "streaming",
    content: "",
    blocks: [],
    attachments: [],
    type: "message",
    claudeData: {},
    claudeMessageId: event.claudeMessageId ?? null,
    model: event.model ?? null,
    sessionId: null,
    usage: null,
    error: null,
    parentToolUseId: event.parentToolUseId ?? null,
    timestamp: at,
    createdAt: at,
    updatedAt: at,
    slots: [],
  };
}

/** A whole message as one that may grow. */
export function asLive(message: Message): LiveMessage {
  return { ...message, slots: null };
}

/** Whether deltas may still come for this message. */
export function mayGrow(message: Message): boolean {
  return message.status === "streaming" || message.blocks.some((block) => isTool(block) && block.status === "running");
}

/** The message after `event`; the same one where the event says nothing new. */
export function grown(message: LiveMessage, event: MessageEvent, now: number): Grown {
  switch (event.type) {
    case "text.delta":
    case "thinking.delta":
      return withDelta(message, event);
    case "text.done":
    case "thinking.done":
      return withWhole(message, event);
    case "tool.started":
      return withTool(message, event, now);
    case "tool.input":
    case "tool.progress":
    case "tool.done":
      return withToolChange(message, event, now);
    case "message.done":
      return {
        ...message,
        status: "completed",
        claudeData: event.claudeData,
        usage: event.usage ?? message.usage,
        model: event.model ?? message.model,
      };
    case "message.discarded":
      return discarded(message, now);
    case "message.started":
      return message;
  }
}

/** Taken back: this is its end, and no whole message follows. Tools that still run will never answer. */
function discarded(message: LiveMessage, now: number): LiveMessage {
  const finishedAt = new Date(now).toISOString();
  const blocks = message.blocks.map((block) =>
    isTool(block) && block.status === "running" ? { ...block, status: "failed" as const, isError: true, finishedAt } : block,
  );
  return { ...message, status: "discarded", blocks, content: textOf(blocks) };
}

/** The text of the text blocks, as the server joins them. */
export function textOf(blocks: readonly Block[]): string {
  return blocks.flatMap((block) => (block.type === "text" && block.text.trim() ? [block.text] : [])).join("\n\n");
}

function isTool(block: Block | undefined): block is ToolUseBlock {
  return block?.type === "tool_use";
}

function withDelta(message: LiveMessage, event: Delta): Grown {
  const kind = event.type === "text.delta" ? "text" : "thinking";
  const [place, slots] = placeOf(message, event.block, kind, event.offset);
  const block = place === null ? undefined : message.blocks[place];
  if (place === null || block === undefined) {
    return event.offset === 0 ? inserted(message, event.block, { type: kind, text: event.text }) : MISFIT;
  }
  if (block.type !== kind || event.offset > block.text.length) return MISFIT;
  if (event.offset < block.text.length) {
    // Said before: what is here already holds it, or else the two differ.
    return block.text.startsWith(event.text, event.offset) ? message : MISFIT;
  }
  const longer: Growing = { type: kind, text: block.text + event.text };
  return { ...message, blocks: withItem(message.blocks, place, longer), slots };
}

function withWhole(message: LiveMessage, event: Whole): Grown {
  const block: Growing = { type: event.type === "text.done" ? "text" : "thinking", text: event.text };
  const place = slotsOf(message).indexOf(event.block);
  if (place < 0) return inserted(message, event.block, block);
  return message.blocks[place]?.type === block.type
    ? { ...message, blocks: withItem(message.blocks, place, block) }
    : MISFIT;
}

function withTool(message: LiveMessage, event: ToolStartedEvent, now: number): Grown {
  const place = message.blocks.findIndex((block) => isTool(block) && block.id === event.id);
  const known = message.blocks[place];
  if (isTool(known)) {
    // Said again once the agent knows more of it.
    const named = { ...known, name: event.name, kind: event.kind, title: event.title };
    return { ...message, blocks: withItem(message.blocks, place, named) };
  }
  return inserted(message, event.block, {
    type: "tool_use",
    id: event.id,
    name: event.name,
    kind: event.kind,
    title: event.title,
    input: null,
    status: "running",
    result: null,
    isError: false,
    startedAt: new Date(now).toISOString(),
    finishedAt: null,
    parentToolUseId: message.parentToolUseId,
    progress: "",
    attachment: null,
  });
}

function withToolChange(message: LiveMessage, event: ToolEvent, now: number): Grown {
  const place = message.blocks.findIndex((block) => isTool(block) && block.id === event.id);
  const tool = message.blocks[place];
  if (!isTool(tool)) return MISFIT;
  return { ...message, blocks: withItem(message.blocks, place, changedTool(tool, event, now)) };
}

function changedTool(tool: ToolUseBlock, event: ToolEvent, now: number): ToolUseBlock {
  if (event.type === "tool.input") return { ...tool, input: event.input };
  if (event.type === "tool.progress") return { ...tool, progress: tool.progress + event.text };
  return {
    ...tool,
    status: event.isError ? "failed" : "completed",
    result: event.result,
    isError: event.isError,
    attachment: event.attachment ?? null,
    finishedAt: new Date(now).toISOString(),
    progress: "",
  };
}

function slotsOf(message: LiveMessage): readonly number[] {
  return message.slots ?? message.blocks.map((_, place) => place);
}

/**
 * Where the block of that index stands, and the indices with it; null: it begins now.
 *
 * A message that came whole has its empty blocks left out, so that a later block may stand before its index. It is
 * then the last one of its kind whose text ends where the delta goes on.
 */
function placeOf(
  message: LiveMessage,
  index: number,
  kind: "text" | "thinking",
  offset: number,
): [number | null, readonly number[]] {
  const slots = slotsOf(message);
  const place = slots.indexOf(index);
  const fits = (block: Block | undefined) => block?.type === kind && block.text.length === offset;
  if (message.slots !== null || offset === 0 || fits(message.blocks[place])) return [place < 0 ? null : place, slots];
  const found = message.blocks.findLastIndex(fits);
  if (found < 0 || found > index) return [place < 0 ? null : place, slots];
  return [found, slots.map((slot, at) => (at < found ? slot : index + at - found))];
}

/** The message with a block that begins, in its place by the wire's index. */
function inserted(message: LiveMessage, index: number, block: Block): Grown {
  const slots = slotsOf(message);
  if (slots.includes(index)) return MISFIT;
  const before = slots.findIndex((slot) => slot > index);
  const at = before < 0 ? slots.length : before;
  return {
    ...message,
    blocks: [...message.blocks.slice(0, at), block, ...message.blocks.slice(at)],
    slots: [...slots.slice(0, at), index, ...slots.slice(at)],
  };
}
