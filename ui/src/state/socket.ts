/**
 * The connection: one Socket.IO socket, typed by the wire, which comes back by itself and says how it is.
 *
 * The library's own reconnection is off, because it does not tell when it tries next and cannot be asked to try now.
 */
import { io, type Socket } from "socket.io-client";
import type { ApiError, ClientAnswers, ClientPayloads, ErrorAnswer } from "../wire/types";
import type { Connection } from "./model";
import { isKnownEvent, type WireEvent } from "./reduce";
import { failure, NO_ANSWER, UNREACHABLE, type Answer } from "./rest";

const ACK_TIMEOUT_MS = 20_000;
/** For all of a connection's beginning: the library has a limit for the first half of it only. */
const CONNECT_TIMEOUT_MS = 20_000;
const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 15_000;

export type ConnectionChange = Partial<Connection> & Pick<Connection, "phase">;

export interface Wire {
  connect(): void;
  disconnect(): void;
  isLive(): boolean;
  /**
   * Sends an event. `answered` is called exactly once, in the order of what the server says: an event that comes after
   * the answer is told after it, which a promise could not promise.
   */
  ask<Name extends keyof ClientPayloads>(
    name: Name,
    payload: ClientPayloads[Name],
    answered: (answer: Answer<ClientAnswers[Name]>) => void,
  ): void;
}

export interface Listener {
  event(event: WireEvent): void;
  connection(change: ConnectionChange): void;
}

/** The delay before the next try: doubled each time, and random, so that many pages do not come at once. */
export function retryDelay(attempts: number, random: number = Math.random()): number {
  const most = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** attempts);
  return Math.round(most * (0.5 + random / 2));
}

/** A socket to the server that served the page. */
export function createWire(listener: Listener, url: string = "/"): Wire {
  const socket: Socket = io(url, {
    autoConnect: false,
    reconnection: false,
    transports: ["websocket", "polling"],
    tryAllTransports: true,
    withCredentials: true,
  });
  let attempts = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let leavesAt: number | null = null;

  function connect(): void {
    clearTimeout(timer);
    if (socket.connected) return;
    socket.connect();
    timer = setTimeout(giveUp, CONNECT_TIMEOUT_MS);
  }

  function giveUp(): void {
    socket.disconnect();
    tryLater("The server does not answer");
  }

  function tryLater(reason: string): void {
    clearTimeout(timer);
    const isDraining = leavesAt !== null;
    const retryAt = Math.max(Date.now() + retryDelay(attempts), leavesAt ?? 0);
    leavesAt = null;
    attempts += 1;
    timer = setTimeout(connect, retryAt - Date.now());
    listener.connection({ phase: isDraining ? "draining" : "lost", retryAt, reason, attempts });
  }

  function refused(error: ApiError): void {
    clearTimeout(timer);
    listener.connection({ phase: "refused", reason: error.message, code: error.code });
  }

  socket.on("connect", () => {
    clearTimeout(timer);
    attempts = 0;
    leavesAt = null;
    listener.connection({ phase: "live" });
  });
  socket.on("connect_error", (error: Error & { data?: Partial<ErrorAnswer> }) => {
    const said = error.data?.error;
    if (said && !said.retryable) refused(said);
    else tryLater(said?.message ?? "The server cannot be reached");
  });
  socket.on("disconnect", (reason) => {
    if (reason === "io client disconnect") return;
    if (reason === "io server disconnect" && leavesAt === null) {
      refused({ code: "unauthenticated", message: "You have been logged out", retryable: false });
    } else tryLater("The connection was lost");
  });
  socket.onAny((name: string, payload: unknown) => {
    if (!isKnownEvent(name)) return;
    const event = { name, payload } as WireEvent;
    if (event.name === "server:draining") leavesAt = Date.now() + event.payload.reconnectAfterMs;
    listener.event(event);
  });

  return {
    connect,
    disconnect() {
      clearTimeout(timer);
      socket.disconnect();
    },
    isLive: () => socket.connected,
    ask(name, payload, answered) {
      if (!socket.connected) {
        answered(failure(UNREACHABLE, "There is no connection to the server"));
        return;
      }
      socket.timeout(ACK_TIMEOUT_MS).emit(name, payload, (error: Error | null, answer: Answer<ClientAnswers[typeof name]>) => {
        answered(error ? failure(NO_ANSWER, "The server did not answer; it may have happened all the same") : answer);
      });
    },
  };
}
