import { describe, expect, it } from "vitest";

import { parseRoute } from "./router";

const ID = "0123456789abcdef01234567";

describe("addresses", () => {
  it("name a conversation, and a message in it", () => {
    expect(parseRoute(`/c/${ID}`, "")).toEqual({ view: "conversation", conversationId: ID, messageId: null });
    expect(parseRoute(`/c/${ID}`, "?m=x")).toMatchObject({ messageId: "x" });
    expect(parseRoute("/", `?conversationId=${ID}`)).toMatchObject({ conversationId: ID });
  });
  it("name a session", () => {
    expect(parseRoute("/s/a%2Fb", "")).toEqual({ view: "session", sessionId: "a/b" });
    expect(parseRoute("/", "?sessionId=x")).toEqual({ view: "session", sessionId: "x" });
  });
  it("that mean nothing are a new chat", () => {
    for (const path of ["/", "/c/short", "/c/", "/s/", "/o/none", "/%E0%A4%A"]) {
      expect(parseRoute(path, "").view).toBe("new");
    }
  });
});
