package io.github.bearerd;

import io.github.bearerd.TokenClient.Proof;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandler;
import java.net.http.HttpResponse.ResponseInfo;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.regex.Pattern;

/**
 * One request of the program, which may be sent several times: again after a 401, and to where a redirect leads. Each
 * response but the last is thrown away; which one is the last is known when its headers are here, before its body is
 * read.
 *
 * <p>The sends follow each other, so that no two threads change an exchange at a time.
 */
final class Exchange<T> {
    private static final int UNAUTHORIZED = 401;
    private static final int MOST_REDIRECTS = 5;
    private static final String NONCE = "DPoP-Nonce";
    /** RFC 9449 section 9: the API wants its nonce in the proof; nothing is wrong with the token. */
    private static final Pattern NONCE_WANTED =
            Pattern.compile("\\bDPoP\\b.*\\berror=\"?use_dpop_nonce\\b", Pattern.CASE_INSENSITIVE);

    private final TokenHttpClient client;
    private final BodyHandler<T> handler;
    private final Origin origin;
    private final CompletableFuture<HttpResponse<T>> result = new CompletableFuture<>();
    private HttpRequest request;
    /** Whether the next send goes to the origin of the first, which the token is for. */
    private boolean atOrigin = true;
    /** Whether a 401 was answered with one more send. There is never another. */
    private boolean replayed;
    /** Whether a token was reported. Its replacement is too young to be. */
    private boolean tokenRejected;

    private int redirects;

    Exchange(TokenHttpClient client, HttpRequest request, BodyHandler<T> handler) {
        this.client = client;
        this.request = request;
        this.handler = handler;
        this.origin = Origin.of(request.uri());
    }

    CompletableFuture<HttpResponse<T>> begin() {
        try {
            origin.check(client.allowsHttp());
        } catch (BearerdException insecure) {
            return CompletableFuture.failedFuture(insecure);
        }
        send();
        return result;
    }

    private void send() {
        credentials().thenCompose(this::send).whenComplete((done, error) -> {
            if (error != null) {
                Loop.settle(result, null, error);
            }
        });
    }

    private CompletableFuture<Void> send(Optional<Proof> credentials) {
        HttpRequest sent =
                credentials.map(proof -> ApiRequest.authorized(request, proof)).orElse(request);
        DeferredBody<T> body = new DeferredBody<>(handler, info -> sendAgain(info, credentials));
        CompletableFuture<HttpResponse<T>> response = client.http().sendAsync(sent, body);
        result.whenComplete((done, error) -> {
            if (result.isCancelled()) {
                response.cancel(true);
            }
        });
        return response.thenAccept(received -> {
            if (body.discarded()) {
                send();
            } else {
                result.complete(received);
            }
        });
    }

    /** The token for the next send, with a proof if it needs one; none away from the origin. */
    private CompletableFuture<Optional<Proof>> credentials() {
        if (!atOrigin) {
            return CompletableFuture.completedFuture(Optional.empty());
        }
        TokenClient tokens = client.tokens();
        Duration limit = request.timeout()
                .filter(own -> own.compareTo(tokens.timeout()) < 0)
                .orElse(tokens.timeout());
        return tokens.tokenAsync(Duration.ZERO, limit).thenCompose(token -> {
            if (!token.proofRequired()) {
                return CompletableFuture.completedFuture(Optional.of(new Proof(token, "")));
            }
            ApiRequest.check(request, token);
            String nonce = client.nonces().getOrDefault(origin, "");
            return tokens.prove(request.method(), request.uri(), nonce, limit).thenApply(Optional::of);
        });
    }

    /** Whether this response is not the last. If so, all is prepared for the next send. */
    private CompletableFuture<Boolean> sendAgain(ResponseInfo info, Optional<Proof> credentials) {
        if (credentials.isPresent() && info.statusCode() == UNAUTHORIZED) {
            return unauthorized(info, credentials.get());
        }
        credentials.ifPresent(proof -> rememberNonce(info, proof));
        return CompletableFuture.completedFuture(client.followsRedirects() && redirected(info, credentials));
    }

    private CompletableFuture<Boolean> unauthorized(ResponseInfo info, Proof used) {
        boolean nonceGiven = rememberNonce(info, used);
        boolean again = !replayed && ApiRequest.replayable(request);
        if (nonceGiven && info.headers().allValues("WWW-Authenticate").stream().anyMatch(NONCE_WANTED.asPredicate())) {
            replayed = true;
            return CompletableFuture.completedFuture(again);
        }
        if (tokenRejected) {
            return CompletableFuture.completedFuture(false);
        }
        tokenRejected = true;
        CompletableFuture<Boolean> replaced = client.tokens().replaced(used.token());
        if (again) {
            replayed = true;
            return replaced;
        }
        // The report is for the next request, this one's response need not wait for it.
        return CompletableFuture.completedFuture(false);
    }

    private boolean rememberNonce(ResponseInfo info, Proof used) {
        Optional<String> nonce =
                info.headers().firstValue(NONCE).filter(given -> !used.value().isEmpty());
        nonce.ifPresent(given -> client.nonces().put(origin, given));
        return nonce.isPresent();
    }

    private boolean redirected(ResponseInfo info, Optional<Proof> credentials) {
        if (redirects == MOST_REDIRECTS) {
            return false;
        }
        Optional<HttpRequest> next = ApiRequest.redirected(request, info);
        next.ifPresent(redirected -> {
            redirects++;
            boolean leaves = !Origin.of(redirected.uri()).equals(origin);
            if (leaves && credentials.isPresent()) {
                atOrigin = false;
                request = ApiRequest.bare(redirected, credentials.get().token());
            } else {
                request = redirected;
            }
        });
        return next.isPresent();
    }
}
