/** Whole values of the wire for tests, which name only what they are about. */
import type { Bridge, Conversation, Message, Prompt, Run, SnapshotAnswer, StreamEvent } from "../wire/types";
import { initialState, NO_USAGE, type PageState } from "./model";
import { reduceAll, type PageEvent, type WireEvent } from "./reduce";

export const NOW = Date.parse("2026-01-02T03:04:05Z");
export const AT = "2026-01-02T03:04:05.000Z";
export const HERE = "65f0c0ffee0123456789abcd";
export const THERE = "65f0c0ffee0123456789abce";

export function conversation(fields: Partial<Conversation> = {}): Conversation {
  return {
    id: HERE,
    projectId: null,
    userId: "anna",
    title: "Garden",
    status: "active",
    agent: "demo",
    model: null,
    permissionMode: "default",
    bridgeId: null,
    workingDirectory: null,
    claudeSessionId: null,
    seq: 1,
    state: "idle",
    usage: NO_USAGE,
    costUsd: 0,
    bypassUntil: null,
    createdAt: AT,
    updatedAt: AT,
    ...fields,
  };
}

export function message(fields: Partial<Message> = {}): Message {
  const content = fields.content ?? "Hello.";
  return {
    id: "m1",
    conversationId: HERE,
    projectId: null,
    requestId: "r1",
    ordinal: 1,
    seq: 1,
    role: "assistant",
    status: "completed",
    content,
    blocks: [{ type: "text", text: content }],
    attachments: [],
    type: "message",
    claudeData: {},
    claudeMessageId: null,
    model: null,
    sessionId: null,
    usage: null,
    error: null,
    parentToolUseId: null,
    timestamp: AT,
    createdAt: AT,
    updatedAt: AT,
    ...fields,
  };
}

export function run(fields: Partial<Run> = {}): Run {
  return {
    requestId: "r1",
    conversationId: HERE,
    seq: 1,
    status: "running",
    bridgeId: "local",
    agent: "demo",
    model: null,
    messageIds: [],
    queuedAt: AT,
    dispatchedAt: AT,
    startedAt: AT,
    lastEventAt: null,
    abortRequestedAt: null,
    deadlineAt: null,
    deadlineReason: null,
    finishedAt: null,
    away: false,
    origin: "user",
    usage: NO_USAGE,
    costUsd: 0,
    plan: [],
    notices: [],
    error: null,
    ...fields,
  };
}

export function prompt(fields: Partial<Prompt> = {}): Prompt {
  return {
    id: "p1",
    conversationId: HERE,
    projectId: null,
    requestId: "r1",
    seq: 1,
    sessionId: null,
    type: "tool_permission",
    title: "Run ls?",
    message: "",
    toolName: "Bash",
    toolUseId: "t1",
    riskLevel: "HIGH",
    decision: null,
    input: { command: "ls" },
    options: [],
    questions: [],
    editable: true,
    status: "pending",
    selectedOption: null,
    response: null,
    autoHandler: null,
    answeredBy: null,
    stage: 0,
    timeoutAt: null,
    seenAt: null,
    deliveredAt: null,
    createdAt: AT,
    respondedAt: null,
    ...fields,
  };
}

export function bridge(fields: Partial<Bridge> = {}): Bridge {
  return {
    id: "local",
    name: "local",
    hostname: "here",
    version: "1",
    connected: true,
    inProcess: true,
    agents: [{ id: "demo", title: "Demo", available: true, models: [], modes: [] }],
    workspaces: [],
    maxConcurrentRequests: 5,
    active: 0,
    queued: 0,
    allowBypass: false,
    connectedAt: AT,
    lastSeenAt: AT,
    ...fields,
  };
}

export function snapshot(fields: Partial<SnapshotAnswer> = {}): SnapshotAnswer {
  return {
    ok: true,
    epoch: "e",
    seq: 1,
    conversation: conversation(),
    messages: [],
    runs: [],
    prompts: [],
    queue: { paused: false, runs: [] },
    truncated: false,
    ...fields,
  };
}

export function wire(event: WireEvent): PageEvent {
  return { type: "wire", ...event };
}

/** Stream events that follow on from `seq - 1`. */
export function told(seq: number, ...events: StreamEvent[]): PageEvent {
  const place = { conversationId: HERE, seq, prevSeq: seq - 1, requestId: "r1", messageId: null };
  return wire({ name: "chat:stream-response", payload: { ...place, events } });
}

/** A page that is connected and has joined HERE. */
export function joined(fields: Partial<SnapshotAnswer> = {}): PageState {
  return after(
    initialState(NOW),
    { type: "connection", change: { phase: "live" } },
    { type: "opened", conversationId: HERE },
    { type: "joined", conversationId: HERE, after: null, snapshot: snapshot(fields) },
  );
}

export function after(state: PageState, ...events: PageEvent[]): PageState {
  return reduceAll(state, events, NOW);
}
