/** The data side of the page: what views may import. */
export type { Actions } from "./actions";
export { createBaton, type Baton } from "./client";
export * from "./hooks";
export type { Drafts } from "./keep";
export { listKey } from "./lists";
export type * from "./model";
export { NO_QUEUE, isFinalRun } from "./model";
export { NO_ANSWER, UNREACHABLE, type Answer } from "./rest";
export * from "./select";
