/** What a delta costs: `npx vitest bench`. The view reads the text once per frame, as here every fourth delta. */
import { bench, describe } from "vitest";
import { messageOf, type PageState } from "./model";
import { after, HERE, joined, message, told } from "./samples";

const DELTAS = 200;

function threadWith(messages: number, textLength: number): PageState {
  const settled = Array.from({ length: messages }, (_, at) => message({ id: `m${at}`, ordinal: at + 1 }));
  const text = "word ".repeat(textLength / 5);
  const live = message({ id: "live", ordinal: messages + 1, status: "streaming", blocks: [{ type: "text", text }] });
  return joined({ messages: [...settled, live] });
}

function second(state: PageState, textLength: number): number {
  let now = state;
  let read = 0;
  for (let n = 0; n < DELTAS; n += 1) {
    now = after(now, told(n + 2, { type: "text.delta", messageId: "live", block: 0, offset: textLength + 5 * n, text: "word " }));
    if (n % 4 === 3) {
      const thread = now.open.get(HERE);
      const block = thread && messageOf(thread, "live")?.blocks[0];
      // To look at a character makes the text flat, as rendering does.
      if (block?.type === "text") read += block.text.charCodeAt(block.text.length - 1);
    }
  }
  return read;
}

describe("200 deltas, one second of a fast stream", () => {
  for (const [messages, textLength] of [[100, 1000], [10_000, 1000], [10_000, 1_000_000]] as const) {
    const state = threadWith(messages, textLength);
    bench(`${messages} messages, ${textLength} characters so far`, () => void second(state, textLength));
  }
});
