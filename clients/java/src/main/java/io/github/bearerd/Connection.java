package io.github.bearerd;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.CallOptions;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.netty.channel.ChannelOption;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;
import java.io.FileNotFoundException;
import java.net.URI;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.function.BiFunction;
import java.util.function.Supplier;

/**
 * The connection to the daemon, made when it is first needed. Used on the broker's thread only.
 *
 * <p>A gRPC channel that lost its server waits up to two minutes before it tries again, and knows one address for its
 * life. Here a channel is given up with its connection: the next call makes a new one, to where the socket is then.
 */
final class Connection {
    private static final String DOMAIN = "bearerd";

    private final Supplier<Path> socket;
    private final BiFunction<Path, Executor, ManagedChannel> connector;
    private final Executor executor;
    private ManagedChannel channel;
    private Path connectedTo;
    private final Set<CompletableFuture<?>> underWay = new HashSet<>();
    private boolean closed;

    Connection(Supplier<Path> socket, BiFunction<Path, Executor, ManagedChannel> connector, Executor executor) {
        this.socket = socket;
        this.connector = connector;
        this.executor = executor;
    }

    /** A channel that uses nothing but the socket. */
    static ManagedChannel unix(Path socket, Executor executor) {
        ManagedChannelBuilder<?> builder = Grpc.newChannelBuilder(target(socket), InsecureChannelCredentials.create());
        if (builder instanceof NettyChannelBuilder netty) {
            // gRPC sets this on every kind of socket, and Netty warns at every connection that this kind has no such
            // option.
            netty.withOption(ChannelOption.SO_KEEPALIVE, null);
        }
        return builder.executor(executor)
                // gRPC's own choice is the socket's path, which no HTTP/2 server needs to accept as a host name.
                .overrideAuthority("localhost")
                .proxyDetector(address -> null)
                .build();
    }

    private static String target(Path socket) {
        try {
            return new URI("unix", null, socket.toAbsolutePath().toString(), null).toString();
        } catch (URISyntaxException impossible) {
            throw new IllegalArgumentException(impossible);
        }
    }

    ManagedChannel channel() {
        if (closed) {
            throw BearerdException.closed();
        }
        if (channel == null) {
            connectedTo = socket.get();
            channel = connector.apply(connectedTo, executor);
        }
        return channel;
    }

    /** One call with one answer, completed on the broker's thread. Whatever goes wrong, the answer fails with it. */
    <Q, R> CompletableFuture<R> call(MethodDescriptor<Q, R> method, Q request, Duration limit) {
        try {
            return call(channel(), method, request, limit);
        } catch (RuntimeException noChannel) {
            return CompletableFuture.failedFuture(noChannel);
        }
    }

    private <Q, R> CompletableFuture<R> call(
            ManagedChannel used, MethodDescriptor<Q, R> method, Q request, Duration limit) {
        CompletableFuture<R> answer = new CompletableFuture<>();
        underWay.add(answer);
        answer.whenComplete((ignored, error) -> underWay.remove(answer));
        CallOptions options = CallOptions.DEFAULT.withDeadlineAfter(limit.toNanos(), TimeUnit.NANOSECONDS);
        ClientCalls.asyncUnaryCall(used.newCall(method, options), request, new StreamObserver<R>() {
            @Override
            public void onNext(R response) {
                answer.complete(response);
            }

            @Override
            public void onError(Throwable error) {
                BearerdException failure = failure(used, error);
                boolean late = failure.code() == Status.Code.DEADLINE_EXCEEDED;
                answer.completeExceptionally(late ? pending(limit) : failure);
            }

            @Override
            public void onCompleted() {}
        });
        return answer;
    }

    private static BearerdException pending(Duration waited) {
        return new BearerdException(
                Status.Code.UNAVAILABLE,
                BearerdException.TOKEN_PENDING,
                "no token within " + seconds(waited) + "; it may still be on its way");
    }

    /** What a call over this channel failed with. Gives the channel up if it is of no more use. */
    BearerdException failure(ManagedChannel used, Throwable error) {
        Status status = Status.fromThrowable(error);
        com.google.rpc.Status details = StatusProto.fromThrowable(error);
        Optional<ErrorInfo> info = detail(details, ErrorInfo.class)
                .filter(found -> found.getDomain().equals(DOMAIN));
        boolean lost = status.getCode() == Status.Code.UNAVAILABLE && info.isEmpty();
        boolean draining = info.isPresent() && info.get().getReason().equals("DRAINING");
        if ((lost || draining) && used == channel) {
            used.shutdown();
            channel = null;
        }
        if (info.isPresent()) {
            Instant retryAt = detail(details, RetryInfo.class)
                    .map(RetryInfo::getRetryDelay)
                    .map(delay -> Instant.now().plusSeconds(delay.getSeconds()).plusNanos(delay.getNanos()))
                    .orElse(null);
            return new BearerdException(
                    status.getCode(), info.get().getReason(), status.getDescription(), retryAt, error);
        }
        if (lost) {
            return unreachable(cause(status), error);
        }
        String message = status.getDescription() == null ? "the call of the daemon failed" : status.getDescription();
        return new BearerdException(status.getCode(), status.getCode().name(), message, null, error);
    }

    /** The daemon accepted the connection, or at least did not refuse it, and said nothing for so long. */
    BearerdException silent(Duration waited) {
        return unreachable("no answer within " + seconds(waited), null);
    }

    private BearerdException unreachable(String why, Throwable error) {
        String message = "cannot reach bearerd at " + connectedTo + " (" + why
                + "): start the daemon, or set BEARERD_SOCKET to where its socket is";
        return new BearerdException(Status.Code.UNAVAILABLE, BearerdException.DAEMON_UNREACHABLE, message, null, error);
    }

    static String seconds(Duration time) {
        return time.toMillis() / 1000.0 + " s";
    }

    private static String cause(Status status) {
        Throwable cause = status.getCause();
        if (cause instanceof FileNotFoundException) {
            return "there is no such file";
        }
        return cause != null && cause.getMessage() != null ? cause.getMessage() : status.getDescription();
    }

    private static <T extends com.google.protobuf.Message> Optional<T> detail(
            com.google.rpc.Status status, Class<T> type) {
        if (status != null) {
            for (Any detail : status.getDetailsList()) {
                if (detail.is(type)) {
                    try {
                        return Optional.of(detail.unpack(type));
                    } catch (InvalidProtocolBufferException malformed) {
                        return Optional.empty();
                    }
                }
            }
        }
        return Optional.empty();
    }

    /** Ends all calls under way, and the connection. */
    void close() {
        closed = true;
        List.copyOf(underWay).forEach(answer -> answer.completeExceptionally(BearerdException.closed()));
        if (channel != null) {
            channel.shutdownNow();
        }
    }
}
