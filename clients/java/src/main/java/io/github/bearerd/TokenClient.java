package io.github.bearerd;

import bearerd.v1.TokenBrokerGrpc;
import bearerd.v1.TokenBrokerOuterClass.SignProofRequest;
import bearerd.v1.TokenBrokerOuterClass.SignProofResponse;
import io.grpc.Status;
import java.net.URI;
import java.net.http.HttpClient;
import java.time.Duration;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.function.Supplier;

/**
 * The tokens of one client of the daemon's configuration. Made by {@link Broker#client(String)}; safe for use by many
 * threads.
 *
 * <p>{@link #token()} before each API call is the way to use it, there is nothing to cache: it reads the token from
 * memory. It asks the daemon only when the token in memory is not valid for as long as was asked, and waits only while
 * the client's first token is on its way.
 *
 * <p>After a 401 of the API, {@link #reject(String)} the token that was used. {@link #http(HttpClient)} and
 * {@link #interceptor()} do all of that by themselves. 400 and 403 are not token problems.
 */
public final class TokenClient implements Supplier<Token> {
    private static final System.Logger LOG = System.getLogger("io.github.bearerd");
    private static final Duration LONGEST = Duration.ofDays(3650);

    private final String name;
    private final TokenState state;
    private final Duration timeout;
    private final Loop loop;
    private final Connection connection;

    TokenClient(String name, TokenState state, Duration timeout, Loop loop, Connection connection) {
        this.name = name;
        this.state = state;
        this.timeout = timeout;
        this.loop = loop;
        this.connection = connection;
    }

    /**
     * The client's name.
     *
     * @return the name
     */
    public String name() {
        return name;
    }

    /**
     * The current token, valid for at least the smaller of 30 s and a tenth of its life.
     *
     * @return the token
     * @throws BearerdException if there is none
     */
    public Token token() {
        Token token = state.usable();
        return token != null ? token : await(state.read(Duration.ZERO, timeout));
    }

    /**
     * A token that is valid for at least so long.
     *
     * @param minValidity from now
     * @return the token
     * @throws BearerdException if there is none; {@code VALIDITY_UNATTAINABLE} if the issuer's tokens do not live that
     *     long
     */
    public Token token(Duration minValidity) {
        return token(minValidity, timeout);
    }

    /**
     * A token that is valid for at least so long, if it comes within a time.
     *
     * @param minValidity from now
     * @param timeout how long to wait at most
     * @return the token
     * @throws BearerdException if there is none; {@code VALIDITY_UNATTAINABLE} if the issuer's tokens do not live that
     *     long
     */
    public Token token(Duration minValidity, Duration timeout) {
        Token token = state.usable(notNegative(minValidity, "minValidity"));
        return token != null ? token : await(state.read(minValidity, notNegative(timeout, "timeout")));
    }

    /**
     * The same as {@link #token()}, for those who were promised a {@link Supplier}.
     *
     * @return the token
     * @throws BearerdException if there is none
     */
    @Override
    public Token get() {
        return token();
    }

    /**
     * The current token without waiting for it.
     *
     * @return completed already if the token is in memory; fails with a {@link BearerdException}
     */
    public CompletableFuture<Token> tokenAsync() {
        return tokenAsync(Duration.ZERO, timeout);
    }

    /**
     * A token that is valid for at least so long, without waiting for it.
     *
     * @param minValidity from now
     * @param timeout after how long to fail
     * @return completed already if the token is in memory; fails with a {@link BearerdException}
     */
    public CompletableFuture<Token> tokenAsync(Duration minValidity, Duration timeout) {
        Token token = state.usable(notNegative(minValidity, "minValidity"));
        return token != null
                ? CompletableFuture.completedFuture(token)
                : elsewhere(state.read(minValidity, notNegative(timeout, "timeout")));
    }

    /**
     * Reports that an API answered 401 to a token, and gives the one to use instead. If there is a newer one in memory
     * already, nobody is asked. While the report is under way all other readers wait for its outcome, and all who
     * report the same token share it.
     *
     * @param tokenId the {@link Token#id()} of the token that was used
     * @return the token to use, which can be the same; see {@link Rejection}
     * @throws BearerdException if there is no token now
     */
    public Replacement reject(String tokenId) {
        return await(state.reject(Objects.requireNonNull(tokenId, "tokenId"), timeout));
    }

    /**
     * The same as {@link #reject(String)} without waiting for it.
     *
     * @param tokenId the {@link Token#id()} of the token that was used
     * @return fails with a {@link BearerdException}
     */
    public CompletableFuture<Replacement> rejectAsync(String tokenId) {
        return elsewhere(state.reject(Objects.requireNonNull(tokenId, "tokenId"), timeout));
    }

    /**
     * All headers of one API call: {@code Authorization}, those with a fixed value, and those given here.
     *
     * @param perCall the values that only the program knows, by name; names are not case-sensitive
     * @return a new map; it holds the token, so it belongs into no log
     * @throws BearerdException if there is no token; {@link BearerdException#HEADER_MISSING} or
     *     {@link BearerdException#HEADER_INVALID}; {@link BearerdException#PROOF_REQUIRED} if the token is bound to a
     *     key
     */
    public Map<String, String> headers(Map<String, String> perCall) {
        Token token = token();
        if (token.proofRequired()) {
            throw new BearerdException(
                    Status.Code.FAILED_PRECONDITION,
                    BearerdException.PROOF_REQUIRED,
                    "client " + name
                            + ": its tokens are bound to a key; give the method and the URL of the call as well");
        }
        return ApiHeaders.of(token, perCall);
    }

    /**
     * All headers of one API call, with the proof that a token bound to a key needs (DPoP, RFC 9449). Good for one use,
     * within seconds.
     *
     * @param method the HTTP method of the call
     * @param url the URL of the call
     * @param perCall the values that only the program knows, by name; names are not case-sensitive
     * @return a new map; it holds the token, so it belongs into no log
     * @throws BearerdException as {@link #headers(Map)}
     */
    public Map<String, String> headers(String method, URI url, Map<String, String> perCall) {
        Token token = token();
        if (!token.proofRequired()) {
            return ApiHeaders.of(token, perCall);
        }
        Proof proof = await(prove(method, url, "", timeout));
        Map<String, String> headers = ApiHeaders.of(proof.token(), perCall);
        headers.put(ApiHeaders.DPOP, proof.value());
        return headers;
    }

    CompletableFuture<Proof> prove(String method, URI url, String nonce, Duration limit) {
        SignProofRequest request = SignProofRequest.newBuilder()
                .setClient(name)
                .setMethod(method)
                .setUrl(url.toString())
                .setNonce(nonce)
                .build();
        return loop.ask(() -> connection.call(TokenBrokerGrpc.getSignProofMethod(), request, limit))
                .thenApplyAsync(Proof::of);
    }

    /**
     * Credentials for the calls of a gRPC API.
     *
     * @return credentials without headers of the program's own, for channels with TLS only
     */
    public TokenCallCredentials callCredentials() {
        return new TokenCallCredentials(this, Map.of(), false);
    }

    /**
     * Credentials for all calls over a channel to a gRPC API, which also reports tokens that the API rejects.
     *
     * @return an interceptor for channels with TLS only
     */
    public TokenInterceptor interceptor() {
        return new TokenInterceptor(this, false);
    }

    /**
     * Reports a token for one of the adapters: whether there is another one now. Never fails; what goes wrong is
     * logged.
     */
    CompletableFuture<Boolean> replaced(Token rejected) {
        return rejectAsync(rejected.id()).handle((replacement, error) -> {
            if (error != null) {
                LOG.log(
                        System.Logger.Level.WARNING,
                        "client {0}: an API rejected token {1}, and no other is to be had: {2}",
                        name,
                        rejected.id(),
                        error.getMessage());
                return false;
            }
            return !replacement.token().id().equals(rejected.id());
        });
    }

    void close() {
        state.close();
    }

    Duration timeout() {
        return timeout;
    }

    /**
     * An {@link HttpClient} that adds this client's headers to each request, over a plain
     * {@code HttpClient.newHttpClient()}.
     *
     * @return a new one; keep it, as you would keep any {@code HttpClient}
     */
    public TokenHttpClient http() {
        return TokenHttpClient.builder(this).build();
    }

    /**
     * An {@link HttpClient} that adds this client's headers to each request and sends it with another one.
     *
     * @param http does not follow redirects itself, since it would take the token along to any place
     * @return a new one; keep it, as you would keep any {@code HttpClient}
     * @throws IllegalArgumentException if {@code http} follows redirects or has an authenticator
     */
    public TokenHttpClient http(HttpClient http) {
        return TokenHttpClient.builder(this).over(http).build();
    }

    static Duration notNegative(Duration duration, String what) {
        if (duration.isNegative()) {
            throw new IllegalArgumentException(what + " is negative: " + duration);
        }
        return duration.compareTo(LONGEST) > 0 ? LONGEST : duration;
    }

    /** What follows must not run on the broker's thread, which everybody shares. */
    private static <T> CompletableFuture<T> elsewhere(CompletableFuture<T> future) {
        return future.thenApplyAsync(value -> value);
    }

    private static <T> T await(CompletableFuture<T> future) {
        try {
            return future.get();
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            throw new BearerdException(
                    Status.Code.CANCELLED, BearerdException.INTERRUPTED, "interrupted while waiting");
        } catch (ExecutionException failed) {
            if (failed.getCause() instanceof BearerdException failure) {
                throw failure.here();
            }
            throw new IllegalStateException(failed.getCause());
        }
    }

    /** A token and the proof that goes with it. */
    record Proof(Token token, String value) {
        static Proof of(SignProofResponse response) {
            return new Proof(Token.of(response.getToken()), response.getProof());
        }
    }
}
