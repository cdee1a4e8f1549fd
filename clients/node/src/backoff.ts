/** How long to wait between attempts: exponential with full jitter. */

/** First wait at most this long, in milliseconds. */
const FIRST_MS = 50;

/** A sequence of waits: each a random part of a limit that doubles up to the cap given. */
export class Backoff {
  #failures = 0;
  readonly #random: () => number;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** The next wait in milliseconds, at most `capMs`. */
  next(capMs: number): number {
    const limit = Math.min(capMs, FIRST_MS * 2 ** this.#failures);
    // Beyond 2^30 any cap is reached; an exponent that grows for ever would end in Infinity.
    this.#failures = Math.min(this.#failures + 1, 30);
    return this.#random() * limit;
  }

  /** Begins anew after a success. */
  reset(): void {
    this.#failures = 0;
  }
}
