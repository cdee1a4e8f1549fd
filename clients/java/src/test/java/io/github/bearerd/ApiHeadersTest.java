package io.github.bearerd;

import static io.github.bearerd.FakeDaemon.fixed;
import static io.github.bearerd.FakeDaemon.perCall;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ApiHeadersTest {
    private static final Token TOKEN = Token.of(FakeDaemon.token("a")
            .addHeaders(perCall("Requestor-ID", "[0-9]{1,20}"))
            .addHeaders(fixed("X-Partner", "acme"))
            .build());

    @Test
    void hasAuthorizationFixedAndGivenOnesInTheConfiguredSpelling() {
        Map<String, String> headers = ApiHeaders.of(
                TOKEN, Map.of("requestor-id", "4711", "x-partner", "other", "X-Trace", "t", "AUTHORIZATION", "mine"));
        assertEquals(
                Map.of("Authorization", "Bearer secret-a", "Requestor-ID", "4711", "X-Partner", "acme", "X-Trace", "t"),
                headers);
        assertTrue(headers.keySet().containsAll(List.of("Authorization", "Requestor-ID", "X-Partner")));
        assertFalse(headers.keySet().stream().anyMatch("requestor-id"::equals));
    }

    @Test
    void refusesACallWithoutTheHeader() {
        BearerdException missing = assertThrows(BearerdException.class, () -> ApiHeaders.of(TOKEN, Map.of()));
        assertEquals(BearerdException.HEADER_MISSING, missing.reason());
        assertTrue(
                missing.getMessage().contains("Requestor-ID")
                        && missing.getMessage().contains("demo")
                        && missing.getMessage().contains("[0-9]{1,20}"),
                missing.getMessage());
    }

    @ParameterizedTest
    @ValueSource(strings = {"", " ", "x4711", "4711x", "47 11", "4711\n", "123456789012345678901", "٤٧"})
    void refusesValuesThatDoNotMatchAsAWhole(String value) {
        BearerdException invalid =
                assertThrows(BearerdException.class, () -> ApiHeaders.of(TOKEN, Map.of("Requestor-ID", value)));
        assertEquals(BearerdException.HEADER_INVALID, invalid.reason());
        assertFalse(invalid.getMessage().contains("secret"));
    }

    @Test
    void refusesControlCharactersInAnyHeader() {
        BearerdException invalid = assertThrows(
                BearerdException.class,
                () -> ApiHeaders.of(TOKEN, Map.of("Requestor-ID", "1", "X-Other", "a\r\nAuthorization: b")));
        assertEquals(BearerdException.HEADER_INVALID, invalid.reason());
    }

    @Test
    void aPatternThatJavaCannotReadRefusesEverything() {
        Token odd = Token.of(
                FakeDaemon.token("a").addHeaders(perCall("X-Id", "(?P<n>a)")).build());
        BearerdException invalid = assertThrows(BearerdException.class, () -> ApiHeaders.of(odd, Map.of("X-Id", "a")));
        assertEquals(BearerdException.HEADER_INVALID, invalid.reason());
    }

    @Test
    void anyValueWillDoWithoutAPattern() {
        Token any =
                Token.of(FakeDaemon.token("a").addHeaders(perCall("X-Id", "")).build());
        assertEquals("ä b", ApiHeaders.of(any, Map.of("X-Id", "ä b")).get("X-Id"));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "https://api.example",
                "http://localhost:1/x",
                "http://127.9.8.7",
                "http://[::1]:80/",
                "HTTPS://A"
            })
    void tokensGoToThese(String url) {
        Origin.of(java.net.URI.create(url)).check(false);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "http://api.example",
                "http://127.0.0.1.example",
                "http://128.0.0.1",
                "ftp://localhost",
                "http://[::2]"
            })
    void butNotToThese(String url) {
        BearerdException insecure = assertThrows(BearerdException.class, () -> Origin.of(java.net.URI.create(url))
                .check(false));
        assertEquals(BearerdException.URL_INSECURE, insecure.reason());
    }
}
