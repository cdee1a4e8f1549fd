package io.github.bearerd;

import java.net.http.HttpResponse.BodyHandler;
import java.net.http.HttpResponse.BodySubscriber;
import java.net.http.HttpResponse.ResponseInfo;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.Flow;
import java.util.function.Function;

/**
 * Gives the body to the program's handler only once it is clear that the response is for the program. Until then
 * nothing of it is read; if the response is not for the program, the body is thrown away.
 */
final class DeferredBody<T> implements BodyHandler<T> {
    private final BodyHandler<T> handler;
    private final Function<ResponseInfo, CompletableFuture<Boolean>> discard;
    private volatile boolean discarded;

    /** @param discard whether the response is not for the program; its answer never fails */
    DeferredBody(BodyHandler<T> handler, Function<ResponseInfo, CompletableFuture<Boolean>> discard) {
        this.handler = handler;
        this.discard = discard;
    }

    /** Whether the body was thrown away. Known when the response is complete. */
    boolean discarded() {
        return discarded;
    }

    @Override
    public BodySubscriber<T> apply(ResponseInfo info) {
        CompletableFuture<Boolean> decision = discard.apply(info);
        boolean kept = decision.isDone() && !decision.join();
        return kept ? handler.apply(info) : new Undecided(info, decision);
    }

    private final class Undecided implements BodySubscriber<T> {
        private final ResponseInfo info;
        private final CompletableFuture<Boolean> decision;
        private final CompletableFuture<T> body = new CompletableFuture<>();
        /** Who gets the body. There is nothing to give before, since nothing was requested. */
        private CompletableFuture<Flow.Subscriber<List<ByteBuffer>>> receiver;

        Undecided(ResponseInfo info, CompletableFuture<Boolean> decision) {
            this.info = info;
            this.decision = decision;
        }

        @Override
        public CompletionStage<T> getBody() {
            return body;
        }

        @Override
        public void onSubscribe(Flow.Subscription subscription) {
            receiver = decision.thenApply(discard -> {
                Flow.Subscriber<List<ByteBuffer>> chosen = discard ? discarding() : programs();
                chosen.onSubscribe(subscription);
                return chosen;
            });
            receiver.whenComplete((chosen, error) -> {
                if (error != null) {
                    subscription.cancel();
                    Loop.settle(body, null, error);
                }
            });
        }

        private Flow.Subscriber<List<ByteBuffer>> discarding() {
            discarded = true;
            body.complete(null);
            return new Discarding();
        }

        private Flow.Subscriber<List<ByteBuffer>> programs() {
            BodySubscriber<T> subscriber = handler.apply(info);
            subscriber.getBody().whenComplete((value, error) -> Loop.settle(body, value, error));
            return subscriber;
        }

        @Override
        public void onNext(List<ByteBuffer> part) {
            receiver.thenAccept(chosen -> chosen.onNext(part));
        }

        @Override
        public void onError(Throwable error) {
            receiver.thenAccept(chosen -> chosen.onError(error));
        }

        @Override
        public void onComplete() {
            receiver.thenAccept(Flow.Subscriber::onComplete);
        }
    }

    /** Reads a short body to its end, so that the connection can be used again, and gives up a long one. */
    private static final class Discarding implements Flow.Subscriber<List<ByteBuffer>> {
        private static final long SHORT = 64 * 1024;

        private Flow.Subscription subscription;
        private long bytes;

        @Override
        public void onSubscribe(Flow.Subscription subscription) {
            this.subscription = subscription;
            subscription.request(Long.MAX_VALUE);
        }

        @Override
        public void onNext(List<ByteBuffer> part) {
            bytes += part.stream().mapToLong(ByteBuffer::remaining).sum();
            if (bytes > SHORT) {
                subscription.cancel();
            }
        }

        @Override
        public void onError(Throwable error) {}

        @Override
        public void onComplete() {}
    }
}
