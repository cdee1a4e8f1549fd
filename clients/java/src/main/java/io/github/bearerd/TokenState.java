package io.github.bearerd;

import bearerd.v1.TokenBrokerGrpc;
import bearerd.v1.TokenBrokerOuterClass.GetTokenRequest;
import bearerd.v1.TokenBrokerOuterClass.GetTokenResponse;
import bearerd.v1.TokenBrokerOuterClass.Unavailable;
import bearerd.v1.TokenBrokerOuterClass.WatchTokenResponse;
import io.grpc.Status;
import java.time.Duration;
import java.time.InstantSource;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.function.Supplier;

/**
 * What is known of one client's token, and who waits for it. All of it changes on the broker's thread only, and the
 * token to serve is published in one volatile field for everybody else.
 */
final class TokenState implements Watch.Listener {
    private static final System.Logger LOG = System.getLogger("io.github.bearerd");

    private final String client;
    private final Loop loop;
    private final Connection connection;
    private final InstantSource clock;
    private final Watch watch;

    private volatile Token served;

    private Token memory;
    /** Why there is no token, while the watch stands. */
    private BearerdException unavailable;

    private final List<Reader> readers = new ArrayList<>();
    private final Map<String, CompletableFuture<Replacement>> reports = new HashMap<>();
    private final Map<Question, CompletableFuture<Token>> questions = new HashMap<>();
    private boolean closed;

    TokenState(String client, Loop loop, Connection connection, InstantSource clock) {
        this.client = client;
        this.loop = loop;
        this.connection = connection;
        this.clock = clock;
        this.watch = new Watch(client, loop, connection, this);
    }

    /** The token in memory if it is usable now; from any thread, without a lock. */
    Token usable() {
        Token token = served;
        return token != null && token.usableAt(clock.millis()) ? token : null;
    }

    /** The same for somebody who needs it to be valid for longer. */
    Token usable(Duration minValidity) {
        Token token = served;
        return token != null && token.usableAt(clock.millis(), minValidity) ? token : null;
    }

    /** A token, as soon as there is one or it is clear that there will be none. From any thread. */
    CompletableFuture<Token> read(Duration minValidity, Duration limit) {
        return onLoop(() -> {
            Reader reader = new Reader(new Question(minValidity, limit));
            if (!attend(reader)) {
                reader.timer = loop.schedule(limit, () -> giveUp(reader));
                readers.add(reader);
            }
            return reader.token;
        });
    }

    /** Reports that an API rejected the token with this id. From any thread. */
    CompletableFuture<Replacement> reject(String id, Duration limit) {
        return onLoop(() -> {
            Token token = usable();
            if (token != null && !token.id().equals(id)) {
                return CompletableFuture.completedFuture(new Replacement(token, Rejection.ALREADY_REPLACED));
            }
            CompletableFuture<Replacement> underWay = reports.get(id);
            return underWay != null ? underWay : report(id, limit);
        });
    }

    private <T> CompletableFuture<T> onLoop(Supplier<CompletableFuture<T>> task) {
        return loop.ask(() -> closed ? CompletableFuture.failedFuture(BearerdException.closed()) : task.get());
    }

    /**
     * Answers the reader if that is possible now. If not, sees to it that something happens that will make it possible.
     */
    private boolean attend(Reader reader) {
        Token token = usable(reader.question.minValidity());
        if (token != null) {
            reader.token.complete(token);
        } else if (memory != null && reports.containsKey(memory.id())) {
            return false;
        } else if (watch.standing()) {
            return attendFromDaemon(reader);
        } else if (watch.connecting()) {
            return false;
        } else if (watch.recentFailure() != null) {
            reader.token.completeExceptionally(watch.recentFailure());
        } else {
            watch.begin();
            return false;
        }
        return true;
    }

    private boolean attendFromDaemon(Reader reader) {
        if (unavailable != null && unavailable.reason().equals(BearerdException.TOKEN_PENDING)) {
            return false;
        }
        if (unavailable != null) {
            reader.token.completeExceptionally(unavailable);
            return true;
        }
        // There is a token, but not for as long as was asked.
        ask(reader.question).whenComplete((token, error) -> Loop.settle(reader.token, token, error));
        return true;
    }

    private void attendAll() {
        readers.removeIf(reader -> {
            boolean answered = attend(reader);
            if (answered) {
                reader.timer.cancel(false);
            }
            return answered;
        });
    }

    private void giveUp(Reader reader) {
        if (readers.remove(reader)) {
            Duration waited = reader.question.limit();
            reader.token.completeExceptionally(watch.connecting() ? connection.silent(waited) : pending(waited));
        }
    }

    private BearerdException pending(Duration waited) {
        String message =
                "client " + client + ": no token within " + Connection.seconds(waited) + "; it is still on its way";
        return new BearerdException(Status.Code.UNAVAILABLE, BearerdException.TOKEN_PENDING, message);
    }

    private CompletableFuture<Token> ask(Question question) {
        CompletableFuture<Token> underWay = questions.get(question);
        if (underWay != null) {
            return underWay;
        }
        GetTokenRequest.Builder request = GetTokenRequest.newBuilder().setClient(client);
        if (!question.minValidity().isZero()) {
            request.setMinValidity(wire(question.minValidity()));
        }
        CompletableFuture<Token> answer = get(request, question.limit()).thenApply(response -> {
            Token token = Token.of(response.getToken());
            keep(token);
            return token;
        });
        questions.put(question, answer);
        answer.whenComplete((token, error) -> questions.remove(question));
        return answer;
    }

    private CompletableFuture<Replacement> report(String id, Duration limit) {
        GetTokenRequest.Builder request =
                GetTokenRequest.newBuilder().setClient(client).setRejectedTokenId(id);
        CompletableFuture<Replacement> outcome = new CompletableFuture<>();
        // Before the call, so that nobody gets the token once the daemon knows of the report.
        reports.put(id, outcome);
        publish();
        LOG.log(System.Logger.Level.DEBUG, "client {0}: token {1} was rejected by an API", client, id);
        get(request, limit).whenComplete((response, error) -> {
            reports.remove(id);
            if (closed) {
                outcome.completeExceptionally(BearerdException.closed());
                return;
            }
            Replacement replacement = error == null
                    ? new Replacement(Token.of(response.getToken()), Rejection.of(response.getRejection()))
                    : null;
            if (replacement != null) {
                keep(replacement.token());
            }
            // After a failure the rejected token is served again, unless the daemon's watch has said that it is gone.
            publish();
            Loop.settle(outcome, replacement, error);
            attendAll();
        });
        return outcome;
    }

    private CompletableFuture<GetTokenResponse> get(GetTokenRequest.Builder request, Duration limit) {
        return connection.call(TokenBrokerGrpc.getGetTokenMethod(), request.build(), limit);
    }

    private static com.google.protobuf.Duration wire(Duration time) {
        return com.google.protobuf.Duration.newBuilder()
                .setSeconds(time.getSeconds())
                .setNanos(time.getNano())
                .build();
    }

    /** Keeps the answer of a call if it is news. A first token is the watch's to bring: it alone would take it back. */
    private void keep(Token token) {
        if (memory == null ? watch.standing() : token.newerThan(memory)) {
            remember(token);
            attendAll();
        }
    }

    @Override
    public void said(WatchTokenResponse state) {
        if (state.hasToken()) {
            remember(Token.of(state.getToken()));
        } else {
            memory = null;
            unavailable = failure(state.getUnavailable());
            LOG.log(System.Logger.Level.DEBUG, "client {0}: no token: {1}", client, unavailable.reason());
            publish();
        }
        attendAll();
    }

    private static BearerdException failure(Unavailable state) {
        Status.Code code = Status.fromCodeValue(state.getCode()).getCode();
        return new BearerdException(
                code == Status.Code.OK ? Status.Code.UNKNOWN : code,
                state.getReason(),
                state.getMessage(),
                state.hasNextAttemptAt() ? Token.instant(state.getNextAttemptAt()) : null,
                null);
    }

    @Override
    public void ended(BearerdException why, boolean refused) {
        unavailable = null;
        if (refused) {
            memory = null;
            publish();
        }
        // Those who waited for the attempt get its outcome; those who wait for a report go on waiting.
        attendAll();
    }

    private void remember(Token token) {
        if (memory == null || !memory.id().equals(token.id())) {
            LOG.log(
                    System.Logger.Level.DEBUG,
                    "client {0}: token {1}, until {2}",
                    client,
                    token.id(),
                    token.expiresAt());
        }
        memory = token;
        unavailable = null;
        publish();
    }

    private void publish() {
        served = memory != null && !closed && !reports.containsKey(memory.id()) ? memory : null;
    }

    void close() {
        closed = true;
        memory = null;
        publish();
        watch.close();
        for (Reader reader : readers) {
            reader.timer.cancel(false);
            reader.token.completeExceptionally(BearerdException.closed());
        }
        readers.clear();
    }

    /** What somebody wants: for how long the token must be valid, and how long to wait for it. */
    private record Question(Duration minValidity, Duration limit) {}

    private static final class Reader {
        private final Question question;
        private final CompletableFuture<Token> token = new CompletableFuture<>();
        private Future<?> timer;

        Reader(Question question) {
            this.question = question;
        }
    }
}
