/** The token of one client in memory, and whether it may be handed out. */

import type { Token } from "./token.js";

/** A token in memory, with what a read needs worked out beforehand. Times are wall clock, in milliseconds. */
export interface Held {
  readonly token: Token | undefined;
  /** Resolved already: one for all reads, so that a read allocates nothing. */
  readonly promise: Promise<Token> | undefined;
  /** Until when it is served to those who ask for no particular validity. */
  readonly until: number;
  readonly expires: number;
}

/** Nothing: usable at no time. */
export const NOTHING: Held = { token: undefined, promise: undefined, until: -Infinity, expires: -Infinity };

/** How long before its end a token is not served any more: the smaller of 30 s and a tenth of its life. */
export function marginMs(issuedAt: number, expiresAt: number): number {
  return Math.min(30_000, (expiresAt - issuedAt) / 10);
}

/** What is known of one client's token. A token that is being reported is held back until the outcome is there. */
export class Memory {
  /** Read at each call; everything else is rare. */
  held: Held = NOTHING;
  readonly #reported = new Set<string>();
  #suspect: Token | undefined;

  /** The token, if it is valid for as long as was asked. */
  fit(minValidityMs: number | undefined, now: number): Held | undefined {
    const { held } = this;
    const fits = now < held.until && (minValidityMs === undefined || now < held.expires - minValidityMs);
    return fits ? held : undefined;
  }

  /** Whether the outcome of a report is awaited for the token that would be served otherwise. */
  get heldBack(): boolean {
    return this.#suspect !== undefined;
  }

  /** Whether the outcome of a report of this token is awaited. */
  isReported(id: string): boolean {
    return this.#reported.has(id);
  }

  /** The daemon says that this is the token from now on. */
  keep(token: Token): void {
    if (this.#reported.has(token.id)) {
      this.#suspect = token;
      this.held = NOTHING;
      return;
    }
    this.#suspect = undefined;
    const expires = token.expiresAt.getTime();
    const until = expires - marginMs(token.issuedAt.getTime(), expires);
    this.held = { token, promise: Promise.resolve(token), until, expires };
  }

  /** Keeps the answer to a call of our own, unless the stream has brought something newer meanwhile. */
  keepIfNewer(token: Token): void {
    const known = this.held.token ?? this.#suspect;
    if (known === undefined || token.issuedAt >= known.issuedAt) this.keep(token);
  }

  /** There is no usable token any more. */
  drop(): void {
    this.held = NOTHING;
    this.#suspect = undefined;
  }

  /** A report of this token begins: nobody gets it meanwhile. */
  holdBack(id: string): void {
    this.#reported.add(id);
    if (this.held.token?.id === id) {
      this.#suspect = this.held.token;
      this.held = NOTHING;
    }
  }

  /** The report ended. `restore`: the token is as good as it was before. */
  letGo(id: string, restore: boolean): void {
    this.#reported.delete(id);
    const token = this.#suspect;
    if (token?.id !== id) return;
    this.#suspect = undefined;
    if (restore) this.keep(token);
  }
}
