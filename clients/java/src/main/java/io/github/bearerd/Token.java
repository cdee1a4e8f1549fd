package io.github.bearerd;

import bearerd.v1.TokenBrokerOuterClass;
import com.google.protobuf.Timestamp;
import java.time.Duration;
import java.time.Instant;
import java.util.List;

/**
 * An access token and all that is needed to use it. Immutable.
 *
 * <p>{@link #toString()} never shows the secret parts. They are {@code transient} and the class is not
 * {@code Serializable}, so that no serializer of fields finds them either.
 */
public final class Token {
    private static final long LONGEST_MARGIN_MILLIS = 30_000;

    private final String client;
    private final transient String accessToken;
    private final String tokenType;
    private final transient String authorization;
    private final String id;
    private final Instant issuedAt;
    private final Instant expiresAt;
    private final String scope;
    private final List<RequestHeader> headers;
    private final boolean proofRequired;
    private final transient long expiresMillis;
    private final transient long usableUntilMillis;

    private Token(TokenBrokerOuterClass.Token wire) {
        client = wire.getClient();
        accessToken = wire.getAccessToken();
        tokenType = wire.getTokenType();
        authorization = wire.getAuthorization();
        id = wire.getId();
        issuedAt = instant(wire.getIssuedAt());
        expiresAt = instant(wire.getExpiresAt());
        scope = wire.getScope();
        headers = wire.getHeadersList().stream()
                .map(header -> new RequestHeader(
                        header.getName(), header.getValue(), header.getPerCall(), header.getPattern()))
                .toList();
        proofRequired = wire.getProofRequired();
        expiresMillis = expiresAt.toEpochMilli();
        long life = expiresMillis - issuedAt.toEpochMilli();
        usableUntilMillis = expiresMillis - Math.max(0, Math.min(LONGEST_MARGIN_MILLIS, life / 10));
    }

    static Token of(TokenBrokerOuterClass.Token wire) {
        return new Token(wire);
    }

    static Instant instant(Timestamp time) {
        return Instant.ofEpochSecond(time.getSeconds(), time.getNanos());
    }

    /** Whether it is valid for at least its margin: the smaller of 30 s and a tenth of its life. */
    boolean usableAt(long nowMillis) {
        return nowMillis < usableUntilMillis;
    }

    /** Whether it is also valid for as long as asked. */
    boolean usableAt(long nowMillis, Duration minValidity) {
        return usableAt(nowMillis) && nowMillis < expiresMillis - minValidity.toMillis();
    }

    boolean newerThan(Token other) {
        return issuedAt.isAfter(other.issuedAt);
    }

    /**
     * The name of the client it belongs to.
     *
     * @return the name
     */
    public String client() {
        return client;
    }

    /**
     * The access token itself. Secret.
     *
     * @return the token
     */
    public String accessToken() {
        return accessToken;
    }

    /**
     * How the token is used, normally {@code "Bearer"} (RFC 6750).
     *
     * @return the type
     */
    public String tokenType() {
        return tokenType;
    }

    /**
     * The complete value of the {@code Authorization} header. Secret.
     *
     * @return the value
     */
    public String authorization() {
        return authorization;
    }

    /**
     * Tells two tokens apart. Safe to log. After a 401 of the API it goes to {@link TokenClient#reject(String)}.
     *
     * @return the id
     */
    public String id() {
        return id;
    }

    /**
     * When the request that brought the token was sent, wall clock.
     *
     * @return the time
     */
    public Instant issuedAt() {
        return issuedAt;
    }

    /**
     * When it stops being valid, wall clock.
     *
     * @return the time
     */
    public Instant expiresAt() {
        return expiresAt;
    }

    /**
     * The granted scope, separated by spaces (RFC 6749 section 3.3).
     *
     * @return the scope; empty when the issuer did not say
     */
    public String scope() {
        return scope;
    }

    /**
     * What else each API call must carry.
     *
     * @return an unmodifiable list, in the order of the configuration
     */
    public List<RequestHeader> headers() {
        return headers;
    }

    /**
     * Whether the token is bound to a key (DPoP, RFC 9449), so that each API call needs a proof of its own.
     *
     * @return false for a plain bearer token
     */
    public boolean proofRequired() {
        return proofRequired;
    }

    /** Everything but the secret parts. */
    @Override
    public String toString() {
        return "Token[client=" + client + ", id=" + id + ", tokenType=" + tokenType + ", issuedAt=" + issuedAt
                + ", expiresAt=" + expiresAt + ", scope=" + scope + ", headers=" + headers + ", proofRequired="
                + proofRequired + "]";
    }
}
