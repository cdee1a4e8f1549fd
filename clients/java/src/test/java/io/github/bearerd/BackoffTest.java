package io.github.bearerd;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.time.Duration;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

class BackoffTest {
    private static final Duration CAP = Duration.ofSeconds(2);

    @Test
    void doublesFromFiftyMillisecondsToTheCap() {
        Backoff backoff = new Backoff(() -> 0.5);
        List<Long> pauses =
                Stream.generate(() -> backoff.next(CAP).toMillis()).limit(8).toList();
        assertEquals(List.of(25L, 50L, 100L, 200L, 400L, 800L, 1000L, 1000L), pauses);
        backoff.reset();
        assertEquals(25, backoff.next(CAP).toMillis());
    }

    @Test
    void neverOverflows() {
        Backoff backoff = new Backoff(() -> 0.5);
        IntStream.range(0, 1000).forEach(i -> backoff.next(CAP));
        assertEquals(15, backoff.next(Duration.ofSeconds(30)).toSeconds());
    }

    @Test
    void canBeNothingAtAll() {
        assertEquals(Duration.ZERO, new Backoff(() -> 0).next(CAP));
    }
}
