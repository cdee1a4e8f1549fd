package io.github.bearerd;

import bearerd.v1.TokenBrokerGrpc;
import bearerd.v1.TokenBrokerOuterClass.WatchTokenRequest;
import bearerd.v1.TokenBrokerOuterClass.WatchTokenResponse;
import io.grpc.CallOptions;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ClientResponseObserver;
import java.time.Duration;
import java.util.EnumSet;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.concurrent.ThreadLocalRandom;

/**
 * The stream that keeps one client's token in memory up to date, begun anew whenever it ends. Used on the broker's
 * thread only.
 */
final class Watch {
    /** What the stream has to tell. */
    interface Listener {
        void said(WatchTokenResponse state);

        /** @param refused the daemon does not let this program have the token: what is in memory is void */
        void ended(BearerdException why, boolean refused);
    }

    private static final System.Logger LOG = System.getLogger("io.github.bearerd");
    private static final Duration LONGEST_PAUSE = Duration.ofSeconds(2);
    private static final Duration LONGEST_PAUSE_WHEN_REFUSED = Duration.ofSeconds(30);
    private static final Duration MEMORY_OF_FAILURE = Duration.ofSeconds(1);
    /** A stream that stood for so long is no part of a series of failures. */
    private static final Duration STABLE = Duration.ofSeconds(5);

    private static final Set<Status.Code> REFUSALS = EnumSet.of(
            Status.Code.NOT_FOUND,
            Status.Code.PERMISSION_DENIED,
            Status.Code.INVALID_ARGUMENT,
            Status.Code.FAILED_PRECONDITION,
            Status.Code.RESOURCE_EXHAUSTED,
            Status.Code.UNIMPLEMENTED);

    private final String client;
    private final Loop loop;
    private final Connection connection;
    private final Listener listener;
    private final Backoff backoff =
            new Backoff(() -> ThreadLocalRandom.current().nextDouble());
    private Attempt attempt;
    private boolean standing;
    private long stoodSince;
    private BearerdException failure;
    private long failedAt;
    private Future<?> retry;
    private boolean closed;

    Watch(String client, Loop loop, Connection connection, Listener listener) {
        this.client = client;
        this.loop = loop;
        this.connection = connection;
        this.listener = listener;
    }

    /** Whether the daemon has answered and the stream goes on. */
    boolean standing() {
        return standing;
    }

    boolean connecting() {
        return attempt != null && !standing;
    }

    /** What the last attempt failed with, if that was so short ago that another is not worth it; else null. */
    BearerdException recentFailure() {
        return failure != null && System.nanoTime() - failedAt < MEMORY_OF_FAILURE.toNanos() ? failure : null;
    }

    /** Begins the stream, unless it is there or on its way. */
    void begin() {
        if (attempt != null || closed) {
            return;
        }
        if (retry != null) {
            retry.cancel(false);
            retry = null;
        }
        attempt = new Attempt(connection.channel());
        attempt.start();
    }

    void close() {
        closed = true;
        if (retry != null) {
            retry.cancel(false);
        }
        if (attempt != null) {
            attempt.cancel();
        }
    }

    private void ended(Attempt which, Throwable error) {
        BearerdException why = connection.failure(which.channel, error);
        if (which != attempt || closed) {
            return;
        }
        if (standing && System.nanoTime() - stoodSince > STABLE.toNanos()) {
            backoff.reset();
        }
        boolean known = failure != null && failure.reason().equals(why.reason());
        attempt = null;
        standing = false;
        failure = why;
        failedAt = System.nanoTime();
        boolean refused = REFUSALS.contains(why.code());
        Duration pause = backoff.next(refused ? LONGEST_PAUSE_WHEN_REFUSED : LONGEST_PAUSE);
        LOG.log(
                refused && !known ? System.Logger.Level.WARNING : System.Logger.Level.DEBUG,
                "client {0}: the watch ended: {1} {2}; begun anew in {3} ms",
                client,
                why.reason(),
                why.getMessage(),
                pause.toMillis());
        retry = loop.schedule(pause, this::begin);
        listener.ended(why, refused);
    }

    private final class Attempt implements ClientResponseObserver<WatchTokenRequest, WatchTokenResponse> {
        private final ManagedChannel channel;
        private ClientCallStreamObserver<WatchTokenRequest> call;

        Attempt(ManagedChannel channel) {
            this.channel = channel;
        }

        void start() {
            ClientCalls.asyncServerStreamingCall(
                    channel.newCall(TokenBrokerGrpc.getWatchTokenMethod(), CallOptions.DEFAULT),
                    WatchTokenRequest.newBuilder().setClient(client).build(),
                    this);
        }

        void cancel() {
            call.cancel("the broker is closed", null);
        }

        @Override
        public void beforeStart(ClientCallStreamObserver<WatchTokenRequest> call) {
            this.call = call;
        }

        @Override
        public void onNext(WatchTokenResponse state) {
            if (this != attempt || closed) {
                return;
            }
            if (!standing) {
                standing = true;
                stoodSince = System.nanoTime();
                failure = null;
                LOG.log(System.Logger.Level.DEBUG, "client {0}: the watch began", client);
            }
            listener.said(state);
        }

        @Override
        public void onError(Throwable error) {
            ended(this, error);
        }

        @Override
        public void onCompleted() {
            ended(
                    this,
                    Status.UNAVAILABLE
                            .withDescription("the daemon ended the stream")
                            .asRuntimeException());
        }
    }
}
