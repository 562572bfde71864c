/** Every pair of colours that may meet has AA contrast, in light and in dark (WCAG 2.2, 1.4.3 and 1.4.11). */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

const STYLES = readFileSync(new URL("tokens.css", import.meta.url), "utf-8");
const PAIRS = [...STYLES.matchAll(/--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)/g)];

const TEXTS = ["text", "quiet", "accent", "good", "warn", "bad"];
const GROUNDS = ["ground", "side", "card", "raised", "hover", "bubble", "code", "accent-soft", "good-soft", "warn-soft", "bad-soft"];
const SYNTAX = ["syntax-word", "syntax-text", "syntax-number", "syntax-name", "syntax-note"];

function luminance(colour: string): number {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const part = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: string, other: string): number {
  const [dark, bright] = [luminance(one), luminance(other)].sort((a, b) => a - b) as [number, number];
  return (bright + 0.05) / (dark + 0.05);
}

describe.each(["light", "dark"])("in the %s theme", (theme) => {
  const colours = new Map(PAIRS.map(([, name, light, dark]) => [name, theme === "light" ? light : dark]));
  const between = (one: string, other: string): number => contrast(colours.get(one) ?? "", colours.get(other) ?? "");

  it.each(TEXTS)("%s can be read on every ground", (text) => {
    for (const ground of GROUNDS) expect(between(text, ground), ground).toBeGreaterThanOrEqual(4.5);
  });

  it.each(SYNTAX)("%s can be read in code", (text) => {
    expect(between(text, "code")).toBeGreaterThanOrEqual(4.5);
  });

  it("text can be read where it is marked, and on the accent", () => {
    expect(between("text", "mark")).toBeGreaterThanOrEqual(4.5);
    expect(between("on-accent", "accent")).toBeGreaterThanOrEqual(4.5);
  });

  it.each(["ground", "side", "card", "raised"])("the edge of a field is seen on %s", (ground) => {
    expect(between("line-strong", ground)).toBeGreaterThanOrEqual(3);
  });
});

it("every colour is named for both themes, and none is left out here", () => {
  const named = PAIRS.map(([, name]) => name);
  expect(new Set(named).size).toBe(named.length);
  const held = [...TEXTS, ...GROUNDS, ...SYNTAX, "mark", "on-accent", "line-strong", "line"];
  expect(named.filter((name) => !held.includes(name ?? ""))).toEqual([]);
  expect(STYLES.match(/#[0-9a-f]{3,8}/g)).toHaveLength(2 * named.length);
});
