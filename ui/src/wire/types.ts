// Made from the server's schemas by `make ui-types`; a test fails when it is stale. Not to be edited by hand.

/** ISO 8601 UTC with milliseconds. */
export type Timestamp = string;
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export type JsonObject = { readonly [key: string]: JsonValue };

/** Text. */
export interface TextBlock {
  readonly type: "text";
  readonly text: string;
}

/** What the model thought aloud. */
export interface ThinkingBlock {
  readonly type: "thinking";
  readonly text: string;
}

/** One tool call, with its result once there is one. */
export interface ToolUseBlock {
  readonly type: "tool_use";
  readonly id: string;
  readonly name: string;
  readonly kind: string;
  readonly title: string;
  readonly input: JsonValue | null;
  readonly status: ToolStatus;
  readonly result: JsonValue | null;
  readonly isError: boolean;
  readonly startedAt: Timestamp | null;
  readonly finishedAt: Timestamp | null;
  readonly parentToolUseId: string | null;
  readonly progress: string;
  readonly attachment: string | null;
}

/** How far a tool call is. */
export type ToolStatus = "running" | "completed" | "failed";

/** A part of a message. */
export type Block =
  | TextBlock
  | ThinkingBlock
  | ToolUseBlock;

/** A message of the agent begins. */
export interface MessageStartedEvent {
  readonly type: "message.started";
  readonly messageId: string;
  readonly model?: string;
  readonly parentToolUseId?: string;
  readonly claudeMessageId?: string;
  readonly ordinal?: number;
}

/** More text of one block. */
export interface TextDeltaEvent {
  readonly type: "text.delta";
  readonly messageId: string;
  readonly block: number;
  readonly offset: number;
  readonly text: string;
}

/** More thinking of one block. */
export interface ThinkingDeltaEvent {
  readonly type: "thinking.delta";
  readonly messageId: string;
  readonly block: number;
  readonly offset: number;
  readonly text: string;
}

/** The whole text of one block: the truth, whatever deltas came. */
export interface TextDoneEvent {
  readonly type: "text.done";
  readonly messageId: string;
  readonly block: number;
  readonly text: string;
}

/** The whole thinking of one block: the truth, whatever deltas came. */
export interface ThinkingDoneEvent {
  readonly type: "thinking.done";
  readonly messageId: string;
  readonly block: number;
  readonly text: string;
}

/** A tool call begins; its input may follow. */
export interface ToolStartedEvent {
  readonly type: "tool.started";
  readonly messageId: string;
  readonly block: number;
  readonly id: string;
  readonly name: string;
  readonly kind: string;
  readonly title: string;
}

/** The whole input of a tool call. */
export interface ToolInputEvent {
  readonly type: "tool.input";
  readonly messageId: string;
  readonly block: number;
  readonly id: string;
  readonly input: JsonValue;
}

/** More output of a running tool. `block` is set for browsers, who index by it. */
export interface ToolProgressEvent {
  readonly type: "tool.progress";
  readonly messageId: string;
  readonly id: string;
  readonly text: string;
  readonly block?: number;
}

/** A tool call has its result. `attachment` is set where the result was cut and the whole is an attachment. */
export interface ToolDoneEvent {
  readonly type: "tool.done";
  readonly messageId: string;
  readonly id: string;
  readonly result: JsonValue;
  readonly isError: boolean;
  readonly block?: number;
  readonly attachment?: string;
}

/** Tokens, as counted by the agent. */
export interface Usage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cacheReadTokens: number;
  readonly cacheWriteTokens: number;
}

/** The message is final but for the results of its tools. */
export interface MessageDoneEvent {
  readonly type: "message.done";
  readonly messageId: string;
  readonly claudeData: JsonValue;
  readonly usage?: Usage;
  readonly model?: string;
  readonly stopReason?: string;
}

/** The agent took the message back after it was shown. */
export interface MessageDiscardedEvent {
  readonly type: "message.discarded";
  readonly messageId: string;
}

/** The agent's own resume handle is now this one. */
export interface SessionUpdatedEvent {
  readonly type: "session.updated";
  readonly sessionId: string;
}

/** Tokens of the run so far. */
export interface UsageUpdatedEvent {
  readonly type: "usage.updated";
  readonly usage: Usage;
}

/** One line of the agent's to-do list. */
export interface PlanEntry {
  readonly text: string;
  readonly status: string;
}

/** The agent's to-do list, whole. */
export interface PlanUpdatedEvent {
  readonly type: "plan.updated";
  readonly entries: readonly PlanEntry[];
}

/** The agent changed its permission mode. */
export interface ModeUpdatedEvent {
  readonly type: "mode.updated";
  readonly mode: string;
}

/** Something the person should know, for example that the API is retried. `level`: info, warning, error. */
export interface NoticeEvent {
  readonly type: "notice";
  readonly level: string;
  readonly text: string;
}

/** What an agent says while it works. */
export type StreamEvent =
  | MessageStartedEvent
  | TextDeltaEvent
  | ThinkingDeltaEvent
  | TextDoneEvent
  | ThinkingDoneEvent
  | ToolStartedEvent
  | ToolInputEvent
  | ToolProgressEvent
  | ToolDoneEvent
  | MessageDoneEvent
  | MessageDiscardedEvent
  | SessionUpdatedEvent
  | UsageUpdatedEvent
  | PlanUpdatedEvent
  | ModeUpdatedEvent
  | NoticeEvent;

/** `join-conversation`. */
export interface JoinConversation {
  readonly conversationId: string;
  readonly after?: number | null;
  readonly epoch?: string | null;
}

/** `{conversationId}` -> ConversationId. */
export interface OfConversation {
  readonly conversationId: string;
}

/** `{projectId}` -> ProjectId. */
export interface OfProject {
  readonly projectId: string;
}

/** `chat:send-message`, and the body of REST's send. */
export interface SendMessage {
  readonly agent?: string | null;
  readonly model?: string | null;
  readonly permissionMode?: "default" | "plan" | "acceptEdits" | "bypassPermissions" | "interactive" | null;
  readonly workingDirectory?: string | null;
  readonly bridgeId?: string | null;
  readonly requestId: string;
  readonly content: string;
  readonly conversationId?: string | null;
  readonly projectId?: string | null;
  readonly sessionId?: string | null;
  readonly attachments?: readonly string[] | null;
  readonly allowedTools?: readonly string[] | null;
}

/** `{requestId}` -> RequestId. */
export interface OfRequest {
  readonly requestId: string;
}

/** `chat:retry`. */
export interface RetryRun {
  readonly requestId: string;
  readonly newRequestId: string;
}

/** `chat:extend`. */
export interface ExtendRun {
  readonly requestId: string;
  readonly seconds: number;
}

/** `chat:queue-update`. */
export interface UpdateQueued {
  readonly requestId: string;
  readonly content: string;
}

/** `chat:queue-move`. */
export interface MoveQueued {
  readonly requestId: string;
  readonly position: number;
}

/** `conversation:create`, and REST's body for it. */
export interface CreateConversation {
  readonly agent?: string | null;
  readonly model?: string | null;
  readonly permissionMode?: "default" | "plan" | "acceptEdits" | "bypassPermissions" | "interactive" | null;
  readonly workingDirectory?: string | null;
  readonly bridgeId?: string | null;
  readonly requestId?: string | null;
  readonly projectId?: string | null;
  readonly title?: string | null;
}

/** `conversation:seen`. */
export interface SeenConversation {
  readonly conversationId: string;
  readonly seq: number;
}

/** `permission:respond`, and REST's body for it (with the promptId of the path). */
export interface RespondPrompt {
  readonly promptId: string;
  readonly selectedOption: string;
  readonly message?: string | null;
  readonly input?: JsonObject | null;
  readonly answers?: JsonObject | null;
}

/** `{promptId}` -> PromptId. */
export interface OfPrompt {
  readonly promptId: string;
}

/** `prompt:extend`. */
export interface ExtendPrompt {
  readonly promptId: string;
  readonly seconds: number;
}

/** `permission:set-mode`. */
export interface SetMode {
  readonly conversationId: string;
  readonly mode: "default" | "plan" | "acceptEdits" | "bypassPermissions" | "interactive";
}

/** `{}`. */
export type Nothing = Readonly<Record<string, never>>;

/** `bridge:files`. */
export interface ListFiles {
  readonly conversationId?: string | null;
  readonly bridgeId?: string | null;
  readonly query?: string | null;
  readonly path?: string | null;
  readonly limit?: number | null;
}

/** `latency:ping`. */
export interface Ping {
  readonly sentAt?: JsonValue | null;
}

/** A conversation as it is, or what of it has changed. */
export interface SnapshotAnswer {
  readonly ok: true;
  readonly epoch: string;
  readonly seq: number;
  readonly conversation: Conversation;
  readonly messages: readonly Message[];
  readonly runs: readonly Run[];
  readonly prompts: readonly Prompt[];
  readonly queue: ToldQueue;
  readonly truncated: boolean;
}

/** One thread with one agent. */
export interface Conversation {
  readonly id: string;
  readonly projectId: string | null;
  readonly userId: string;
  readonly title: string;
  readonly status: ConversationStatus;
  readonly agent: string | null;
  readonly model: string | null;
  readonly permissionMode: PermissionMode;
  readonly bridgeId: string | null;
  readonly workingDirectory: string | null;
  readonly claudeSessionId: string | null;
  readonly seq: number;
  readonly state: ConversationState;
  readonly usage: Usage;
  readonly costUsd: number;
  readonly bypassUntil: Timestamp | null;
  readonly createdAt: Timestamp;
  readonly updatedAt: Timestamp;
}

/** Where a conversation stands in its own life. */
export type ConversationStatus = "active" | "archived" | "deleted";

/** How much the agent may do without asking. */
export type PermissionMode = "default" | "plan" | "acceptEdits" | "bypassPermissions";

/** What a conversation is doing, for lists and badges. */
export type ConversationState = "idle" | "queued" | "running" | "awaiting_input" | "failed";

/** One message. `blocks` is the truth; `content` is the text of its text blocks. */
export interface Message {
  readonly id: string;
  readonly conversationId: string;
  readonly projectId: string | null;
  readonly requestId: string | null;
  readonly ordinal: number;
  readonly seq: number;
  readonly role: Role;
  readonly status: MessageStatus;
  readonly content: string;
  readonly blocks: readonly Block[];
  readonly attachments: readonly Attachment[];
  readonly type: string;
  readonly claudeData: JsonValue;
  readonly claudeMessageId: string | null;
  readonly model: string | null;
  readonly sessionId: string | null;
  readonly usage: Usage | null;
  readonly error: Failure | null;
  readonly parentToolUseId: string | null;
  readonly timestamp: Timestamp;
  readonly createdAt: Timestamp;
  readonly updatedAt: Timestamp;
}

/** Who speaks in a message. */
export type Role = "user" | "assistant" | "system";

/** How far a message is. `discarded`: the agent took it back after it was shown. */
export type MessageStatus = "sending" | "streaming" | "completed" | "failed" | "aborted" | "discarded";

/** A file that came with a message, or what a tool returned beyond a message's share. */
export interface Attachment {
  readonly id: string;
  readonly filename: string;
  readonly mimeType: string;
  readonly sizeBytes: number;
  readonly url: string;
}

/** Why a run or message failed. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
}

/** One user message being answered by an agent. */
export interface Run {
  readonly requestId: string;
  readonly conversationId: string;
  readonly seq: number;
  readonly status: RunStatus;
  readonly bridgeId: string | null;
  readonly agent: string | null;
  readonly model: string | null;
  readonly messageIds: readonly string[];
  readonly queuedAt: Timestamp;
  readonly dispatchedAt: Timestamp | null;
  readonly startedAt: Timestamp | null;
  readonly lastEventAt: Timestamp | null;
  readonly abortRequestedAt: Timestamp | null;
  readonly deadlineAt: Timestamp | null;
  readonly deadlineReason: string | null;
  readonly finishedAt: Timestamp | null;
  readonly away: boolean;
  readonly origin: "user" | "background";
  readonly usage: Usage;
  readonly costUsd: number;
  readonly plan: readonly PlanEntry[];
  readonly notices: readonly RunNotice[];
  readonly error: Failure | null;
}

/** queued -> dispatched -> running <-> awaiting_input -> completed | failed | aborted. */
export type RunStatus = "queued" | "dispatched" | "running" | "awaiting_input" | "completed" | "failed" | "aborted";

/** Something about a run that a person should know. */
export interface RunNotice {
  readonly level: string;
  readonly text: string;
}

/** A question of the agent to a person. */
export interface Prompt {
  readonly id: string;
  readonly conversationId: string;
  readonly projectId: string | null;
  readonly requestId: string;
  readonly seq: number;
  readonly sessionId: string | null;
  readonly type: PromptType;
  readonly title: string;
  readonly message: string;
  readonly toolName: string | null;
  readonly toolUseId: string | null;
  readonly riskLevel: string;
  readonly decision: Decision | null;
  readonly input: JsonValue | null;
  readonly options: readonly PromptOption[];
  readonly questions: readonly Question[];
  readonly editable: boolean;
  readonly status: PromptStatus;
  readonly selectedOption: string | null;
  readonly response: PromptResponse | null;
  readonly autoHandler: string | null;
  readonly answeredBy: string | null;
  readonly stage: number;
  readonly timeoutAt: Timestamp | null;
  readonly seenAt: Timestamp | null;
  readonly deliveredAt: Timestamp | null;
  readonly createdAt: Timestamp;
  readonly respondedAt: Timestamp | null;
}

/** What kind of question the agent asks. */
export type PromptType = "tool_permission" | "plan_review" | "question";

/** What the rules say about one tool call, and why. */
export interface Decision {
  readonly outcome: Outcome;
  readonly rule: Rule;
  readonly reason: string;
  readonly risk: Risk;
  readonly grantId: string | null;
}

/** What becomes of a tool call. `ask`: a person decides. */
export type Outcome = "allow" | "deny" | "ask";

/** Which rule decided, in the order in which they are asked. */
export type Rule = "deny_grant" | "deny_unclear" | "plan" | "allow_grant" | "bypass" | "accept_edits" | "read_only" | "ask";

/** How bad a tool call can be. Declared from the least to the worst. */
export type Risk = "LOW" | "MEDIUM" | "HIGH" | "CRITICAL";

/** One way to answer a prompt. */
export interface PromptOption {
  readonly id: string;
  readonly label: string;
  readonly kind: string;
  readonly style: string;
}

/** One question of a prompt of the type `question`. */
export interface Question {
  readonly id: string;
  readonly question: string;
  readonly header?: string;
  readonly multiSelect: boolean;
  readonly options: readonly QuestionOption[];
}

/** One choice of a question. */
export interface QuestionOption {
  readonly label: string;
  readonly description?: string;
  readonly preview?: string;
}

/** One end state, whoever races. `timeout` is not a deny. */
export type PromptStatus = "pending" | "answered" | "timeout" | "cancelled";

/** What was answered beside the option. */
export interface PromptResponse {
  readonly message: string | null;
  readonly input: JsonValue | null;
  readonly answers: JsonValue | null;
}

/** A conversation's queue. `reason` is there where it is paused. */
export interface ToldQueue {
  readonly paused: boolean;
  readonly reason?: string | null;
  readonly runs: readonly Run[];
}

/** It is done. */
export interface DoneAnswer {
  readonly ok: true;
}

/** What became of a message that was sent over the socket: `run` stays away. */
export interface DispatchedAnswer {
  readonly ok: true;
  readonly requestId: string;
  readonly conversationId: string;
  readonly messageId: string;
  readonly status: "dispatched" | "queued";
  readonly position?: number;
  readonly reason?: string;
  readonly run?: Run | null;
}

/** One run. */
export interface RunAnswer {
  readonly ok: true;
  readonly run: Run;
}

/** A queue. */
export interface QueueAnswer {
  readonly ok: true;
  readonly queue: ToldQueue;
}

/** One conversation. */
export interface ConversationAnswer {
  readonly ok: true;
  readonly conversation: Conversation;
}

/** Whether there is such a conversation. */
export interface ExistsAnswer {
  readonly ok: true;
  readonly exists: boolean;
}

/** One prompt. */
export interface PromptAnswer {
  readonly ok: true;
  readonly prompt: Prompt;
}

/** A conversation's permission mode. */
export interface ModeAnswer {
  readonly ok: true;
  readonly mode: PermissionMode;
}

/** The bridges that are connected, or were a moment ago. */
export interface BridgesAnswer {
  readonly ok: true;
  readonly bridges: readonly Bridge[];
}

/** One bridge as lists show it. */
export interface Bridge {
  readonly id: string;
  readonly name: string;
  readonly hostname: string;
  readonly version: string;
  readonly connected: boolean;
  readonly inProcess: boolean;
  readonly agents: readonly Agent[];
  readonly workspaces: readonly Workspace[];
  readonly maxConcurrentRequests: number;
  readonly active: number;
  readonly queued: number;
  readonly allowBypass: boolean;
  readonly connectedAt: Timestamp | null;
  readonly lastSeenAt: Timestamp | null;
}

/** An agent that a bridge can run, or why it cannot now. */
export interface Agent {
  readonly id: string;
  readonly title: string;
  readonly available: boolean;
  readonly reason?: string;
  readonly models: readonly string[];
  readonly modes: readonly string[];
}

/** A folder that a bridge lets agents work in. */
export interface Workspace {
  readonly path: string;
  readonly name: string;
}

/** Files, best first. */
export interface FilesAnswer {
  readonly ok: true;
  readonly files: readonly File[];
}

/** A file or folder below a working directory. */
export interface File {
  readonly path: string;
  readonly type: string;
  readonly size: number | null;
}

/** What an agent offers beside messages. */
export interface CommandsAnswer {
  readonly ok: true;
  readonly commands: readonly Command[];
  readonly models: readonly string[];
}

/** A slash command of an agent. */
export interface Command {
  readonly name: string;
  readonly description?: string | null;
  readonly argumentHint?: string | null;
}

/** The client's own time as it gave it, the server's, and how long the store took for one write. */
export interface PongAnswer {
  readonly ok: true;
  readonly sentAt: JsonValue | null;
  readonly receivedAt: Timestamp;
  readonly storedMs: number;
}

/** `chat:message`: it replaces what the client had. */
export interface MessageTold {
  readonly conversationId: string;
  readonly seq: number;
  readonly prevSeq: number;
  readonly message: Message;
}

/** `chat:stream-response`: all events take effect together. */
export interface StreamTold {
  readonly conversationId: string;
  readonly seq: number;
  readonly prevSeq: number;
  readonly requestId: string;
  readonly messageId: string | null;
  readonly events: readonly StreamEvent[];
}

/** `chat:run`: a run's state; the queue where that changed too. */
export interface RunTold {
  readonly conversationId: string;
  readonly seq: number;
  readonly prevSeq: number;
  readonly run: Run;
  readonly queue?: ToldQueue;
}

/** `chat:message-complete`. */
export interface RunCompletedTold {
  readonly conversationId: string;
  readonly seq: number;
  readonly prevSeq: number;
  readonly requestId: string;
  readonly messageId: string | null;
  readonly sessionId: string | null;
  readonly usage: Usage;
  readonly costUsd: number;
  readonly durationMs: number;
}

/** `chat:error`. */
export interface RunFailedTold {
  readonly conversationId: string;
  readonly seq: number;
  readonly prevSeq: number;
  readonly requestId: string;
  readonly error: Failure;
}

/** `chat:aborted`. */
export interface RunAbortedTold {
  readonly conversationId: string;
  readonly seq: number;
  readonly prevSeq: number;
  readonly requestId: string;
}

/** `chat:session-id-available`. */
export interface SessionTold {
  readonly conversationId: string;
  readonly seq: number;
  readonly prevSeq: number;
  readonly sessionId: string | null;
}

/** `interactive_prompt` and `prompt:resolved`. */
export interface PromptTold {
  readonly conversationId: string;
  readonly seq: number;
  readonly prevSeq: number;
  readonly prompt: Prompt;
}

/** `permission_mode_changed`. */
export interface ModeTold {
  readonly conversationId: string;
  readonly seq: number;
  readonly prevSeq: number;
  readonly mode: PermissionMode;
  readonly by: string;
}

/** `conversation:state`: for lists, badges and the prompt tray. */
export interface ConversationStateTold {
  readonly conversationId: string;
  readonly projectId: string | null;
  readonly title: string;
  readonly state: ConversationState;
  readonly pendingPrompts: number;
  readonly updatedAt: Timestamp;
  readonly seq: number;
}

/** `chat:conversation-created` and `conversation:updated`. */
export interface ConversationTold {
  readonly conversationId: string;
  readonly conversation: Conversation;
}

/** `conversation:deleted`. */
export interface ConversationDeletedTold {
  readonly conversationId: string;
  readonly projectId: string | null;
}

/** `conversation:seen`: up to where one has seen it, told to one's own sockets. */
export interface ConversationSeenTold {
  readonly conversationId: string;
  readonly seq: number;
}

/** `project:updated`. */
export interface ProjectTold {
  readonly project: Project;
}

/** A named folder of conversations. */
export interface Project {
  readonly id: string;
  readonly name: string;
  readonly workingDirectory: string | null;
  readonly userId: string;
  readonly createdAt: Timestamp;
  readonly updatedAt: Timestamp;
}

/** `project:deleted`. */
export interface ProjectDeletedTold {
  readonly projectId: string;
}

/** `permission_escalation`: a question waits and nobody answers. */
export interface EscalationTold {
  readonly conversationId: string;
  readonly promptId: string;
  readonly stage: number;
  readonly toolName: string | null;
  readonly riskLevel: string;
  readonly deadline: Timestamp | null;
}

/** `bridge:status`: presence of all bridges. */
export interface BridgesTold {
  readonly bridges: readonly Bridge[];
}

/** `chat:resync`: join again, but not before this long. */
export interface ResyncTold {
  readonly conversationId: string;
  readonly retryAfterMs: number;
}

/** `server:draining`: the server goes away. */
export interface DrainingTold {
  readonly reconnectAfterMs: number;
}

/** A page of conversations; `next` is the cursor of the next one, null at the end. `seen`: up to which seq whoever asks has seen each; what they never looked at is not in it. */
export interface ConversationsAnswer {
  readonly ok: true;
  readonly conversations: readonly Conversation[];
  readonly seen: Readonly<Record<string, number>>;
  readonly next: string | null;
}

/** A page of messages by ordinal, and their runs; `next` is where the next page of the same direction begins, null at the end. */
export interface MessagesAnswer {
  readonly ok: true;
  readonly messages: readonly Message[];
  readonly runs: readonly Run[];
  readonly next: number | null;
}

/** What became of a message that was sent. `run` is null where the run has been deleted since. */
export interface SentAnswer {
  readonly ok: true;
  readonly requestId: string;
  readonly conversationId: string;
  readonly messageId: string;
  readonly status: "dispatched" | "queued";
  readonly position?: number;
  readonly reason?: string;
  readonly run: Run | null;
}

/** Runs, oldest first. */
export interface RunsAnswer {
  readonly ok: true;
  readonly runs: readonly Run[];
}

/** Prompts, newest first. */
export interface PromptsAnswer {
  readonly ok: true;
  readonly prompts: readonly Prompt[];
}

/** One grant. */
export interface GrantAnswer {
  readonly ok: true;
  readonly permission: Grant;
}

/** A standing answer: calls of this tool (with this input, where a pattern is set) need no asking. */
export interface Grant {
  readonly id: string;
  readonly scope: GrantScope;
  readonly conversationId: string | null;
  readonly projectId: string | null;
  readonly toolName: string;
  readonly pattern: string | null;
  readonly effect: GrantEffect;
  readonly status: GrantStatus;
  readonly expiresAt: Timestamp | null;
  readonly createdBy: string | null;
  readonly createdAt: Timestamp;
  readonly revokedAt: Timestamp | null;
  readonly userId: string | null;
}

/** Whom a grant reaches: one conversation, the conversations of one project, or all. */
export type GrantScope = "conversation" | "project" | "all";

/** What a grant does to the calls that it matches. */
export type GrantEffect = "allow" | "deny";

/** Where a grant stands; the last two are final. */
export type GrantStatus = "granted" | "revoked" | "expired";

/** Grants, newest first. */
export interface GrantsAnswer {
  readonly ok: true;
  readonly permissions: readonly Grant[];
}

/** What was decided and done, newest first. `next`: the cursor of the page that follows; null at the end. */
export interface AuditAnswer {
  readonly ok: true;
  readonly entries: readonly AuditEntry[];
  readonly next: string | null;
}

/** A decision that was taken, by a rule or by a person, or something else that somebody did. */
export interface AuditEntry {
  readonly id: string;
  readonly createdAt: Timestamp;
  readonly action: string;
  readonly conversationId: string | null;
  readonly projectId: string | null;
  readonly requestId: string | null;
  readonly promptId: string | null;
  readonly type: string;
  readonly toolName: string | null;
  readonly riskLevel: string;
  readonly outcome: string;
  readonly handler: string;
  readonly rule: string | null;
  readonly reason: string;
  readonly grantId: string | null;
  readonly userId: string | null;
  readonly role: string | null;
  readonly address: string | null;
  readonly tokenId: string | null;
  readonly subject: string | null;
  readonly selectedOption: string | null;
  readonly inputDigest: string;
  readonly latencyMs: number;
}

/** One project. */
export interface ProjectAnswer {
  readonly ok: true;
  readonly project: Project;
}

/** Projects, newest first. */
export interface ProjectsAnswer {
  readonly ok: true;
  readonly projects: readonly Project[];
}

/** One attachment. */
export interface AttachmentAnswer {
  readonly ok: true;
  readonly attachment: Attachment;
}

/** A page of hits, newest first; `next` is the cursor of the next one, null at the end. */
export interface SearchAnswer {
  readonly ok: true;
  readonly results: readonly SearchHit[];
  readonly next: string | null;
}

/** A message or title that holds all words; matches in `snippet` stand between U+E000 and U+E001. */
export interface SearchHit {
  readonly conversationId: string;
  readonly projectId: string | null;
  readonly title: string;
  readonly messageId: string | null;
  readonly role: string | null;
  readonly snippet: string;
  readonly createdAt: Timestamp;
}

/** How many there are of each status; decisions by `<outcome>/<handler>`. */
export interface StatsAnswer {
  readonly ok: true;
  readonly messages: Readonly<Record<string, number>>;
  readonly runs: Readonly<Record<string, number>>;
  readonly prompts: Readonly<Record<string, number>>;
  readonly conversations: Readonly<Record<string, number>>;
  readonly decisions: Readonly<Record<string, number>>;
}

/** Buckets without a gap, the earliest first, also empty ones; `until` is the end of the last. */
export interface SeriesAnswer {
  readonly ok: true;
  readonly since: Timestamp;
  readonly until: Timestamp;
  readonly bucket: BucketWidth;
  readonly buckets: readonly Bucket[];
}

/** How much time one bucket holds. */
export type BucketWidth = "hour" | "day";

/** What ended in a stretch of time. The latencies are those of the `answers` of people, null without any. */
export interface Bucket {
  readonly startAt: Timestamp;
  readonly runs: Readonly<Record<string, number>>;
  readonly usage: Usage;
  readonly costUsd: number;
  readonly prompts: Readonly<Record<string, number>>;
  readonly answers: number;
  readonly medianLatencyMs: number | null;
  readonly p95LatencyMs: number | null;
}

/** What one round through each part takes now; `bridgeRoundTripMs` is null without a bridge. */
export interface LatencyAnswer {
  readonly ok: true;
  readonly storeWriteMs: number;
  readonly storeReadMs: number;
  readonly bridgeRoundTripMs: number | null;
  readonly loopLagMs: number;
}

/** Who the credential says you are. */
export interface IdentityAnswer {
  readonly ok: true;
  readonly userId: string;
  readonly role: AccountRole;
}

/** What a credential may do. `bridge` may only be a bridge. */
export type AccountRole = "user" | "bridge" | "admin";

/** Tokens, newest first. */
export interface TokensAnswer {
  readonly ok: true;
  readonly tokens: readonly ApiToken[];
}

/** A token, without its text. `createdBy` is null where files or settings of the server give it. */
export interface ApiToken {
  readonly id: string;
  readonly name: string;
  readonly role: AccountRole;
  readonly bridgeId: string | null;
  readonly createdAt: Timestamp;
  readonly createdBy: string | null;
  readonly lastUsedAt: Timestamp | null;
  readonly expiresAt: Timestamp | null;
  readonly revokedAt: Timestamp | null;
}

/** One token. */
export interface TokenAnswer {
  readonly ok: true;
  readonly token: ApiToken;
}

/** A token that was just made. `secret` is its text, which is told this once and kept nowhere. */
export interface NewTokenAnswer {
  readonly ok: true;
  readonly token: ApiToken;
  readonly secret: string;
}

/** How the server is. */
export interface HealthAnswer {
  readonly status: "ok" | "degraded" | "down";
  readonly version: string;
  readonly uptimeS: number;
  readonly connections: Connections;
  readonly services: Services;
  readonly runs: RunCounts;
  readonly prompts: PromptCounts;
}

/** How many are connected, and how many conversations are watched. */
export interface Connections {
  readonly sockets: number;
  readonly conversations: number;
  readonly bridges: number;
}

/** `ok` or `down` for each part; jobs can be `degraded: ` and what is wrong with which. */
export interface Services {
  readonly store: string;
  readonly bridge: string;
  readonly jobs: string;
  readonly frontend: string;
}

/** Runs that have not ended. */
export interface RunCounts {
  readonly active: number;
  readonly queued: number;
  readonly away: number;
  readonly stuck: number;
}

/** Prompts that wait for a person. */
export interface PromptCounts {
  readonly pending: number;
}

/** Whether the process lives, or takes requests. */
export interface ReadinessAnswer {
  readonly status: "ok" | "down";
}

/** A page of sessions, the newest first; `next` is the cursor of the next one, null at the end. */
export interface SessionsAnswer {
  readonly ok: true;
  readonly sessions: readonly AgentSessionResource[];
  readonly next: string | null;
}

/** A session that an agent keeps itself, on the machine of its bridge. */
export interface AgentSessionResource {
  readonly sessionId: string;
  readonly title: string;
  readonly workingDirectory: string;
  readonly startedAt: Timestamp | null;
  readonly updatedAt: Timestamp | null;
  readonly sizeBytes: number;
}

/** The conversation of a session, and whether it was made just now. */
export interface ImportedAnswer {
  readonly ok: true;
  readonly conversation: Conversation;
  readonly isNew: boolean;
  readonly messageCount: number;
}

/** The one error shape. `already_resolved` carries the winner: the prompt or the run as it ended. */
export interface ErrorAnswer {
  readonly ok: false;
  readonly error: ApiError;
  readonly prompt?: Prompt;
  readonly run?: Run;
}

/** What is wrong. `fields` names each wrong field; `incident` is what the log names an internal error by. */
export interface ApiError {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly fields?: Readonly<Record<string, readonly string[]>>;
  readonly incident?: string;
}

/** `PATCH /api/chat/conversations/{conversationId}`: what is absent stays; null takes a value away. */
export interface PatchConversation {
  readonly title?: string;
  readonly projectId?: string | null;
  readonly agent?: string | null;
  readonly model?: string | null;
  readonly workingDirectory?: string | null;
  readonly bridgeId?: string | null;
}

/** `POST .../fork`. */
export interface ForkConversation {
  readonly conversationId: string;
  readonly atMessageId?: string | null;
}

/** `POST .../{id}/permissions`. */
export interface CreateGrant {
  readonly toolName: string;
  readonly pattern?: string | null;
  readonly scope?: GrantScope;
  readonly effect?: GrantEffect;
  readonly expiresAt?: Timestamp | null;
}

/** `POST /api/permissions`. */
export interface CreateWideGrant {
  readonly toolName: string;
  readonly pattern?: string | null;
  readonly projectId?: string | null;
  readonly effect?: GrantEffect;
  readonly expiresAt?: Timestamp | null;
}

/** `POST /api/tokens`. */
export interface CreateToken {
  readonly name: string;
  readonly role: AccountRole;
  readonly expiresInDays?: number | null;
  readonly sameUser?: boolean;
}

/** `POST /api/projects`. */
export interface CreateProject {
  readonly name: string;
  readonly workingDirectory?: string | null;
}

/** `PATCH /api/projects/{projectId}`: what is absent stays; null takes the folder away. */
export interface PatchProject {
  readonly name?: string;
  readonly workingDirectory?: string | null;
}

/** `POST /api/bridges/sessions/import`. */
export interface ImportSession {
  readonly sessionId: string;
  readonly bridgeId?: string | null;
  readonly workingDirectory?: string | null;
  readonly projectId?: string | null;
}

/** What a client may send, by event. */
export interface ClientPayloads {
  "join-conversation": JoinConversation;
  "leave-conversation": OfConversation;
  "join-project": OfProject;
  "leave-project": OfProject;
  "chat:send-message": SendMessage;
  "chat:abort": OfRequest;
  "chat:retry": RetryRun;
  "chat:extend": ExtendRun;
  "chat:queue-update": UpdateQueued;
  "chat:queue-remove": OfRequest;
  "chat:queue-move": MoveQueued;
  "chat:queue-resume": OfConversation;
  "conversation:create": CreateConversation;
  "conversation:check": OfConversation;
  "conversation:seen": SeenConversation;
  "permission:respond": RespondPrompt;
  "prompt:seen": OfPrompt;
  "prompt:extend": ExtendPrompt;
  "permission:get-mode": OfConversation;
  "permission:set-mode": SetMode;
  "bridge:list": Nothing;
  "bridge:files": ListFiles;
  "bridge:commands": OfConversation;
  "latency:ping": Ping;
}

/** The acknowledgement of each, when it is not refused. */
export interface ClientAnswers {
  "join-conversation": SnapshotAnswer;
  "leave-conversation": DoneAnswer;
  "join-project": DoneAnswer;
  "leave-project": DoneAnswer;
  "chat:send-message": DispatchedAnswer;
  "chat:abort": RunAnswer;
  "chat:retry": DispatchedAnswer;
  "chat:extend": RunAnswer;
  "chat:queue-update": QueueAnswer;
  "chat:queue-remove": QueueAnswer;
  "chat:queue-move": QueueAnswer;
  "chat:queue-resume": QueueAnswer;
  "conversation:create": ConversationAnswer;
  "conversation:check": ExistsAnswer;
  "conversation:seen": DoneAnswer;
  "permission:respond": PromptAnswer;
  "prompt:seen": PromptAnswer;
  "prompt:extend": PromptAnswer;
  "permission:get-mode": ModeAnswer;
  "permission:set-mode": ModeAnswer;
  "bridge:list": BridgesAnswer;
  "bridge:files": FilesAnswer;
  "bridge:commands": CommandsAnswer;
  "latency:ping": PongAnswer;
}

/** Events with a place in the order of one conversation. */
export interface RoomEvents {
  "chat:message": MessageTold;
  "chat:stream-response": StreamTold;
  "chat:run": RunTold;
  "chat:message-complete": RunCompletedTold;
  "chat:error": RunFailedTold;
  "chat:aborted": RunAbortedTold;
  "chat:session-id-available": SessionTold;
  "interactive_prompt": PromptTold;
  "prompt:resolved": PromptTold;
  "permission_mode_changed": ModeTold;
}

/** Events outside of any order. */
export interface GlobalEvents {
  "conversation:state": ConversationStateTold;
  "chat:conversation-created": ConversationTold;
  "conversation:updated": ConversationTold;
  "conversation:deleted": ConversationDeletedTold;
  "conversation:seen": ConversationSeenTold;
  "project:updated": ProjectTold;
  "project:deleted": ProjectDeletedTold;
  "permission_escalation": EscalationTold;
  "bridge:status": BridgesTold;
  "chat:resync": ResyncTold;
  "server:draining": DrainingTold;
}
