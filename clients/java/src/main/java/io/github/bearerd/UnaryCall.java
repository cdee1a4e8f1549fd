package io.github.bearerd;

import io.github.bearerd.TokenInterceptor.Used;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.Deadline;
import io.grpc.ForwardingClientCallListener.SimpleForwardingClientCallListener;
import io.grpc.Metadata;
import io.grpc.Status;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/** A call with one request, which is made once more with a new token when the API rejects the first. */
final class UnaryCall<Q, R> extends ClientCall<Q, R> {
    private final TokenClient tokens;
    private final CallOptions options;
    private final Function<Used, ClientCall<Q, R>> maker;
    private final Used used = new Used();
    private ClientCall<Q, R> call;
    private Metadata headers;
    private Listener<R> listener;
    private int requested;
    private Q message;
    private boolean cancelled;

    UnaryCall(TokenClient tokens, CallOptions options, Function<Used, ClientCall<Q, R>> maker) {
        this.tokens = tokens;
        this.options = options;
        this.maker = maker;
        this.call = maker.apply(used);
    }

    @Override
    public synchronized void start(Listener<R> listener, Metadata headers) {
        this.listener = listener;
        // gRPC takes the first one over, and may change it.
        this.headers = new Metadata();
        this.headers.merge(headers);
        used.headers = this.headers;
        call.start(new First(listener), headers);
    }

    /** False if the program has cancelled the call meanwhile. */
    private synchronized boolean startAgain() {
        if (cancelled) {
            return false;
        }
        Used again = new Used();
        again.headers = headers;
        call = maker.apply(again);
        call.start(listener, headers);
        call.request(requested);
        call.sendMessage(message);
        call.halfClose();
        return true;
    }

    @Override
    public synchronized void request(int messages) {
        requested += messages;
        call.request(messages);
    }

    @Override
    public synchronized void sendMessage(Q message) {
        this.message = message;
        call.sendMessage(message);
    }

    @Override
    public synchronized void halfClose() {
        call.halfClose();
    }

    @Override
    public synchronized void cancel(String message, Throwable cause) {
        cancelled = true;
        call.cancel(message, cause);
    }

    @Override
    public synchronized boolean isReady() {
        return call.isReady();
    }

    /** Holds the end of the first call back until it is known whether there is another. */
    private final class First extends SimpleForwardingClientCallListener<R> {
        First(Listener<R> listener) {
            super(listener);
        }

        @Override
        public void onClose(Status status, Metadata trailers) {
            if (!used.rejected(status)) {
                super.onClose(status, trailers);
                return;
            }
            CompletableFuture<Boolean> replaced = tokens.replaced(used.token);
            Deadline deadline = options.getDeadline();
            if (deadline != null) {
                replaced = replaced.completeOnTimeout(
                        false, deadline.timeRemaining(TimeUnit.NANOSECONDS), TimeUnit.NANOSECONDS);
            }
            // A blocking stub waits for its executor, not for the listener.
            Executor executor = options.getExecutor() != null ? options.getExecutor() : Runnable::run;
            replaced.thenAcceptAsync(
                    again -> {
                        if (!again || !startAgain()) {
                            super.onClose(status, trailers);
                        }
                    },
                    executor);
        }
    }
}
