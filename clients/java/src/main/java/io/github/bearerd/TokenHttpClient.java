package io.github.bearerd;

import java.io.IOException;
import java.net.Authenticator;
import java.net.CookieHandler;
import java.net.ProxySelector;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandler;
import java.net.http.HttpResponse.PushPromiseHandler;
import java.time.Duration;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;

/**
 * An {@link HttpClient} that gives each request the token of a {@link TokenClient}.
 *
 * <ul>
 *   <li>{@code Authorization} and the headers with a fixed value are set. Those that the program must supply are given
 *       as ordinary request headers; if one is missing or malformed nothing is sent.
 *   <li>Only https, or http to this machine, unless {@link Builder#allowHttp()}.
 *   <li>After a 401 the token is reported, and the request is sent once more if another token comes back. For that the
 *       body must be of known length: {@code ofString}, {@code ofByteArray}, {@code ofFile}. One of unknown length
 *       ({@code ofInputStream}) can be gone once it was read, so it is not sent again: the program gets the 401, and
 *       its next request has the new token.
 *   <li>For a token bound to a key (DPoP, RFC 9449) each request gets a proof of its own.
 *   <li>Redirects are given to the program, or followed with {@link Builder#followRedirects()}: the token and the
 *       declared headers never go to another origin, and nothing goes from https to http.
 * </ul>
 *
 * <p>Requests fail with a {@link BearerdException} when there is no token or they must not be sent. Server push is not
 * supported.
 */
public final class TokenHttpClient extends HttpClient {
    private final TokenClient tokens;
    private final HttpClient http;
    private final boolean allowHttp;
    private final boolean followRedirects;
    /** What each API gave last to be part of its proofs, by origin. */
    private final Map<Origin, String> nonces = new ConcurrentHashMap<>();

    private TokenHttpClient(Builder builder) {
        tokens = builder.tokens;
        http = builder.http != null ? builder.http : HttpClient.newHttpClient();
        allowHttp = builder.allowHttp;
        followRedirects = builder.followRedirects;
    }

    /**
     * For a client with other settings than {@link TokenClient#http(HttpClient)} has.
     *
     * @param tokens whose tokens to use
     * @return a builder with the defaults
     */
    public static Builder builder(TokenClient tokens) {
        return new Builder(tokens);
    }

    /**
     * Sends a request with the token and waits for the response.
     *
     * @throws BearerdException if there is no token, or the request must not be sent
     */
    @Override
    public <T> HttpResponse<T> send(HttpRequest request, BodyHandler<T> handler)
            throws IOException, InterruptedException {
        CompletableFuture<HttpResponse<T>> response = sendAsync(request, handler);
        try {
            return response.get();
        } catch (InterruptedException interrupted) {
            response.cancel(true);
            throw interrupted;
        } catch (ExecutionException failed) {
            Throwable cause = failed.getCause();
            if (cause instanceof BearerdException failure) {
                throw failure.here();
            }
            if (cause instanceof IOException error) {
                throw error;
            }
            if (cause instanceof RuntimeException error) {
                throw error;
            }
            throw new IOException(cause);
        }
    }

    /**
     * Sends a request with the token.
     *
     * @return fails with a {@link BearerdException} if there is no token, or the request must not be sent
     */
    @Override
    public <T> CompletableFuture<HttpResponse<T>> sendAsync(HttpRequest request, BodyHandler<T> handler) {
        return new Exchange<>(this, request, Objects.requireNonNull(handler)).begin();
    }

    /**
     * Not supported.
     *
     * @throws UnsupportedOperationException always
     */
    @Override
    public <T> CompletableFuture<HttpResponse<T>> sendAsync(
            HttpRequest request, BodyHandler<T> handler, PushPromiseHandler<T> pushes) {
        throw new UnsupportedOperationException("server push");
    }

    TokenClient tokens() {
        return tokens;
    }

    HttpClient http() {
        return http;
    }

    boolean allowsHttp() {
        return allowHttp;
    }

    boolean followsRedirects() {
        return followRedirects;
    }

    Map<Origin, String> nonces() {
        return nonces;
    }

    @Override
    public Optional<CookieHandler> cookieHandler() {
        return http.cookieHandler();
    }

    @Override
    public Optional<Duration> connectTimeout() {
        return http.connectTimeout();
    }

    @Override
    public Redirect followRedirects() {
        return followRedirects ? Redirect.NORMAL : Redirect.NEVER;
    }

    @Override
    public Optional<ProxySelector> proxy() {
        return http.proxy();
    }

    @Override
    public SSLContext sslContext() {
        return http.sslContext();
    }

    @Override
    public SSLParameters sslParameters() {
        return http.sslParameters();
    }

    @Override
    public Optional<Authenticator> authenticator() {
        return http.authenticator();
    }

    @Override
    public Version version() {
        return http.version();
    }

    @Override
    public Optional<Executor> executor() {
        return http.executor();
    }

    /** The settings of a {@link TokenHttpClient}. */
    public static final class Builder {
        private final TokenClient tokens;
        private HttpClient http;
        private boolean allowHttp;
        private boolean followRedirects;

        private Builder(TokenClient tokens) {
            this.tokens = Objects.requireNonNull(tokens);
        }

        /**
         * What sends the requests. Default: {@code HttpClient.newHttpClient()}.
         *
         * @param http must not follow redirects itself, since it would take the token along to any place, and must not
         *     have an authenticator, since it would then drop or replace the {@code Authorization} header
         * @return this
         * @throws IllegalArgumentException if it does
         */
        public Builder over(HttpClient http) {
            if (http.followRedirects() != Redirect.NEVER) {
                throw new IllegalArgumentException(
                        "this HttpClient follows redirects and would take the token along to any place: build it with"
                                + " Redirect.NEVER, and use TokenHttpClient.Builder.followRedirects()");
            }
            if (http.authenticator().isPresent()) {
                throw new IllegalArgumentException(
                        "this HttpClient has an authenticator, which has its own mind about the Authorization header:"
                                + " build it without");
            }
            this.http = http;
            return this;
        }

        /**
         * Lets requests go over plain http to other machines as well. Danger: everybody on the way can read the token
         * and use it.
         *
         * @return this
         */
        public Builder allowHttp() {
            allowHttp = true;
            return this;
        }

        /**
         * Follows up to five redirects of a request, as {@link Redirect#NORMAL} does. The token and the declared
         * headers go only to the origin of the first request.
         *
         * @return this
         */
        public Builder followRedirects() {
            followRedirects = true;
            return this;
        }

        /**
         * Makes the client.
         *
         * @return a new one
         */
        public TokenHttpClient build() {
            return new TokenHttpClient(this);
        }
    }
}
