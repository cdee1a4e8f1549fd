/** Where the daemon's socket is, by the rules of the `bearerd` command. */

import { lstatSync } from "node:fs";
import { isAbsolute, join } from "node:path";

/** The socket of the system service. */
export const SYSTEM_SOCKET = "/run/bearerd/bearerd.sock";

/**
 * The socket that was named; else `$BEARERD_SOCKET`; else the system service's if it is there; else the user's if that
 * is there; else the system service's, whose absence is then what is reported.
 */
export function findSocket(
  named: string | undefined,
  env: NodeJS.ProcessEnv = process.env,
  isThere: (path: string) => boolean = exists,
): string {
  const given = named || env["BEARERD_SOCKET"];
  if (given) return given;
  const own = userSocket(env);
  return own !== undefined && !isThere(SYSTEM_SOCKET) && isThere(own) ? own : SYSTEM_SOCKET;
}

function userSocket(env: NodeJS.ProcessEnv): string | undefined {
  const runtime = env["XDG_RUNTIME_DIR"];
  if (runtime && isAbsolute(runtime)) return join(runtime, "bearerd", "bearerd.sock");
  const home = env["HOME"];
  if (home && isAbsolute(home)) return join(home, ".bearerd", "bearerd", "bearerd.sock");
  return undefined;
}

function exists(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch {
    return false;
  }
}
