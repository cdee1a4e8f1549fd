package io.github.bearerd;

import static io.github.bearerd.FakeDaemon.NOW;
import static io.github.bearerd.FakeDaemon.error;
import static io.github.bearerd.FakeDaemon.eventually;
import static io.github.bearerd.FakeDaemon.says;
import static io.github.bearerd.FakeDaemon.timestamp;
import static io.github.bearerd.FakeDaemon.token;
import static io.github.bearerd.FakeDaemon.unavailable;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import bearerd.v1.TokenBrokerOuterClass.Rejection;
import bearerd.v1.TokenBrokerOuterClass.WatchTokenResponse;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

@Timeout(60)
class ReadingTest {
    private static final Duration LONG = Duration.ofSeconds(30);
    private static final Duration SHORT = Duration.ofMillis(50);

    private FakeDaemon daemon;
    private TokenClient client;

    @BeforeEach
    void open() throws IOException {
        daemon = new FakeDaemon(LONG);
        client = daemon.broker.client("demo");
    }

    @AfterEach
    void close() {
        daemon.close();
    }

    @Test
    void oneStreamServesEverybodyWithoutACall() throws InterruptedException {
        assertTrue(daemon.watched.isEmpty());
        List<CompletableFuture<Token>> reads =
                Stream.generate(() -> client.tokenAsync()).limit(100).toList();
        daemon.watch().onNext(says(token("a")));
        reads.forEach(read -> assertEquals("a", read.join().id()));
        assertSame(client.token(), client.get());
        assertSame(client, daemon.broker.client("demo"));
        assertEquals(List.of("demo"), daemon.watched);
        assertTrue(daemon.gets.isEmpty());
    }

    @Test
    void aNewTokenTakesThePlaceOfTheOld() throws InterruptedException {
        daemon.first = says(token("a"));
        assertEquals("a", client.token().id());
        daemon.watch().onNext(says(token("b")));
        eventually(() -> client.token().id().equals("b"));
    }

    @Test
    void withinTheMarginTheDaemonIsAskedAndItsAnswerKept() throws InterruptedException {
        daemon.first = says(token("a"));
        client.token();
        daemon.now = NOW.plusSeconds(270);
        List<CompletableFuture<Token>> reads = List.of(client.tokenAsync(), client.tokenAsync());
        FakeDaemon.Get get = daemon.get();
        assertFalse(get.request().hasMinValidity());
        get.give(later("b"), Rejection.REJECTION_UNSPECIFIED);
        reads.forEach(read -> assertEquals("b", read.join().id()));
        assertEquals("b", client.token().id());
        assertEquals(1, daemon.gets.size());
    }

    @Test
    void aLongerValidityIsAskedOfTheDaemon() throws InterruptedException {
        daemon.first = says(token("a"));
        assertEquals("a", client.token(Duration.ofSeconds(299)).id());
        CompletableFuture<Token> read = client.tokenAsync(Duration.ofSeconds(301), LONG);
        FakeDaemon.Get get = daemon.get();
        assertEquals(301, get.request().getMinValidity().getSeconds());
        get.answer().onError(error(Status.Code.OUT_OF_RANGE, "VALIDITY_UNATTAINABLE"));
        BearerdException failure = failure(read);
        assertEquals("VALIDITY_UNATTAINABLE", failure.reason());
        assertEquals(Status.Code.OUT_OF_RANGE, failure.code());
        assertEquals("a", client.token().id());
    }

    @Test
    void readersWaitForAFirstTokenUntilTheirTimeIsUp() throws InterruptedException {
        daemon.first = unavailable(Status.Code.UNAVAILABLE, "TOKEN_PENDING", null);
        CompletableFuture<Token> patient = client.tokenAsync();
        BearerdException failure = assertThrows(BearerdException.class, () -> client.token(Duration.ZERO, SHORT));
        assertEquals(BearerdException.TOKEN_PENDING, failure.reason());
        assertEquals(Status.Code.UNAVAILABLE, failure.code());
        daemon.watch().onNext(says(token("a")));
        assertEquals("a", patient.join().id());
    }

    @Test
    void withoutATokenTheReasonComesAtOnceWithTheTimeOfTheNextTry() {
        daemon.first = unavailable(
                Status.Code.FAILED_PRECONDITION,
                "CREDENTIALS_REFUSED",
                Instant.now().plusSeconds(60));
        BearerdException failure = assertThrows(BearerdException.class, client::token);
        assertEquals("CREDENTIALS_REFUSED", failure.reason());
        assertEquals(Status.Code.FAILED_PRECONDITION, failure.code());
        assertEquals("why", failure.getMessage());
        long seconds = failure.retryAfter().orElseThrow().toSeconds();
        assertTrue(seconds >= 30 && seconds <= 60, seconds + " s");
        assertNotSame(failure, assertThrows(BearerdException.class, client::token));
    }

    @Test
    void aDaemonThatSaysNothingIsUnreachable() {
        BearerdException failure = assertThrows(BearerdException.class, () -> client.token(Duration.ZERO, SHORT));
        assertEquals(BearerdException.DAEMON_UNREACHABLE, failure.reason());
        assertTrue(failure.getMessage().contains("/test/bearerd.sock")
                && failure.getMessage().contains("BEARERD_SOCKET"));
    }

    @Test
    void aBrokenStreamIsBegunAnewAndTheTokenServedMeanwhile() throws InterruptedException {
        daemon.first = says(token("a"));
        client.token();
        daemon.first = null;
        daemon.watch().onError(Status.UNAVAILABLE.asRuntimeException());
        StreamObserver<WatchTokenResponse> again = daemon.watch();
        assertEquals("a", client.token().id());
        again.onNext(says(token("b")));
        eventually(() -> client.token().id().equals("b"));
    }

    @Test
    void anExpiredTokenIsNeverServedWhateverTheStreamDoes() throws InterruptedException {
        daemon.first = says(token("a"));
        client.token();
        daemon.refusal = Status.UNAVAILABLE.asRuntimeException();
        daemon.watch().onError(Status.UNAVAILABLE.asRuntimeException());
        daemon.now = NOW.plusSeconds(270);
        assertEquals(
                BearerdException.DAEMON_UNREACHABLE,
                assertThrows(BearerdException.class, client::token).reason());
    }

    @ParameterizedTest
    @EnumSource(
            value = Status.Code.class,
            names = {
                "NOT_FOUND",
                "PERMISSION_DENIED",
                "INVALID_ARGUMENT",
                "FAILED_PRECONDITION",
                "RESOURCE_EXHAUSTED",
                "UNIMPLEMENTED"
            })
    void aRefusalDropsTheToken(Status.Code code) throws InterruptedException {
        daemon.first = says(token("a"));
        client.token();
        daemon.refusal = error(code, "REFUSED");
        daemon.watch().onError(error(code, "REFUSED"));
        eventually(() -> {
            try {
                client.token();
                return false;
            } catch (BearerdException refused) {
                return refused.reason().equals("REFUSED") && refused.code() == code;
            }
        });
    }

    @Test
    void afterAFailureTheNextReadFindsADaemonThatIsBack() throws InterruptedException {
        daemon.refusal = error(Status.Code.NOT_FOUND, "CLIENT_UNKNOWN");
        assertThrows(BearerdException.class, client::token);
        daemon.refusal = null;
        daemon.first = says(token("a"));
        eventually(() -> {
            try {
                return client.token().id().equals("a");
            } catch (BearerdException recorded) {
                return false;
            }
        });
    }

    @Test
    void aFailureIsSharedForASecond() {
        daemon.refusal = error(Status.Code.NOT_FOUND, "CLIENT_UNKNOWN");
        long begin = System.nanoTime();
        List<CompletableFuture<Token>> reads =
                Stream.generate(() -> client.tokenAsync()).limit(1000).toList();
        reads.forEach(read -> assertEquals("CLIENT_UNKNOWN", failure(read).reason()));
        // The first one, what the background tried since, after 50 ms and its doubles, and one of the readers a second.
        long most = 10 + Duration.ofNanos(System.nanoTime() - begin).toSeconds();
        assertTrue(daemon.watched.size() <= most, daemon.watched.size() + " attempts");
    }

    @Test
    void closingWakesThoseWhoWaitAndRefusesThoseWhoCome() throws InterruptedException {
        CompletableFuture<Token> read = client.tokenAsync();
        CompletableFuture<Replacement> report = client.rejectAsync("x");
        daemon.watch();
        daemon.get();
        daemon.broker.close();
        daemon.broker.close();
        assertEquals(BearerdException.CLOSED, failure(read).reason());
        assertEquals(BearerdException.CLOSED, failure(report).reason());
        assertEquals(
                BearerdException.CLOSED,
                assertThrows(BearerdException.class, client::token).reason());
        TokenClient other = daemon.broker.client("other");
        assertEquals(
                BearerdException.CLOSED,
                assertThrows(BearerdException.class, other::token).reason());
    }

    @Test
    void closingEndsTheStreamAndTheThread() throws InterruptedException {
        daemon.first = says(token("a"));
        client.token();
        StreamObserver<WatchTokenResponse> watch = daemon.watch();
        daemon.broker.close();
        assertEquals(
                BearerdException.CLOSED,
                assertThrows(BearerdException.class, client::token).reason());
        eventually(((io.grpc.stub.ServerCallStreamObserver<?>) watch)::isCancelled);
    }

    @Test
    void anInterruptedReaderSaysSo() {
        Thread.currentThread().interrupt();
        BearerdException failure = assertThrows(BearerdException.class, client::token);
        assertEquals(BearerdException.INTERRUPTED, failure.reason());
        assertTrue(Thread.interrupted());
    }

    @Test
    void negativeTimesAreRefused() {
        assertThrows(IllegalArgumentException.class, () -> client.token(Duration.ofSeconds(-1)));
        assertThrows(IllegalArgumentException.class, () -> client.token(Duration.ZERO, Duration.ofSeconds(-1)));
    }

    /** A token that was issued after those of the fake daemon otherwise, and lives longer. */
    static bearerd.v1.TokenBrokerOuterClass.Token later(String id) {
        return token(id)
                .setIssuedAt(timestamp(NOW.plusSeconds(250)))
                .setExpiresAt(timestamp(NOW.plusSeconds(550)))
                .build();
    }

    static BearerdException failure(CompletableFuture<?> future) {
        return (BearerdException)
                assertThrows(CompletionException.class, future::join).getCause();
    }
}
