package io.github.bearerd;

import io.grpc.CallCredentials;
import io.grpc.Metadata;
import io.grpc.SecurityLevel;
import io.grpc.Status;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CompletionException;
import java.util.concurrent.Executor;

/**
 * Gives calls of a partner's gRPC API the token of a {@link TokenClient}: {@code authorization}, and the headers with a
 * fixed value.
 *
 * <pre>{@code
 * stub.withCallCredentials(wawex.callCredentials().withHeaders(Map.of("Requestor-ID", "4711")))
 * }</pre>
 *
 * <p>A call fails with nothing sent when there is no token, when a header that the program must supply is missing or
 * malformed, or when the channel is not secured; the cause of its status is the {@link BearerdException}. What the API
 * answers is not seen here: use {@link TokenClient#interceptor()} to have tokens reported that it rejects. Immutable.
 */
public final class TokenCallCredentials extends CallCredentials {
    private final TokenClient tokens;
    private final Map<String, String> perCall;
    private final boolean allowPlaintext;

    TokenCallCredentials(TokenClient tokens, Map<String, String> perCall, boolean allowPlaintext) {
        this.tokens = tokens;
        this.perCall = perCall;
        this.allowPlaintext = allowPlaintext;
    }

    /**
     * The same with the headers that the program must supply for a call.
     *
     * @param perCall the values by name; names are not case-sensitive
     * @return new credentials
     */
    public TokenCallCredentials withHeaders(Map<String, String> perCall) {
        Map<String, String> all = new TreeMap<>(String.CASE_INSENSITIVE_ORDER);
        all.putAll(this.perCall);
        all.putAll(perCall);
        return new TokenCallCredentials(tokens, all, allowPlaintext);
    }

    /**
     * The same for channels without TLS as well. Danger: everybody on the way can read the token and use it.
     *
     * @return new credentials
     */
    public TokenCallCredentials allowPlaintext() {
        return new TokenCallCredentials(tokens, perCall, true);
    }

    @Override
    public void applyRequestMetadata(RequestInfo call, Executor executor, MetadataApplier applier) {
        apply(tokens, allowPlaintext, call, applier, token -> metadata(ApiHeaders.of(token, perCall)));
    }

    /** What is added to a call. */
    interface Addition {
        Metadata of(Token token);
    }

    static void apply(
            TokenClient tokens, boolean allowPlaintext, RequestInfo call, MetadataApplier applier, Addition addition) {
        if (!allowPlaintext && call.getSecurityLevel() != SecurityLevel.PRIVACY_AND_INTEGRITY) {
            applier.fail(status(new BearerdException(
                    Status.Code.FAILED_PRECONDITION,
                    BearerdException.URL_INSECURE,
                    "a token would go to " + call.getAuthority()
                            + " where others can read it: use a channel with TLS, or"
                            + " allowPlaintext() if that is meant")));
            return;
        }
        tokens.tokenAsync()
                .thenApply(token -> {
                    if (token.proofRequired()) {
                        throw new BearerdException(
                                Status.Code.FAILED_PRECONDITION,
                                BearerdException.PROOF_REQUIRED,
                                "client " + token.client()
                                        + ": its tokens are bound to a key, which there is no way to prove over gRPC");
                    }
                    return addition.of(token);
                })
                .whenComplete((metadata, error) -> {
                    if (error == null) {
                        applier.apply(metadata);
                    } else {
                        applier.fail(status(error instanceof CompletionException ? error.getCause() : error));
                    }
                });
    }

    static Metadata metadata(Map<String, String> headers) {
        Metadata metadata = new Metadata();
        headers.forEach((name, value) -> metadata.put(key(name), value));
        return metadata;
    }

    static Metadata.Key<String> key(String name) {
        return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
    }

    /** A status that gRPC lets pass: most codes are the API's alone, and gRPC would say INTERNAL in its own words. */
    private static Status status(Throwable error) {
        boolean passing = error instanceof BearerdException failure && failure.code() == Status.Code.UNAVAILABLE;
        String reason = error instanceof BearerdException failure ? failure.reason() + ": " : "";
        return (passing ? Status.UNAVAILABLE : Status.INTERNAL)
                .withDescription(reason + error.getMessage())
                .withCause(error);
    }
}
