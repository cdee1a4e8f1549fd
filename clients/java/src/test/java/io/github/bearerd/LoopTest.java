package io.github.bearerd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class LoopTest {
    private final Loop loop = new Loop();

    @Test
    void answersAllWhoAskedBeforeTheStopAndRefusesTheOthers() {
        CompletableFuture<Void> release = new CompletableFuture<>();
        loop.execute(release::join);
        CompletableFuture<String> before = loop.ask(() -> CompletableFuture.completedFuture("answer"));
        loop.stop();
        CompletableFuture<String> after = loop.ask(() -> CompletableFuture.completedFuture("answer"));
        assertFalse(before.isDone());
        release.complete(null);
        assertEquals("answer", before.join());
        assertEquals(BearerdException.CLOSED, ReadingTest.failure(after).reason());
    }

    @Test
    void whateverATaskThrowsIsAnAnswer() {
        Error thrown = new NoClassDefFoundError();
        CompletableFuture<String> answer = loop.ask(() -> {
            throw thrown;
        });
        assertSame(thrown, assertThrows(CompletionException.class, answer::join).getCause());
        loop.stop();
    }

    @Test
    void itsThreadKeepsNoProgramAlive() {
        assertTrue(loop.ask(() ->
                        CompletableFuture.completedFuture(Thread.currentThread().isDaemon()))
                .join());
        loop.stop();
    }
}
