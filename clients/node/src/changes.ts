/** Wakes those who wait for something to change. */

/** A condition that many can wait for. */
export class Changes {
  readonly #waiters = new Set<() => void>();

  /** Something changed: all who wait look again. */
  announce(): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const wake of waiters) wake();
  }

  /**
   * Waits for the next change, at most `limitMs`. Keeps the process alive meanwhile, which nothing else here does.
   *
   * @returns false if time was up first.
   * @throws the signal's reason if that is aborted first.
   */
  next(limitMs: number, signal: AbortSignal | undefined): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer);
        this.#waiters.delete(wake);
        signal?.removeEventListener("abort", abort);
      };
      const wake = () => {
        settle();
        resolve(true);
      };
      const abort = () => {
        settle();
        reject(signal?.reason as Error);
      };
      const timer = setTimeout(
        () => {
          settle();
          resolve(false);
        },
        Math.min(Math.max(0, limitMs), LONGEST_TIMER),
      );
      if (signal?.aborted) return abort();
      signal?.addEventListener("abort", abort);
      this.#waiters.add(wake);
    });
  }
}

/** Node takes a longer timer for one of 1 ms. */
const LONGEST_TIMER = 2 ** 31 - 1;
