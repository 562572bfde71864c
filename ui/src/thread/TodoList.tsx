import { Circle, CircleCheck, CircleDot } from "lucide-react";

import { showHidden } from "../text/clean";
import type { Todo } from "./rows";

const STATES: Readonly<Record<string, { readonly word: string; readonly Icon: typeof Circle }>> = {
  completed: { word: "done", Icon: CircleCheck },
  in_progress: { word: "at work", Icon: CircleDot },
};

export function TodoList({ todos }: { readonly todos: readonly Todo[] }) {
  return (
    <ul className="todos">
      {todos.map((todo, at) => {
        const { word, Icon } = STATES[todo.status] ?? { word: "open", Icon: Circle };
        return (
          <li key={at} data-status={todo.status}>
            <Icon aria-label={word} role="img" />
            <span>{showHidden(todo.text)}</span>
          </li>
        );
      })}
    </ul>
  );
}
