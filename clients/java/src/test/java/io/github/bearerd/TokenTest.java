package io.github.bearerd;

import static io.github.bearerd.FakeDaemon.NOW;
import static io.github.bearerd.FakeDaemon.fixed;
import static io.github.bearerd.FakeDaemon.perCall;
import static io.github.bearerd.FakeDaemon.timestamp;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonPrimitive;
import com.google.gson.JsonSerializer;
import java.io.Serializable;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class TokenTest {
    @ParameterizedTest
    @CsvSource({"3600, 3570000", "300, 270000", "30, 27000", "1, 900"})
    void isUsableUntilTheMarginBeforeItsEnd(long lifeSeconds, long usableMillis) {
        Token token = Token.of(FakeDaemon.token("a")
                .setExpiresAt(timestamp(NOW.plusSeconds(lifeSeconds)))
                .build());
        assertTrue(token.usableAt(NOW.toEpochMilli() + usableMillis - 1));
        assertFalse(token.usableAt(NOW.toEpochMilli() + usableMillis));
    }

    @Test
    void aLongerValidityCountsAndAShorterThanTheMarginDoesNot() {
        Token token = Token.of(FakeDaemon.token("a").build());
        long now = NOW.toEpochMilli();
        assertTrue(token.usableAt(now + 199_999, Duration.ofSeconds(100)));
        assertFalse(token.usableAt(now + 200_000, Duration.ofSeconds(100)));
        assertTrue(token.usableAt(now + 269_999, Duration.ofSeconds(1)));
        assertFalse(token.usableAt(now + 270_000, Duration.ofSeconds(1)));
    }

    @Test
    void noTextFormShowsTheSecretParts() {
        Token token = Token.of(FakeDaemon.token("a")
                .addHeaders(perCall("Requestor-ID", "[0-9]+"))
                .addHeaders(fixed("X-Api-Key", "secret-key"))
                .build());
        Gson byField = new GsonBuilder()
                .registerTypeAdapter(Instant.class, (JsonSerializer<Instant>)
                        (time, type, context) -> new JsonPrimitive(time.toString()))
                .create();
        Replacement replacement = new Replacement(token, Rejection.REPLACED);
        for (String text : List.of(
                token.toString(),
                replacement.toString(),
                byField.toJson(token),
                token.headers().toString())) {
            assertFalse(text.contains("secret"), text);
        }
        assertEquals("Bearer secret-a", token.authorization());
        assertFalse(Serializable.class.isAssignableFrom(Token.class));
    }
}
