/** How often what the server says is shown. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { inFrames } from "./store";

const FRAME_MS = 1000 / 60;
let frames: FrameRequestCallback[] = [];

function drawFrames(count: number, from: number): void {
  for (let frame = 0; frame < count; frame += 1) {
    const due = frames;
    frames = [];
    for (const call of due) call((from + frame) * FRAME_MS);
  }
}

beforeEach(() => {
  vi.useFakeTimers();
  frames = [];
  vi.stubGlobal("requestAnimationFrame", (call: FrameRequestCallback) => frames.push(call));
  vi.stubGlobal("cancelAnimationFrame", () => {
    frames = [];
  });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("what comes after a pause is shown in the next frame, and what comes all the time in every second one", () => {
  const schedule = inFrames();
  let shown = 0;
  for (let frame = 0; frame < 60; frame += 1) {
    const callOff = schedule(() => (shown += 1));
    drawFrames(1, frame);
    if (frame === 0) expect(shown).toBe(1);
    if (frames.length > 0) callOff();
  }
  expect(shown).toBe(30);
});

test("without frames a timer shows it, and what was called off is not shown", () => {
  const schedule = inFrames();
  let shown = 0;
  schedule(() => (shown += 1));
  vi.advanceTimersByTime(100);
  expect(shown).toBe(1);
  schedule(() => (shown += 1))();
  vi.advanceTimersByTime(1000);
  drawFrames(3, 100);
  expect(shown).toBe(1);
});
