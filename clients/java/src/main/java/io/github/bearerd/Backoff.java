package io.github.bearerd;

import java.time.Duration;
import java.util.function.DoubleSupplier;

/** How long to wait before trying again: a random part of a limit that doubles from 50 ms ("full jitter"). */
final class Backoff {
    private static final Duration FIRST = Duration.ofMillis(50);
    private static final int ENOUGH_DOUBLINGS = 20;

    private final DoubleSupplier random;
    private int failures;

    /** @param random gives numbers from 0 (inclusive) to 1 (exclusive) */
    Backoff(DoubleSupplier random) {
        this.random = random;
    }

    Duration next(Duration cap) {
        long limit = Math.min(cap.toNanos(), FIRST.toNanos() << failures);
        failures = Math.min(failures + 1, ENOUGH_DOUBLINGS);
        return Duration.ofNanos((long) (limit * random.getAsDouble()));
    }

    void reset() {
        failures = 0;
    }
}
