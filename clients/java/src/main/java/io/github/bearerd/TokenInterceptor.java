package io.github.bearerd;

import io.grpc.CallCredentials;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.ForwardingClientCallListener.SimpleForwardingClientCallListener;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executor;

/**
 * Gives all calls of a channel the token of a {@link TokenClient}, as {@link TokenCallCredentials} do, and reports
 * tokens that the API answers with {@code UNAUTHENTICATED}. A unary call is then made once more, if another token comes
 * back.
 *
 * <pre>{@code
 * Channel api = ClientInterceptors.intercept(channel, wawex.interceptor());
 * }</pre>
 *
 * <p>The headers that the program must supply are those of the call's own metadata ({@code MetadataUtils}); a call
 * without them fails with nothing sent. Call credentials that a call has already are replaced.
 */
public final class TokenInterceptor implements ClientInterceptor {
    private final TokenClient tokens;
    private final boolean allowPlaintext;

    TokenInterceptor(TokenClient tokens, boolean allowPlaintext) {
        this.tokens = tokens;
        this.allowPlaintext = allowPlaintext;
    }

    /**
     * The same for channels without TLS as well. Danger: everybody on the way can read the token and use it.
     *
     * @return a new interceptor
     */
    public TokenInterceptor allowPlaintext() {
        return new TokenInterceptor(tokens, true);
    }

    @Override
    public <Q, R> ClientCall<Q, R> interceptCall(MethodDescriptor<Q, R> method, CallOptions options, Channel next) {
        if (method.getType() == MethodDescriptor.MethodType.UNARY) {
            return new UnaryCall<>(tokens, options, used -> authorized(method, options, next, used));
        }
        Used used = new Used();
        return new SimpleForwardingClientCall<Q, R>(authorized(method, options, next, used)) {
            @Override
            public void start(Listener<R> listener, Metadata headers) {
                used.headers = headers;
                super.start(new Reporting<>(listener, used), headers);
            }
        };
    }

    private <Q, R> ClientCall<Q, R> authorized(
            MethodDescriptor<Q, R> method, CallOptions options, Channel next, Used used) {
        return next.newCall(method, options.withCallCredentials(new CallCredentials() {
            @Override
            public void applyRequestMetadata(RequestInfo call, Executor executor, MetadataApplier applier) {
                TokenCallCredentials.apply(tokens, allowPlaintext, call, applier, used::add);
            }
        }));
    }

    /** What one call was made with. */
    static final class Used {
        /** The call's own. Set before it is started. */
        Metadata headers;

        /** Null as long as the call has none. */
        volatile Token token;

        private Metadata add(Token token) {
            ApiHeaders.check(token, name -> {
                Iterable<String> values = headers.getAll(TokenCallCredentials.key(name));
                List<String> list = new ArrayList<>();
                if (values != null) {
                    values.forEach(list::add);
                }
                return list;
            });
            this.token = token;
            return TokenCallCredentials.metadata(ApiHeaders.fixed(token));
        }

        boolean rejected(Status status) {
            return status.getCode() == Status.Code.UNAUTHENTICATED && token != null;
        }
    }

    /** Reports the token of a call that is not made again. */
    private final class Reporting<R> extends SimpleForwardingClientCallListener<R> {
        private final Used used;

        Reporting(ClientCall.Listener<R> listener, Used used) {
            super(listener);
            this.used = used;
        }

        @Override
        public void onClose(Status status, Metadata trailers) {
            if (used.rejected(status)) {
                tokens.replaced(used.token);
            }
            super.onClose(status, trailers);
        }
    }
}
