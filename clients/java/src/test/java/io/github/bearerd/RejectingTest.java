package io.github.bearerd;

import static io.github.bearerd.FakeDaemon.error;
import static io.github.bearerd.FakeDaemon.fixed;
import static io.github.bearerd.FakeDaemon.perCall;
import static io.github.bearerd.FakeDaemon.says;
import static io.github.bearerd.FakeDaemon.token;
import static io.github.bearerd.FakeDaemon.unavailable;
import static io.github.bearerd.ReadingTest.failure;
import static io.github.bearerd.ReadingTest.later;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import bearerd.v1.TokenBrokerOuterClass;
import io.grpc.Status;
import java.io.IOException;
import java.net.URI;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

@Timeout(60)
class RejectingTest {
    private FakeDaemon daemon;
    private TokenClient client;

    @BeforeEach
    void open() throws IOException {
        daemon = new FakeDaemon();
        client = daemon.broker.client("demo");
        daemon.first = says(token("a"));
    }

    @AfterEach
    void close() {
        daemon.close();
    }

    @Test
    void aBurstOfReportsIsOneCallAndReadersWaitForItsOutcome() throws InterruptedException {
        client.token();
        List<CompletableFuture<Replacement>> reports =
                Stream.generate(() -> client.rejectAsync("a")).limit(100).toList();
        FakeDaemon.Get get = daemon.get();
        assertEquals("a", get.request().getRejectedTokenId());
        CompletableFuture<Token> reader = client.tokenAsync();
        assertFalse(reader.isDone());
        get.give(later("b"), TokenBrokerOuterClass.Rejection.REJECTION_REPLACED);
        for (CompletableFuture<Replacement> report : reports) {
            assertEquals("b", report.join().token().id());
            assertEquals(Rejection.REPLACED, report.join().rejection());
        }
        assertEquals("b", reader.join().id());
        assertEquals(1, daemon.gets.size());
    }

    @Test
    void anOldTokensReportNeedsNoCallWhenThereIsAnother() {
        client.token();
        Replacement replacement = client.reject("older");
        assertEquals(Rejection.ALREADY_REPLACED, replacement.rejection());
        assertEquals("a", replacement.token().id());
        assertTrue(daemon.gets.isEmpty());
    }

    @ParameterizedTest
    @EnumSource(
            value = Rejection.class,
            names = {"TOO_YOUNG", "RATE_LIMITED", "SAME_TOKEN"})
    void aTokenThatStaysIsServedAgain(Rejection rejection) throws InterruptedException {
        client.token();
        CompletableFuture<Replacement> report = client.rejectAsync("a");
        daemon.get().give(token("a").build(), TokenBrokerOuterClass.Rejection.valueOf("REJECTION_" + rejection));
        assertEquals(rejection, report.join().rejection());
        assertEquals("a", client.token().id());
    }

    @Test
    void readersGetWhatTheWatchBringsMeanwhile() throws InterruptedException {
        client.token();
        CompletableFuture<Replacement> report = client.rejectAsync("a");
        FakeDaemon.Get get = daemon.get();
        CompletableFuture<Token> reader = client.tokenAsync();
        daemon.watch().onNext(says(token("b")));
        assertEquals("b", reader.join().id());
        get.give(token("b").build(), TokenBrokerOuterClass.Rejection.REJECTION_REPLACED);
        assertEquals("b", report.join().token().id());
    }

    @Test
    void whenTheDaemonHasNoOtherItsWatchSaysSo() throws InterruptedException {
        client.token();
        CompletableFuture<Replacement> report = client.rejectAsync("a");
        FakeDaemon.Get get = daemon.get();
        CompletableFuture<Token> reader = client.tokenAsync();
        daemon.watch().onNext(unavailable(Status.Code.UNAVAILABLE, "ISSUER_UNREACHABLE", null));
        assertEquals("ISSUER_UNREACHABLE", failure(reader).reason());
        get.answer().onError(error(Status.Code.UNAVAILABLE, "ISSUER_UNREACHABLE"));
        assertEquals("ISSUER_UNREACHABLE", failure(report).reason());
    }

    @Test
    void afterAReportThatDidNotReachTheDaemonTheTokenIsServedAgain() throws InterruptedException {
        client.token();
        CompletableFuture<Replacement> report = client.rejectAsync("a");
        daemon.get().answer().onError(error(Status.Code.RESOURCE_EXHAUSTED, "CALLER_LIMIT"));
        assertEquals("CALLER_LIMIT", failure(report).reason());
        assertEquals("a", client.token().id());
    }

    @Test
    void theReplacementCountsWhileTheWatchIsDown() throws InterruptedException {
        client.token();
        daemon.refusal = Status.UNAVAILABLE.asRuntimeException();
        daemon.watch().onError(Status.UNAVAILABLE.asRuntimeException());
        CompletableFuture<Replacement> report = client.rejectAsync("a");
        daemon.get().give(later("b"), TokenBrokerOuterClass.Rejection.REJECTION_REPLACED);
        report.join();
        assertEquals("b", client.token().id());
    }

    @Test
    void headersOfACall() {
        daemon.first =
                says(token("a").addHeaders(perCall("Requestor-ID", "[0-9]+")).addHeaders(fixed("X-Partner", "acme")));
        Map<String, String> expected =
                Map.of("Authorization", "Bearer secret-a", "Requestor-ID", "4711", "X-Partner", "acme");
        assertEquals(expected, client.headers(Map.of("Requestor-ID", "4711")));
        assertEquals(
                expected, client.headers("GET", URI.create("https://api.example/x"), Map.of("Requestor-ID", "4711")));
        BearerdException missing = assertThrows(BearerdException.class, () -> client.headers(Map.of()));
        assertEquals(BearerdException.HEADER_MISSING, missing.reason());
    }

    @Test
    void aTokenBoundToAKeyNeedsMethodAndUrl() {
        daemon.first = says(token("bound").setProofRequired(true));
        BearerdException failure = assertThrows(BearerdException.class, () -> client.headers(Map.of()));
        assertEquals(BearerdException.PROOF_REQUIRED, failure.reason());
        Map<String, String> headers = client.headers("POST", URI.create("https://api.example/x?y"), Map.of());
        assertEquals(Map.of("Authorization", "Bearer secret-bound", "DPoP", "proof-1"), headers);
        assertEquals("POST", daemon.proofs.get(0).getMethod());
        assertEquals("https://api.example/x?y", daemon.proofs.get(0).getUrl());
    }
}
