// A conversation for the pictures: what a thread looks like after some work with tools. Written, not run by a model.
// Its shape is that of a conversation which the demo agent has really had, so that it is imported as any other.

const QUESTION = "The reconnect test fails now and then. Find out why, and make it reliable.";
const BEFORE = `    await link.cut()
    await asyncio.sleep(0.5)
    assert client.is_connected`;
const AFTER = `    await link.cut()
    async with asyncio.timeout(30):
        await client.until_connected()`;
const ANSWER = `The test slept for half a second and hoped that this was enough. It now **waits for the event itself**.

| | before | after |
|---|---|---|
| waits | 0.5 s, always | until it is connected |
| on a busy machine | fails 1 in 40 | 200 runs, none failed |

\`\`\`python
async def until_connected(self) -> None:
    """Return once the link is up; at once if it is."""
    await self._connected.wait()
\`\`\`

The same sleep is in \`test_resume.py\`; shall I change that too?`;

function tool(id, name, kind, title, input, result, seconds) {
  const startedAt = "2026-11-28T09:12:04.000Z";
  const finishedAt = new Date(Date.parse(startedAt) + seconds * 1000).toISOString();
  return { type: "tool_use", id, name, kind, title, input, status: "completed", result, isError: false, startedAt, finishedAt, parentToolUseId: null, progress: "", attachment: null };
}

const TOOLS = [
  tool("t1", "Read", "read", "tests/test_reconnect.py", { file_path: "tests/test_reconnect.py" }, "import asyncio\n", 0.1),
  tool("t2", "Edit", "edit", "tests/test_reconnect.py", { file_path: "tests/test_reconnect.py", old_string: BEFORE, new_string: AFTER }, "ok", 0.1),
  tool("t3", "Bash", "execute", "pytest", { command: "pytest tests/test_reconnect.py --count 200 -q" }, "\u001b[32m200 passed\u001b[0m in 41.18s", 41.6),
];

/** The document of an exported conversation, with other words. */
export function showcase(exported) {
  const [asked, ...said] = exported.messages;
  const text = (value) => ({ type: "text", text: value });
  const first = { ...said[0], content: "Let me look at the test first.", blocks: [text("Let me look at the test first."), ...TOOLS] };
  const last = { ...said.at(-1), content: ANSWER, blocks: [text(ANSWER)] };
  return {
    ...exported,
    conversation: { ...exported.conversation, title: "Make the reconnect test reliable", claudeSessionId: null },
    messages: [{ ...asked, content: QUESTION, blocks: [text(QUESTION)] }, first, last],
  };
}
