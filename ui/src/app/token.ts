/**
 * `?token=` in the address, where the server has not already turned it into a cookie: on the dev server, which serves
 * the page itself. The token leaves the address at once, so that it stays in no history.
 */
export async function takeToken(login: (token: string) => Promise<unknown>): Promise<void> {
  const address = new URL(location.href);
  const token = address.searchParams.get("token");
  if (token === null) return;
  address.searchParams.delete("token");
  history.replaceState(null, "", address);
  if (token !== "") await login(token);
}
