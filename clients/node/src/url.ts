/** Whether a token may go to a URL. */

import { BearerdError } from "./errors.js";

/**
 * Refuses URLs on whose way a token could be read.
 *
 * @throws {@link BearerdError} `URL_INSECURE` unless it is https, or http on loopback or if that is allowed.
 */
export function checkUrl(url: URL, allowHttp: boolean): void {
  if (url.protocol === "https:") return;
  if (url.protocol === "http:" && (allowHttp || isLoopback(url.hostname))) return;
  const text = `no token goes to ${url.protocol}//${url.host}: use https, or allowHttp if the way there is safe`;
  throw new BearerdError("URL_INSECURE", "INVALID_ARGUMENT", text);
}

/** By the host as `URL` normalizes it: 127.1 has become 127.0.0.1 already. */
function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}
