package io.github.bearerd;

import static io.github.bearerd.FakeDaemon.error;
import static io.github.bearerd.FakeDaemon.fixed;
import static io.github.bearerd.FakeDaemon.perCall;
import static io.github.bearerd.FakeDaemon.says;
import static io.github.bearerd.FakeDaemon.token;
import static io.github.bearerd.ReadingTest.later;
import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import bearerd.v1.TokenBrokerOuterClass;
import bearerd.v1.TokenBrokerOuterClass.Rejection;
import io.github.bearerd.FakeApi.Response;
import io.grpc.Status;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.Authenticator;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CyclicBarrier;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

@Timeout(60)
class TokenHttpClientTest {
    private FakeDaemon daemon;
    private FakeApi api;
    private TokenClient client;
    private HttpClient http;

    @BeforeEach
    void open() throws IOException {
        daemon = new FakeDaemon();
        api = new FakeApi();
        client = daemon.broker.client("demo");
        http = client.http();
        daemon.first = says(token("a"));
    }

    @AfterEach
    void close() {
        api.close();
        daemon.close();
    }

    private HttpRequest.Builder request(String path) {
        return HttpRequest.newBuilder(api.url(path));
    }

    private HttpResponse<String> send(HttpRequest.Builder request) throws IOException, InterruptedException {
        return http.send(request.build(), BodyHandlers.ofString());
    }

    /** Answers the report of a token that comes next. */
    private CompletableFuture<Void> reported(TokenBrokerOuterClass.Token token, Rejection rejection) {
        return CompletableFuture.runAsync(() -> {
            try {
                daemon.get().give(token, rejection);
            } catch (InterruptedException interrupted) {
                throw new IllegalStateException(interrupted);
            }
        });
    }

    @Test
    void setsTokenAndFixedHeadersWhateverTheProgramSet() throws Exception {
        daemon.first =
                says(token("a").addHeaders(fixed("X-Partner", "acme")).addHeaders(perCall("Requestor-ID", "[0-9]+")));
        HttpResponse<String> response = send(request("/")
                .header("authorization", "Basic mine")
                .header("x-partner", "mine")
                .header("requestor-id", "4711"));
        assertEquals("fine", response.body());
        FakeApi.Request sent = api.requests.get(0);
        assertEquals(List.of("Bearer secret-a"), sent.headers().get("Authorization"));
        assertEquals(List.of("acme"), sent.headers().get("X-Partner"));
        assertEquals("4711", sent.header("Requestor-ID"));
    }

    @ParameterizedTest
    @CsvSource({"X-Other, 1, HEADER_MISSING", "requestor-id, 47x, HEADER_INVALID"})
    void sendsNothingWithoutTheHeaderThatTheApiWants(String name, String value, String reason) {
        daemon.first = says(token("a").addHeaders(perCall("Requestor-ID", "[0-9]+")));
        BearerdException refused =
                assertThrows(BearerdException.class, () -> send(request("/").header(name, value)));
        assertEquals(reason, refused.reason());
        assertTrue(api.requests.isEmpty());
    }

    @Test
    void sendsNothingWhereOthersCanReadIt() {
        HttpRequest request =
                HttpRequest.newBuilder(URI.create("http://api.invalid/")).build();
        BearerdException refused =
                assertThrows(BearerdException.class, () -> http.send(request, BodyHandlers.discarding()));
        assertEquals(BearerdException.URL_INSECURE, refused.reason());
        HttpClient allowed = TokenHttpClient.builder(client).allowHttp().build();
        assertThrows(IOException.class, () -> allowed.send(request, BodyHandlers.discarding()));
    }

    @Test
    void sendsNothingWithoutAToken() {
        daemon.refusal = error(Status.Code.PERMISSION_DENIED, "CALLER_NOT_ALLOWED");
        BearerdException refused = assertThrows(BearerdException.class, () -> send(request("/")));
        assertEquals("CALLER_NOT_ALLOWED", refused.reason());
        assertTrue(api.requests.isEmpty());
    }

    @Test
    void afterA401TheRequestIsSentOnceMoreWithTheNewToken() throws Exception {
        api.answer =
                request -> request.has("b") ? new Response(200, request.body(), Map.of()) : Response.unauthorized();
        reported(later("b"), Rejection.REJECTION_REPLACED);
        HttpResponse<String> response = send(request("/x").header("X-Mine", "1").PUT(BodyPublishers.ofString("body")));
        assertEquals(200, response.statusCode());
        assertEquals("body", response.body());
        assertEquals(2, api.requests.size());
        assertEquals("PUT", api.requests.get(1).method());
        assertEquals("1", api.requests.get(1).header("X-Mine"));
    }

    @Test
    void theSecond401IsTheProgramsAndNothingLoops() throws Exception {
        api.answer = request -> Response.unauthorized();
        reported(later("b"), Rejection.REJECTION_REPLACED);
        HttpResponse<String> response = send(request("/"));
        assertEquals(401, response.statusCode());
        assertEquals("who are you?", response.body());
        assertEquals(2, api.requests.size());
        assertEquals(1, daemon.gets.size());
    }

    @Test
    void whenTheTokenStaysThe401IsTheProgramsWithItsBody() throws Exception {
        String body = "x".repeat(1_000_000);
        api.answer = request -> new Response(401, body, Map.of());
        reported(token("a").build(), Rejection.REJECTION_RATE_LIMITED);
        assertEquals(body, send(request("/")).body());
        assertEquals(1, api.requests.size());
    }

    @Test
    void aLong401IsNotReadToItsEndBeforeTheNextTry() throws Exception {
        api.answer = request -> request.has("b")
                ? new Response(200, "", Map.of())
                : new Response(401, "x".repeat(10_000_000), Map.of());
        reported(later("b"), Rejection.REJECTION_REPLACED);
        assertEquals("", send(request("/")).body());
    }

    @Test
    void whenTheReportFailsThe401IsThePrograms() throws Exception {
        api.answer = request -> Response.unauthorized();
        CompletableFuture<HttpResponse<String>> response =
                http.sendAsync(request("/").build(), BodyHandlers.ofString());
        daemon.get().answer().onError(error(Status.Code.UNAVAILABLE, "ISSUER_UNREACHABLE"));
        assertEquals(401, response.get().statusCode());
        assertEquals(1, api.requests.size());
    }

    @Test
    void aStreamIsNotSentTwiceButTheTokenReported() throws Exception {
        api.answer = request -> request.has("b") ? new Response(200, "", Map.of()) : Response.unauthorized();
        CompletableFuture<Void> report = reported(later("b"), Rejection.REJECTION_REPLACED);
        InputStream once = new ByteArrayInputStream(new byte[] {'x'});
        HttpRequest.Builder streaming = request("/").POST(BodyPublishers.ofInputStream(() -> once));
        assertEquals(401, send(streaming).statusCode());
        report.join();
        assertEquals(1, api.requests.size());
        assertEquals(200, send(request("/")).statusCode());
    }

    @ParameterizedTest
    @CsvSource({"400", "403", "500"})
    void otherAnswersAreNoTokenProblems(int status) throws Exception {
        api.answer = request -> new Response(status, "no", Map.of());
        assertEquals(status, send(request("/")).statusCode());
        assertTrue(daemon.gets.isEmpty());
    }

    @Test
    void aBurstOf401sIsOneReport() throws Exception {
        CyclicBarrier all = new CyclicBarrier(50);
        api.answer = request -> {
            if (request.has("b")) {
                return new Response(200, "", Map.of());
            }
            // Else the first 401 would have the others wait for the report before they are sent.
            assertDoesNotThrow(() -> all.await());
            return Response.unauthorized();
        };
        client.token();
        List<CompletableFuture<HttpResponse<String>>> responses = Stream.generate(
                        () -> http.sendAsync(request("/").build(), BodyHandlers.ofString()))
                .limit(50)
                .toList();
        daemon.get().give(later("b"), Rejection.REJECTION_REPLACED);
        for (CompletableFuture<HttpResponse<String>> response : responses) {
            assertEquals(200, response.get().statusCode());
        }
        assertEquals(1, daemon.gets.size());
    }

    @Test
    void redirectsAreTheProgramsUnlessItWantsThemFollowed() throws Exception {
        api.answer = request -> Response.redirect(302, "/there");
        assertEquals(302, send(request("/")).statusCode());
        HttpClient following = HttpClient.newBuilder()
                .followRedirects(HttpClient.Redirect.NORMAL)
                .build();
        assertThrows(IllegalArgumentException.class, () -> client.http(following));
        HttpClient authenticating =
                HttpClient.newBuilder().authenticator(new Authenticator() {}).build();
        assertThrows(IllegalArgumentException.class, () -> client.http(authenticating));
    }

    @ParameterizedTest
    @CsvSource({
        "301, POST, GET",
        "302, POST, GET",
        "303, PUT, GET",
        "302, PUT, PUT",
        "307, POST, POST",
        "308, POST, POST"
    })
    void redirectsToTheSameOriginHaveTheToken(int status, String method, String then) throws Exception {
        http = TokenHttpClient.builder(client).followRedirects().build();
        api.answer = request ->
                request.path().equals("/here") ? Response.redirect(status, "there") : new Response(200, "", Map.of());
        send(request("/here").header("Content-Type", "text/x").method(method, BodyPublishers.ofString("body")));
        FakeApi.Request second = api.requests.get(1);
        assertEquals("/there", second.path());
        assertEquals(then, second.method());
        assertTrue(second.has("a"));
        boolean kept = method.equals(then);
        assertEquals(kept ? "body" : "", second.body());
        assertEquals(kept ? "text/x" : null, second.header("Content-Type"));
    }

    @Test
    void redirectsToAnotherOriginHaveNothingThatIsTheApis() throws Exception {
        daemon.first = says(token("a").addHeaders(fixed("X-Partner", "acme")).addHeaders(perCall("Requestor-ID", "")));
        http = TokenHttpClient.builder(client).followRedirects().build();
        api.answer = request -> switch (request.path()) {
            case "/here" -> Response.redirect(307, api.elsewhere("/there").toString());
            case "/there" -> Response.redirect(307, api.url("/back").toString());
            default -> Response.unauthorized();
        };
        HttpRequest.Builder request = request("/here")
                .header("Authorization", "Bearer mine")
                .header("Requestor-ID", "4711")
                .header("Cookie", "c=1")
                .header("X-Mine", "1");
        assertEquals(401, send(request).statusCode());
        assertEquals(3, api.requests.size());
        for (FakeApi.Request sent : api.requests.subList(1, 3)) {
            for (String name : List.of("Authorization", "DPoP", "X-Partner", "Requestor-ID", "Cookie")) {
                assertNull(sent.header(name), name + " at " + sent.path());
            }
            assertEquals("1", sent.header("X-Mine"));
        }
        assertTrue(daemon.gets.isEmpty());
    }

    @Test
    void redirectsEndAndOnesThatCannotBeFollowedAreThePrograms() throws Exception {
        http = TokenHttpClient.builder(client).followRedirects().build();
        api.answer = request -> Response.redirect(302, "/again");
        assertEquals(302, send(request("/")).statusCode());
        assertEquals(6, api.requests.size());
        api.answer = request -> Response.redirect(302, "ftp://localhost/x");
        assertEquals("elsewhere", send(request("/")).body());
    }

    @Test
    void aTokenBoundToAKeyHasAProofPerRequestAndTheNewestNonce() throws Exception {
        daemon.first = says(token("bound").setProofRequired(true));
        api.answer = request -> api.requests.size() == 1
                ? new Response(401, "", Map.of("WWW-Authenticate", "DPoP error=\"use_dpop_nonce\"", "DPoP-Nonce", "n1"))
                : new Response(200, "", Map.of("DPoP-Nonce", "n" + api.requests.size()));
        assertEquals(200, send(request("/x?y").DELETE()).statusCode());
        assertEquals(200, send(request("/z")).statusCode());
        assertEquals(
                List.of("", "n1", "n2"),
                daemon.proofs.stream().map(proof -> proof.getNonce()).toList());
        assertEquals(
                List.of("proof-1", "proof-2", "proof-3"),
                api.requests.stream().map(sent -> sent.header("DPoP")).toList());
        assertEquals("DELETE", daemon.proofs.get(0).getMethod());
        assertTrue(daemon.gets.isEmpty());
    }

    @Test
    void anApiThatWantsANonceForEverIsAskedTwice() throws Exception {
        daemon.first = says(token("bound").setProofRequired(true));
        api.answer = request ->
                new Response(401, "", Map.of("WWW-Authenticate", "DPoP error=\"use_dpop_nonce\"", "DPoP-Nonce", "n"));
        assertEquals(401, send(request("/")).statusCode());
        assertEquals(2, api.requests.size());
        assertTrue(daemon.gets.isEmpty());
    }

    @Test
    void afterANonceA401IsReportedAndNothingSentAThirdTime() throws Exception {
        daemon.first = says(token("bound").setProofRequired(true));
        api.answer = request -> api.requests.size() == 1
                ? new Response(401, "", Map.of("WWW-Authenticate", "DPoP error=\"use_dpop_nonce\"", "DPoP-Nonce", "n"))
                : Response.unauthorized();
        assertEquals(401, send(request("/")).statusCode());
        assertEquals(2, api.requests.size());
        assertEquals("bound", daemon.get().request().getRejectedTokenId());
    }

    @Test
    void whatTheHttpClientFailsWithIsTheFailure() {
        api.close();
        IOException failure = assertThrows(IOException.class, () -> send(request("/")));
        assertFalse(failure.toString().contains("secret"));
    }
}
