/** Whether the body of a request can be sent a second time. */

/** True for what `fetch` reads anew at each call. Streams, iterators and a `Request`'s body are gone after one. */
export function isReplayable(input: string | URL | Request, init: RequestInit | undefined): boolean {
  const body = init?.body;
  if (body === undefined || body === null) return !isRequest(input) || input.body === null;
  if (typeof body === "string" || ArrayBuffer.isView(body)) return true;
  // By tag and not by instance: a polyfill or undici's own package has classes of its own.
  return REPLAYABLE.has(Object.prototype.toString.call(body).slice(8, -1));
}

/** Whether it is a `Request`, of whatever implementation. */
export function isRequest(input: string | URL | Request): input is Request {
  return typeof input === "object" && "url" in input && "headers" in input;
}

/** Throws away the body of a response that nobody gets, so that its connection can be used again or is closed. */
export async function discard(response: Response): Promise<void> {
  const length = Number(response.headers.get("content-length") ?? Infinity);
  try {
    if (length <= DRAINED) await response.arrayBuffer();
    else await response.body?.cancel();
  } catch {
    // It was of no use anyway.
  }
}

const REPLAYABLE: ReadonlySet<string> = new Set([
  "ArrayBuffer",
  "SharedArrayBuffer",
  "URLSearchParams",
  "FormData",
  "Blob",
  "File",
]);

/** Up to so many bytes are read to save the connection. */
const DRAINED = 64 * 1024;
