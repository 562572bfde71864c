/** Text that goes back into the message box, from anywhere in the thread: to be changed and sent again. */
const HANDED = "baton:edit";

export function editInComposer(text: string): void {
  window.dispatchEvent(new CustomEvent<string>(HANDED, { detail: text }));
}

export function onHandover(take: (text: string) => void): () => void {
  const listen = (event: Event) => take((event as CustomEvent<string>).detail);
  window.addEventListener(HANDED, listen);
  return () => window.removeEventListener(HANDED, listen);
}
