package io.github.bearerd;

import static io.github.bearerd.FakeDaemon.fixed;
import static io.github.bearerd.FakeDaemon.perCall;
import static io.github.bearerd.FakeDaemon.says;
import static io.github.bearerd.FakeDaemon.token;
import static io.github.bearerd.ReadingTest.later;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import bearerd.v1.TokenBrokerGrpc;
import bearerd.v1.TokenBrokerGrpc.TokenBrokerBlockingStub;
import bearerd.v1.TokenBrokerOuterClass.ListClientsRequest;
import bearerd.v1.TokenBrokerOuterClass.ListClientsResponse;
import bearerd.v1.TokenBrokerOuterClass.Rejection;
import bearerd.v1.TokenBrokerOuterClass.WatchTokenRequest;
import bearerd.v1.TokenBrokerOuterClass.WatchTokenResponse;
import io.grpc.CallCredentials;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientInterceptors;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.SecurityLevel;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.inprocess.InProcessChannelBuilder;
import io.grpc.inprocess.InProcessServerBuilder;
import io.grpc.stub.MetadataUtils;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class TokenInterceptorTest {
    private FakeDaemon daemon;
    private TokenClient client;
    private Server server;
    private ManagedChannel channel;
    private final List<Metadata> calls = new CopyOnWriteArrayList<>();
    private volatile Predicate<Metadata> accepts = headers -> true;

    /** Some gRPC API, which looks at the headers of its calls. */
    @BeforeEach
    void open() throws IOException {
        daemon = new FakeDaemon();
        client = daemon.broker.client("demo");
        daemon.first = says(token("a"));
        String name = InProcessServerBuilder.generateName();
        server = InProcessServerBuilder.forName(name)
                .addService(new Api())
                .intercept(new ServerInterceptor() {
                    @Override
                    public <Q, R> ServerCall.Listener<Q> interceptCall(
                            ServerCall<Q, R> call, Metadata headers, ServerCallHandler<Q, R> next) {
                        calls.add(headers);
                        if (!accepts.test(headers)) {
                            call.close(Status.UNAUTHENTICATED, new Metadata());
                        }
                        return accepts.test(headers) ? next.startCall(call, headers) : new ServerCall.Listener<>() {};
                    }
                })
                .build()
                .start();
        channel = InProcessChannelBuilder.forName(name).build();
    }

    @AfterEach
    void close() {
        channel.shutdownNow();
        server.shutdownNow();
        daemon.close();
    }

    private static final class Api extends TokenBrokerGrpc.TokenBrokerImplBase {
        @Override
        public void listClients(ListClientsRequest request, StreamObserver<ListClientsResponse> answer) {
            answer.onNext(ListClientsResponse.getDefaultInstance());
            answer.onCompleted();
        }

        @Override
        public void watchToken(WatchTokenRequest request, StreamObserver<WatchTokenResponse> answer) {
            answer.onCompleted();
        }
    }

    private TokenBrokerBlockingStub api() {
        Channel intercepted = ClientInterceptors.intercept(channel, client.interceptor());
        return TokenBrokerGrpc.newBlockingStub(intercepted).withDeadlineAfter(30, TimeUnit.SECONDS);
    }

    private static String header(Metadata headers, String name) {
        return headers.get(TokenCallCredentials.key(name));
    }

    private static boolean has(Metadata headers, String token) {
        return ("Bearer secret-" + token).equals(header(headers, "authorization"));
    }

    private CompletableFuture<Void> replaceNext() {
        return CompletableFuture.runAsync(() -> {
            try {
                daemon.get().give(later("b"), Rejection.REJECTION_REPLACED);
            } catch (InterruptedException interrupted) {
                throw new IllegalStateException(interrupted);
            }
        });
    }

    @Test
    void credentialsAddTokenFixedAndGivenHeaders() {
        daemon.first =
                says(token("a").addHeaders(fixed("X-Partner", "acme")).addHeaders(perCall("Requestor-ID", "[0-9]+")));
        TokenCallCredentials credentials = client.callCredentials();
        TokenBrokerBlockingStub stub = TokenBrokerGrpc.newBlockingStub(channel);
        StatusRuntimeException refused =
                assertThrows(StatusRuntimeException.class, () -> stub.withCallCredentials(credentials)
                        .listClients(ListClientsRequest.getDefaultInstance()));
        assertEquals(BearerdException.HEADER_MISSING, ((BearerdException) refused.getCause()).reason());
        assertTrue(calls.isEmpty());
        stub.withCallCredentials(credentials.withHeaders(Map.of("Requestor-ID", "4711")))
                .listClients(ListClientsRequest.getDefaultInstance());
        assertTrue(has(calls.get(0), "a"));
        assertEquals("acme", header(calls.get(0), "x-partner"));
        assertEquals("4711", header(calls.get(0), "requestor-id"));
    }

    @Test
    void credentialsAreNotForChannelsWithoutSecurity() {
        Status refused = apply(client.callCredentials(), SecurityLevel.NONE).join();
        assertEquals(BearerdException.URL_INSECURE, ((BearerdException) refused.getCause()).reason());
        assertEquals(
                Status.OK,
                apply(client.callCredentials().allowPlaintext(), SecurityLevel.NONE)
                        .join());
        assertEquals(
                Status.OK,
                apply(client.callCredentials(), SecurityLevel.PRIVACY_AND_INTEGRITY)
                        .join());
    }

    /** What the credentials say for a call over a channel of this kind; OK if they give headers. */
    private static CompletableFuture<Status> apply(CallCredentials credentials, SecurityLevel level) {
        CompletableFuture<Status> outcome = new CompletableFuture<>();
        CallCredentials.RequestInfo call = new CallCredentials.RequestInfo() {
            @Override
            public MethodDescriptor<?, ?> getMethodDescriptor() {
                return TokenBrokerGrpc.getListClientsMethod();
            }

            @Override
            public CallOptions getCallOptions() {
                return CallOptions.DEFAULT;
            }

            @Override
            public SecurityLevel getSecurityLevel() {
                return level;
            }

            @Override
            public String getAuthority() {
                return "api.example";
            }

            @Override
            public io.grpc.Attributes getTransportAttrs() {
                return io.grpc.Attributes.EMPTY;
            }
        };
        credentials.applyRequestMetadata(call, Runnable::run, new CallCredentials.MetadataApplier() {
            @Override
            public void apply(Metadata headers) {
                outcome.complete(Status.OK);
            }

            @Override
            public void fail(Status status) {
                outcome.complete(status);
            }
        });
        return outcome;
    }

    @Test
    void aRejectedUnaryCallIsMadeOnceMore() {
        accepts = headers -> has(headers, "b");
        replaceNext();
        api().listClients(ListClientsRequest.getDefaultInstance());
        assertEquals(2, calls.size());
        assertTrue(has(calls.get(0), "a") && has(calls.get(1), "b"));
    }

    @Test
    void butOnlyOnce() {
        accepts = headers -> false;
        replaceNext();
        StatusRuntimeException refused = assertThrows(
                StatusRuntimeException.class, () -> api().listClients(ListClientsRequest.getDefaultInstance()));
        assertEquals(Status.Code.UNAUTHENTICATED, refused.getStatus().getCode());
        assertEquals(2, calls.size());
        assertEquals(1, daemon.gets.size());
    }

    @Test
    void aRejectedStreamIsReported() throws InterruptedException {
        accepts = headers -> false;
        assertThrows(StatusRuntimeException.class, () -> api().watchToken(WatchTokenRequest.getDefaultInstance())
                .hasNext());
        assertEquals("a", daemon.get().request().getRejectedTokenId());
        assertEquals(1, calls.size());
    }

    @Test
    void theCallsOwnMetadataHasTheHeadersThatTheApiWants() {
        daemon.first = says(token("a").addHeaders(perCall("Requestor-ID", "[0-9]+")));
        assertThrows(StatusRuntimeException.class, () -> api().listClients(ListClientsRequest.getDefaultInstance()));
        assertTrue(calls.isEmpty());
        Metadata own = new Metadata();
        own.put(TokenCallCredentials.key("requestor-id"), "4711");
        api().withInterceptors(MetadataUtils.newAttachHeadersInterceptor(own))
                .listClients(ListClientsRequest.getDefaultInstance());
        assertEquals("4711", header(calls.get(0), "requestor-id"));
    }
}
