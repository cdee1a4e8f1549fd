package io.github.bearerd;

import bearerd.v1.TokenBrokerGrpc.TokenBrokerImplBase;
import bearerd.v1.TokenBrokerOuterClass;
import bearerd.v1.TokenBrokerOuterClass.GetTokenRequest;
import bearerd.v1.TokenBrokerOuterClass.GetTokenResponse;
import bearerd.v1.TokenBrokerOuterClass.RequestHeader;
import bearerd.v1.TokenBrokerOuterClass.SignProofRequest;
import bearerd.v1.TokenBrokerOuterClass.SignProofResponse;
import bearerd.v1.TokenBrokerOuterClass.Unavailable;
import bearerd.v1.TokenBrokerOuterClass.WatchTokenRequest;
import bearerd.v1.TokenBrokerOuterClass.WatchTokenResponse;
import com.google.protobuf.Any;
import com.google.protobuf.Timestamp;
import com.google.rpc.ErrorInfo;
import io.grpc.Server;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.inprocess.InProcessChannelBuilder;
import io.grpc.inprocess.InProcessServerBuilder;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;

/** A daemon in the test's own process that does what the test says, and the broker that talks to it. */
final class FakeDaemon extends TokenBrokerImplBase implements AutoCloseable {
    static final Instant NOW = Instant.parse("2026-11-25T12:00:00Z");
    private static final Duration PATIENCE = Duration.ofSeconds(10);

    final Broker broker;
    final List<SignProofRequest> proofs = new CopyOnWriteArrayList<>();
    final List<String> watched = new CopyOnWriteArrayList<>();
    final List<Get> gets = new CopyOnWriteArrayList<>();
    volatile Instant now = NOW;
    /** What a watch begins with at once; null: nothing. */
    volatile WatchTokenResponse first;
    /** What a watch ends with at once; null: it goes on. */
    volatile StatusRuntimeException refusal;

    private final BlockingQueue<StreamObserver<WatchTokenResponse>> watches = new LinkedBlockingQueue<>();
    private final BlockingQueue<Get> unanswered = new LinkedBlockingQueue<>();
    private final Server server;

    /** A GetToken call, to be answered by the test. */
    record Get(GetTokenRequest request, StreamObserver<GetTokenResponse> answer) {
        void give(TokenBrokerOuterClass.Token token, TokenBrokerOuterClass.Rejection rejection) {
            answer.onNext(GetTokenResponse.newBuilder()
                    .setToken(token)
                    .setRejection(rejection)
                    .build());
            answer.onCompleted();
        }
    }

    FakeDaemon() throws IOException {
        this(PATIENCE);
    }

    FakeDaemon(Duration timeout) throws IOException {
        String name = InProcessServerBuilder.generateName();
        server = InProcessServerBuilder.forName(name).addService(this).build().start();
        broker = new Broker(
                () -> Path.of("/test/bearerd.sock"),
                (socket, executor) ->
                        InProcessChannelBuilder.forName(name).executor(executor).build(),
                () -> now,
                timeout);
    }

    @Override
    public void watchToken(WatchTokenRequest request, StreamObserver<WatchTokenResponse> stream) {
        watched.add(request.getClient());
        StatusRuntimeException refused = refusal;
        if (refused != null) {
            stream.onError(refused);
            return;
        }
        if (first != null) {
            stream.onNext(first);
        }
        watches.add(stream);
    }

    @Override
    public void getToken(GetTokenRequest request, StreamObserver<GetTokenResponse> answer) {
        Get get = new Get(request, answer);
        gets.add(get);
        unanswered.add(get);
    }

    @Override
    public void signProof(SignProofRequest request, StreamObserver<SignProofResponse> answer) {
        proofs.add(request);
        TokenBrokerOuterClass.Token token =
                token("bound").setProofRequired(true).build();
        answer.onNext(SignProofResponse.newBuilder()
                .setToken(token)
                .setProof("proof-" + proofs.size())
                .build());
        answer.onCompleted();
    }

    /** The watch that was begun next. */
    StreamObserver<WatchTokenResponse> watch() throws InterruptedException {
        return there(watches.poll(PATIENCE.toSeconds(), TimeUnit.SECONDS));
    }

    /** The GetToken call that came next. */
    Get get() throws InterruptedException {
        return there(unanswered.poll(PATIENCE.toSeconds(), TimeUnit.SECONDS));
    }

    private static <T> T there(T value) {
        if (value == null) {
            throw new AssertionError("nothing came within " + PATIENCE);
        }
        return value;
    }

    static void eventually(BooleanSupplier condition) {
        long limit = System.nanoTime() + PATIENCE.toNanos();
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > limit) {
                throw new AssertionError("not within " + PATIENCE);
            }
            Thread.onSpinWait();
        }
    }

    /** A token of 300 s, which is usable for 270 s. */
    static TokenBrokerOuterClass.Token.Builder token(String id) {
        return TokenBrokerOuterClass.Token.newBuilder()
                .setClient("demo")
                .setAccessToken("secret-" + id)
                .setTokenType("Bearer")
                .setAuthorization("Bearer secret-" + id)
                .setId(id)
                .setIssuedAt(timestamp(NOW))
                .setExpiresAt(timestamp(NOW.plusSeconds(300)));
    }

    static Timestamp timestamp(Instant time) {
        return Timestamp.newBuilder()
                .setSeconds(time.getEpochSecond())
                .setNanos(time.getNano())
                .build();
    }

    static RequestHeader perCall(String name, String pattern) {
        return RequestHeader.newBuilder()
                .setName(name)
                .setPerCall(true)
                .setPattern(pattern)
                .build();
    }

    static RequestHeader fixed(String name, String value) {
        return RequestHeader.newBuilder().setName(name).setValue(value).build();
    }

    static WatchTokenResponse says(TokenBrokerOuterClass.Token.Builder token) {
        return WatchTokenResponse.newBuilder().setToken(token).build();
    }

    static WatchTokenResponse unavailable(Status.Code code, String reason, Instant next) {
        Unavailable.Builder state =
                Unavailable.newBuilder().setCode(code.value()).setReason(reason).setMessage("why");
        if (next != null) {
            state.setNextAttemptAt(timestamp(next));
        }
        return WatchTokenResponse.newBuilder().setUnavailable(state).build();
    }

    static StatusRuntimeException error(Status.Code code, String reason) {
        return StatusProto.toStatusRuntimeException(com.google.rpc.Status.newBuilder()
                .setCode(code.value())
                .setMessage("why")
                .addDetails(Any.pack(ErrorInfo.newBuilder()
                        .setDomain("bearerd")
                        .setReason(reason)
                        .build()))
                .build());
    }

    @Override
    public void close() {
        broker.close();
        server.shutdownNow();
    }
}
