/** Redirects, followed by hand as the Fetch standard says ("HTTP-redirect fetch"). */

/** A request as one hop sends it. */
export interface Hop {
  readonly url: URL;
  readonly method: string;
  readonly headers: Headers;
  /** Undefined: none, or that of the application's `Request`. */
  readonly body: RequestInit["body"];
  /** Whether the body, if there is one, can be sent again. */
  readonly replayable: boolean;
}

/** Where a response redirects to; undefined if it does not. */
export function redirectTarget(response: Response, from: URL): URL | undefined {
  const location = response.headers.get("location");
  if (!STATUSES.has(response.status) || location === null) return undefined;
  let target: URL;
  try {
    target = new URL(location, from);
  } catch (cause) {
    throw failed(`the redirect from ${from.origin} leads to no URL`, cause);
  }
  if (target.protocol !== "https:" && target.protocol !== "http:") {
    throw failed(`the redirect from ${from.origin} leads to ${target.protocol}`);
  }
  if (target.origin !== from.origin && (target.username || target.password)) {
    throw failed(`the redirect from ${from.origin} has credentials in its URL`);
  }
  return target;
}

/**
 * The request that follows a redirect. To another origin go no credentials, and none of the headers in `own`.
 *
 * @throws TypeError if it needs the body again, and that can be sent only once.
 */
export function redirected(hop: Hop, target: URL, status: number, own: Iterable<string>): Hop {
  const headers = new Headers(hop.headers);
  let { method, body, replayable } = hop;
  if (status !== 303 && !replayable) throw failed("a redirect wants a body again that can be sent only once");
  if (
    ((status === 301 || status === 302) && method === "POST") ||
    (status === 303 && method !== "GET" && method !== "HEAD")
  ) {
    method = "GET";
    body = undefined;
    replayable = true;
    for (const name of BODY_HEADERS) headers.delete(name);
  }
  if (target.origin !== hop.url.origin) {
    for (const name of [...CREDENTIALS, ...own]) headers.delete(name);
  }
  return { url: target, method, headers, body, replayable };
}

/** As `fetch` fails when the network does. */
export function failed(what: string, cause?: unknown): TypeError {
  return new TypeError("fetch failed", { cause: new Error(what, { cause }) });
}

/** More redirects than this are an error, as in the standard. */
export const MOST_REDIRECTS = 20;

const STATUSES: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const BODY_HEADERS = ["content-encoding", "content-language", "content-length", "content-location", "content-type"];
const CREDENTIALS = ["authorization", "cookie", "dpop", "host", "proxy-authorization"];
