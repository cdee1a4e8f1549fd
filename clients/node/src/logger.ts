/** Where the library says what happens to its streams and tokens. */

import { debuglog } from "node:util";

/** Takes the library's messages; `console` is one. Never gets a token or a header's value. */
export interface Logger {
  /** A change of state: a watch began or was lost, a token changed. */
  debug(message: string): void;
  /** Something that the operator may have to look at. */
  warn(message: string): void;
}

/** Writes to standard error if the environment says `NODE_DEBUG=bearerd`, and is silent otherwise. */
export const defaultLogger: Logger = (() => {
  const log = debuglog("bearerd");
  return { debug: (message) => log("%s", message), warn: (message) => log("%s", message) };
})();
