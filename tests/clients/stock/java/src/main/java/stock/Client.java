package stock;

import bearerd.v1.TokenBrokerGrpc;
import bearerd.v1.TokenBrokerGrpc.TokenBrokerBlockingStub;
import bearerd.v1.TokenBrokerOuterClass.GetTokenRequest;
import bearerd.v1.TokenBrokerOuterClass.GetTokenResponse;
import bearerd.v1.TokenBrokerOuterClass.ListClientsRequest;
import bearerd.v1.TokenBrokerOuterClass.RequestHeader;
import bearerd.v1.TokenBrokerOuterClass.WatchTokenRequest;
import bearerd.v1.TokenBrokerOuterClass.WatchTokenResponse;
import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.Duration;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Channel;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthCheckResponse;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.StreamObserver;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/** grpc-java with default options, told what to do by a JSON object a line. */
public final class Client {
    private static final int PATIENCE_SECONDS = 10;

    private final Gson gson = new GsonBuilder().serializeNulls().create();
    private final Channel channel;
    private final List<Stream<?>> streams = new ArrayList<>();

    private Client(Channel channel) {
        this.channel = channel;
    }

    /** The socket is the only argument. */
    public static void main(String[] arguments) throws IOException, InterruptedException {
        ManagedChannel channel = Grpc.newChannelBuilder("unix://" + arguments[0], InsecureChannelCredentials.create())
                .build();
        new Client(channel)
                .answerAll(
                        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8)),
                        new PrintStream(System.out, true, StandardCharsets.UTF_8));
        channel.shutdownNow().awaitTermination(PATIENCE_SECONDS, TimeUnit.SECONDS);
    }

    private void answerAll(BufferedReader commands, PrintStream answers) throws IOException, InterruptedException {
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            Map<String, Object> answer;
            try {
                answer = answer(JsonParser.parseString(line).getAsJsonObject());
            } catch (StatusRuntimeException failure) {
                answer = failure(failure);
            }
            answers.println(gson.toJson(answer));
        }
    }

    private Map<String, Object> answer(JsonObject command) throws InterruptedException {
        String verb = command.get("do").getAsString();
        return switch (verb) {
            case "get" -> get(command);
            case "watch" -> open(watch(command));
            case "health_watch" -> open(healthWatch(command));
            case "next" -> streams.get(command.get("watch").getAsInt() - 1).next(seconds(command, "timeout_s"));
            case "list" -> list();
            case "health" -> health(command);
            default -> answer(false, "reason", "UNKNOWN_COMMAND");
        };
    }

    private Map<String, Object> get(JsonObject command) {
        GetTokenRequest.Builder request =
                GetTokenRequest.newBuilder().setClient(command.get("client").getAsString());
        if (given(command, "min_validity_s")) {
            long nanos = (long) (seconds(command, "min_validity_s") * 1e9);
            request.setMinValidity(
                    Duration.newBuilder().setSeconds(nanos / 1_000_000_000).setNanos((int) (nanos % 1_000_000_000)));
        }
        if (given(command, "rejected")) {
            request.setRejectedTokenId(command.get("rejected").getAsString());
        }
        TokenBrokerBlockingStub broker = TokenBrokerGrpc.newBlockingStub(channel);
        if (given(command, "timeout_s")) {
            broker = broker.withDeadlineAfter((long) (seconds(command, "timeout_s") * 1e9), TimeUnit.NANOSECONDS);
        }
        GetTokenResponse response = broker.getToken(request.build());
        List<Map<String, Object>> headers = new ArrayList<>();
        for (RequestHeader header : response.getToken().getHeadersList()) {
            headers.add(Map.of(
                    "name", header.getName(),
                    "value", header.getValue(),
                    "per_call", header.getPerCall(),
                    "pattern", header.getPattern()));
        }
        Map<String, Object> answer = answer(true, "id", response.getToken().getId());
        answer.put("authorization", response.getToken().getAuthorization());
        answer.put("rejection", response.getRejection().name().substring("REJECTION_".length()));
        answer.put("headers", headers);
        return answer;
    }

    private Stream<WatchTokenResponse> watch(JsonObject command) {
        Stream<WatchTokenResponse> stream = new Stream<>(state -> state.hasToken()
                ? Map.of("id", state.getToken().getId())
                : Map.of("unavailable", state.getUnavailable().getReason()));
        String client = command.get("client").getAsString();
        TokenBrokerGrpc.newStub(channel)
                .watchToken(WatchTokenRequest.newBuilder().setClient(client).build(), stream);
        return stream;
    }

    private Stream<HealthCheckResponse> healthWatch(JsonObject command) {
        Stream<HealthCheckResponse> stream =
                new Stream<>(state -> Map.of("status", state.getStatus().name()));
        HealthGrpc.newStub(channel).watch(healthRequest(command), stream);
        return stream;
    }

    private Map<String, Object> open(Stream<?> stream) throws InterruptedException {
        streams.add(stream);
        Map<String, Object> first = stream.next(PATIENCE_SECONDS);
        if (first.get("ok").equals(true)) {
            first.put("watch", streams.size());
        }
        return first;
    }

    private Map<String, Object> list() {
        List<Map<String, Object>> clients =
                TokenBrokerGrpc.newBlockingStub(channel)
                        .listClients(ListClientsRequest.getDefaultInstance())
                        .getClientsList()
                        .stream()
                        .map(client -> Map.<String, Object>of(
                                "name", client.getName(),
                                "state", client.getState().name().substring("CLIENT_STATE_".length())))
                        .toList();
        return answer(true, "clients", clients);
    }

    private Map<String, Object> health(JsonObject command) {
        HealthCheckResponse response = HealthGrpc.newBlockingStub(channel).check(healthRequest(command));
        return answer(true, "status", response.getStatus().name());
    }

    private static HealthCheckRequest healthRequest(JsonObject command) {
        return HealthCheckRequest.newBuilder()
                .setService(command.get("service").getAsString())
                .build();
    }

    private static boolean given(JsonObject command, String name) {
        JsonElement value = command.get(name);
        return value != null && !value.isJsonNull();
    }

    private static double seconds(JsonObject command, String name) {
        return given(command, name) ? command.get(name).getAsDouble() : PATIENCE_SECONDS;
    }

    private static Map<String, Object> answer(boolean ok, String name, Object value) {
        Map<String, Object> answer = new LinkedHashMap<>();
        answer.put("ok", ok);
        answer.put(name, value);
        return answer;
    }

    private static Map<String, Object> failure(Throwable error) {
        com.google.rpc.Status details = StatusProto.fromThrowable(error);
        Map<String, Object> answer = answer(
                false, "code", io.grpc.Status.fromThrowable(error).getCode().name());
        answer.put("message", details.getMessage());
        answer.put("domain", null);
        answer.put("reason", null);
        answer.put("retry_after_s", null);
        details.getDetailsList().forEach(detail -> {
            try {
                if (detail.is(ErrorInfo.class)) {
                    ErrorInfo info = detail.unpack(ErrorInfo.class);
                    answer.put("domain", info.getDomain());
                    answer.put("reason", info.getReason());
                } else if (detail.is(RetryInfo.class)) {
                    Duration delay = detail.unpack(RetryInfo.class).getRetryDelay();
                    answer.put("retry_after_s", delay.getSeconds() + delay.getNanos() / 1e9);
                }
            } catch (InvalidProtocolBufferException malformed) {
                answer.put("reason", "MALFORMED_DETAILS");
            }
        });
        return answer;
    }

    /** What came over a stream and was not asked for yet. */
    private static final class Stream<T> implements StreamObserver<T> {
        private final BlockingQueue<Map<String, Object>> arrived = new LinkedBlockingQueue<>();
        private final Function<T, Map<String, Object>> describe;

        Stream(Function<T, Map<String, Object>> describe) {
            this.describe = describe;
        }

        Map<String, Object> next(double timeout) throws InterruptedException {
            Map<String, Object> next = arrived.poll((long) (timeout * 1e3), TimeUnit.MILLISECONDS);
            return next != null ? next : answer(false, "reason", "NOTHING_YET");
        }

        @Override
        public void onNext(T state) {
            Map<String, Object> answer = new LinkedHashMap<>(Map.of("ok", true));
            answer.putAll(describe.apply(state));
            arrived.add(answer);
        }

        @Override
        public void onError(Throwable error) {
            arrived.add(failure(error));
        }

        @Override
        public void onCompleted() {
            arrived.add(answer(false, "code", "OK"));
        }
    }
}
