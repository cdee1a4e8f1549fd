/** `fetch` with a client's token: what each request carries, and what happens after a 401. */

import { discard, isReplayable, isRequest } from "./body.js";
import type { Client } from "./client.js";
import { checkPerCallHeaders } from "./headers.js";
import { failed, MOST_REDIRECTS, redirected, redirectTarget, type Hop } from "./redirect.js";
import type { Token } from "./token.js";
import { checkUrl } from "./url.js";

/** Options of {@link createFetch}. */
export interface FetchOptions {
  /** What sends the requests. Default: the global `fetch`. */
  fetch?: typeof globalThis.fetch | undefined;
  /** Whether tokens may go over plain http to other machines. Danger: everybody on the way reads them. */
  allowHttp?: boolean | undefined;
}

/**
 * A `fetch` that sends each request with a token of the client. It takes what `fetch` takes and
 *
 * - sets `Authorization` and the headers that the daemon's configuration fixes, replacing what is there;
 * - fails with `HEADER_MISSING` or `HEADER_INVALID`, before anything is sent, if a per-call header is not among the
 *   request's headers or does not match;
 * - fails with `URL_INSECURE`, before anything is sent, if the URL is neither https nor on this machine;
 * - reports a 401 and sends the request once more if there is another token and the body can be sent again: anything
 *   but a stream, an iterator or the body of a `Request`. What comes then is the answer, whatever it is;
 * - follows redirects with the token on the first request's origin, and with neither it nor the client's headers
 *   elsewhere;
 * - signs a proof for each request if the client's tokens are bound to a key (DPoP, RFC 9449).
 *
 * Fails with {@link BearerdError} if there is no token, and otherwise as `fetch` does. Safe for concurrent use.
 */
export function createFetch(client: Client, options: FetchOptions = {}): typeof globalThis.fetch {
  const nonces = new Map<string, string>();
  return async (input, init) => new Exchange(client, options, nonces, input, init).response();
}

/** One call of our `fetch`. */
class Exchange {
  readonly #client: Client;
  readonly #options: FetchOptions;
  readonly #nonces: Map<string, string>;
  readonly #request: Request | undefined;
  readonly #init: RequestInit;
  readonly #signal: AbortSignal | undefined;
  readonly #redirect: NonNullable<RequestInit["redirect"]>;
  readonly #first: Hop;
  /** Names of the headers that belong to the first request's origin alone. */
  readonly #own = new Set<string>();
  #reported = false;

  constructor(
    client: Client,
    options: FetchOptions,
    nonces: Map<string, string>,
    input: string | URL | Request,
    init: RequestInit = {},
  ) {
    const request = isRequest(input) ? input : undefined;
    this.#client = client;
    this.#request = request;
    this.#options = options;
    this.#nonces = nonces;
    this.#init = { ...init };
    this.#signal = init.signal ?? request?.signal;
    this.#redirect = init.redirect ?? request?.redirect ?? "follow";
    this.#first = {
      url: new URL(request?.url ?? String(input)),
      method: normalized(init.method ?? request?.method ?? "GET"),
      headers: new Headers(init.headers ?? request?.headers),
      body: init.body,
      replayable: isReplayable(input, init),
    };
  }

  async response(): Promise<Response> {
    let hop = this.#first;
    let away = false;
    for (let redirects = 0; ; redirects += 1) {
      const response = await (away ? this.#send(hop, hop.headers) : this.#authorized(hop));
      if (redirects > 0) Object.defineProperty(response, "redirected", { value: true });
      if (this.#redirect !== "follow") return response;
      const target = redirectTarget(response, hop.url);
      if (target === undefined) return response;
      if (redirects === MOST_REDIRECTS) throw failed(`more than ${MOST_REDIRECTS} redirects`);
      await discard(response);
      hop = redirected(hop, target, response.status, this.#own);
      // For good: whoever was elsewhere may have been sent back with a URL of somebody else's choice.
      away ||= target.origin !== this.#first.url.origin;
    }
  }

  /** The answer to a request with a token; after a 401 the answer to another one, if there is something to try. */
  async #authorized(hop: Hop): Promise<Response> {
    let { response, token } = await this.#sendWithToken(hop, undefined);
    if (wantsNonce(response, token)) {
      if (!hop.replayable) return response;
      await discard(response);
      ({ response, token } = await this.#sendWithToken(hop, undefined));
      if (wantsNonce(response, token)) return response;
    }
    if (response.status !== 401 || this.#reported) return response;
    this.#reported = true;
    const other = await this.#report(token);
    if (other === undefined || other.id === token.id || !hop.replayable) return response;
    await discard(response);
    return (await this.#sendWithToken(hop, other)).response;
  }

  /** The token to use instead of one that was answered with 401; undefined if the report failed. */
  async #report(token: Token): Promise<Token | undefined> {
    try {
      return (await this.#client.reject(token, { signal: this.#signal })).token;
    } catch (error) {
      this.#signal?.throwIfAborted();
      this.#client.logger.warn(`report of a 401 to token ${token.id} of ${token.client} failed: ${String(error)}`);
      return undefined;
    }
  }

  async #sendWithToken(hop: Hop, given: Token | undefined): Promise<{ response: Response; token: Token }> {
    const { url, method } = hop;
    checkUrl(url, this.#options.allowHttp ?? false);
    const headers = new Headers(hop.headers);
    let token = given ?? this.#client.tokenNow() ?? (await this.#client.token({ signal: this.#signal }));
    checkPerCallHeaders(token, (name) => headers.get(name));
    if (token.proofRequired) {
      const nonce = this.#nonces.get(url.origin);
      const signed = await this.#client.signProof({ method, url, nonce }, { signal: this.#signal });
      token = signed.token;
      headers.set("DPoP", signed.proof);
    }
    for (const { name, value, perCall } of token.headers) {
      this.#own.add(name);
      if (!perCall) headers.set(name, value);
    }
    headers.set("Authorization", token.authorization);
    const response = await this.#send(hop, headers);
    const nonce = response.headers.get("dpop-nonce");
    if (token.proofRequired && nonce) this.#nonces.set(url.origin, nonce);
    return { response, token };
  }

  #send(hop: Hop, headers: Headers): Promise<Response> {
    const send = this.#options.fetch ?? globalThis.fetch;
    const redirect = this.#redirect === "follow" ? "manual" : this.#redirect;
    const init: RequestInit = { ...this.#init, headers, redirect };
    // As the application gave it: a Request knows more than its public properties tell. Nothing else is read a second
    // time, since a URL that was changed meanwhile was not checked.
    if (hop === this.#first) return send(this.#request ?? hop.url.href, init);
    return send(hop.url.href, { ...init, method: hop.method, body: hop.body ?? null, signal: this.#signal ?? null });
  }
}

/** Whether the API wants the request again with a nonce that it gave (RFC 9449 section 9). */
function wantsNonce(response: Response, token: Token): boolean {
  if (response.status !== 401 || !token.proofRequired || !response.headers.has("dpop-nonce")) return false;
  return /\bDPoP\b.*\berror\s*=\s*"?use_dpop_nonce\b/i.test(response.headers.get("www-authenticate") ?? "");
}

/** The method as `fetch` sends it: these are upper-case whatever the application wrote. */
function normalized(method: string): string {
  return /^(?:delete|get|head|options|post|put)$/i.test(method) ? method.toUpperCase() : method;
}
