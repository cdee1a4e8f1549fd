package io.github.bearerd.conformance;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.github.bearerd.BearerdException;
import io.github.bearerd.Broker;
import io.github.bearerd.ReadBenchmark;
import io.github.bearerd.Replacement;
import io.github.bearerd.RequestHeader;
import io.github.bearerd.Token;
import io.github.bearerd.TokenClient;
import io.github.bearerd.TokenHttpClient;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URI;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.logging.ConsoleHandler;
import java.util.logging.Level;
import java.util.logging.Logger;

/**
 * Does what the conformance suite says: a JSON object a line on standard input, an answer a line on standard output.
 */
public final class Driver {
    private final Gson gson = new GsonBuilder().serializeNulls().create();
    private final Map<String, TokenHttpClient> adapters = new HashMap<>();
    private Broker broker;
    private boolean allowHttp;

    private Driver() {}

    /** Reads commands until there are no more. */
    public static void main(String[] mode) throws IOException {
        if (mode.length != 1 || !mode[0].equals("http")) {
            System.err.println("usage: run http");
            System.exit(2);
        }
        Logger logger = Logger.getLogger("io.github.bearerd");
        ConsoleHandler handler = new ConsoleHandler();
        handler.setLevel(Level.ALL);
        logger.addHandler(handler);
        logger.setLevel(Level.ALL);
        logger.setUseParentHandlers(false);
        new Driver()
                .answerAll(
                        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8)),
                        new PrintStream(System.out, true, StandardCharsets.UTF_8));
    }

    private void answerAll(BufferedReader commands, PrintStream answers) throws IOException {
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            Map<String, Object> answer;
            try {
                answer = answer(new Command(JsonParser.parseString(line).getAsJsonObject()));
            } catch (BearerdException failure) {
                answer = failure(failure);
            } catch (Exception error) {
                error.printStackTrace();
                answer = refusal("DRIVER", String.valueOf(error));
            }
            answers.println(gson.toJson(answer));
        }
    }

    private Map<String, Object> answer(Command command) throws Exception {
        return switch (command.text("do")) {
            case "open" -> open(command);
            case "token" -> token(command);
            case "read" -> new Readers(client(command)).read(command.number("readers"), command.number("times"));
            case "report" -> report(command);
            case "headers" -> done("headers", client(command).headers(command.texts("set")));
            case "request" -> request(command);
            case "burst" -> burst(command);
            case "describe" -> done("text", describe(client(command).token()));
            case "close" -> close();
            case "bench" -> done("ns_per_read", ReadBenchmark.nanosPerRead(client(command), command.number("reads")));
            default -> refusal("UNKNOWN_COMMAND", command.text("do"));
        };
    }

    private Map<String, Object> open(Command command) {
        allowHttp = command.flag("allow_http");
        adapters.clear();
        broker = command.has("socket") ? Broker.open(Path.of(command.text("socket"))) : Broker.open();
        return done();
    }

    private Map<String, Object> close() {
        broker.close();
        return done();
    }

    private TokenClient client(Command command) {
        return broker.client(command.text("client"));
    }

    private Map<String, Object> token(Command command) {
        TokenClient client = client(command);
        boolean plain = !command.has("min_validity_s") && !command.has("timeout_s");
        Token token = plain
                ? client.token()
                : client.token(command.seconds("min_validity_s", 0), command.seconds("timeout_s", 10));
        return done("token", wire(token));
    }

    private Map<String, Object> report(Command command) {
        Replacement replacement = client(command).reject(command.text("id"));
        Map<String, Object> answer = done("rejection", replacement.rejection().name());
        answer.put("token", wire(replacement.token()));
        return answer;
    }

    private Map<String, Object> request(Command command) throws Exception {
        BodyPublisher body = BodyPublishers.noBody();
        if (command.has("body")) {
            byte[] bytes = command.text("body").getBytes(StandardCharsets.UTF_8);
            // A stream that is at its end after the first time, as it is for programs that got it from elsewhere.
            InputStream once = new ByteArrayInputStream(bytes);
            body = command.flag("stream_body")
                    ? BodyPublishers.ofInputStream(() -> once)
                    : BodyPublishers.ofByteArray(bytes);
        }
        HttpResponse<String> response = adapter(command).send(httpRequest(command, body), BodyHandlers.ofString());
        Map<String, String> headers = new TreeMap<>();
        response.headers().map().forEach((name, values) -> headers.put(name.toLowerCase(), String.join(", ", values)));
        Map<String, Object> answer = done("status", response.statusCode());
        answer.put("body", response.body());
        answer.put("headers", headers);
        return answer;
    }

    private Map<String, Object> burst(Command command) {
        HttpRequest request = httpRequest(command, BodyPublishers.noBody());
        List<CompletableFuture<HttpResponse<String>>> responses = new ArrayList<>();
        for (int i = 0; i < command.number("count"); i++) {
            responses.add(adapter(command).sendAsync(request, BodyHandlers.ofString()));
        }
        Map<String, Integer> statuses = new TreeMap<>();
        Map<String, Integer> failures = new TreeMap<>();
        for (CompletableFuture<HttpResponse<String>> response : responses) {
            try {
                statuses.merge(String.valueOf(response.join().statusCode()), 1, Integer::sum);
            } catch (CompletionException error) {
                boolean known = error.getCause() instanceof BearerdException;
                String reason =
                        known ? ((BearerdException) error.getCause()).reason() : String.valueOf(error.getCause());
                failures.merge(reason, 1, Integer::sum);
            }
        }
        Map<String, Object> answer = done("statuses", statuses);
        answer.put("failures", failures);
        return answer;
    }

    private TokenHttpClient adapter(Command command) {
        boolean follow = command.flag("follow");
        return adapters.computeIfAbsent(command.text("client") + " " + follow, made -> {
            TokenHttpClient.Builder builder = TokenHttpClient.builder(client(command));
            if (allowHttp) {
                builder.allowHttp();
            }
            if (follow) {
                builder.followRedirects();
            }
            return builder.build();
        });
    }

    private static HttpRequest httpRequest(Command command, BodyPublisher body) {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(command.text("url")))
                .timeout(Duration.ofSeconds(30))
                .method(command.text("method"), body);
        command.texts("headers").forEach(request::setHeader);
        return request.build();
    }

    private static String describe(Token token) {
        Gson reflecting = new GsonBuilder()
                .registerTypeAdapter(Instant.class, (com.google.gson.JsonSerializer<Instant>)
                        (time, type, context) -> new com.google.gson.JsonPrimitive(time.toString()))
                .create();
        return String.join(
                "\n",
                token.toString(),
                String.format("%s", token),
                token.headers().toString(),
                List.of(token).toString(),
                reflecting.toJson(token));
    }

    private static Map<String, Object> wire(Token token) {
        List<Map<String, Object>> headers = new ArrayList<>();
        for (RequestHeader header : token.headers()) {
            headers.add(Map.of(
                    "name",
                    header.name(),
                    "value",
                    header.value(),
                    "per_call",
                    header.perCall(),
                    "pattern",
                    header.pattern()));
        }
        Map<String, Object> wire = new LinkedHashMap<>();
        wire.put("id", token.id());
        wire.put("access_token", token.accessToken());
        wire.put("authorization", token.authorization());
        wire.put("token_type", token.tokenType());
        wire.put("issued_at", seconds(token.issuedAt()));
        wire.put("expires_at", seconds(token.expiresAt()));
        wire.put("scope", token.scope());
        wire.put("proof_required", token.proofRequired());
        wire.put("headers", headers);
        return wire;
    }

    private static double seconds(Instant time) {
        return time.getEpochSecond() + time.getNano() / 1e9;
    }

    static Map<String, Object> done() {
        Map<String, Object> answer = new LinkedHashMap<>();
        answer.put("ok", true);
        return answer;
    }

    static Map<String, Object> done(String name, Object value) {
        Map<String, Object> answer = done();
        answer.put(name, value);
        return answer;
    }

    private static Map<String, Object> refusal(String reason, String message) {
        Map<String, Object> answer = new LinkedHashMap<>();
        answer.put("ok", false);
        answer.put("reason", reason);
        answer.put("message", message);
        return answer;
    }

    private static Map<String, Object> failure(BearerdException failure) {
        Map<String, Object> answer = refusal(failure.reason(), failure.getMessage());
        answer.put("code", failure.code().name());
        answer.put(
                "retry_after_s",
                failure.retryAfter().map(time -> time.toMillis() / 1000.0).orElse(null));
        return answer;
    }

    /** One line of the input. */
    private record Command(JsonObject json) {
        boolean has(String name) {
            return json.has(name) && !json.get(name).isJsonNull();
        }

        String text(String name) {
            return json.get(name).getAsString();
        }

        int number(String name) {
            return json.get(name).getAsInt();
        }

        boolean flag(String name) {
            return has(name) && json.get(name).getAsBoolean();
        }

        Duration seconds(String name, int otherwise) {
            return has(name)
                    ? Duration.ofNanos((long) (json.get(name).getAsDouble() * 1e9))
                    : Duration.ofSeconds(otherwise);
        }

        Map<String, String> texts(String name) {
            Map<String, String> texts = new LinkedHashMap<>();
            if (has(name)) {
                json.getAsJsonObject(name)
                        .entrySet()
                        .forEach(entry ->
                                texts.put(entry.getKey(), entry.getValue().getAsString()));
            }
            return texts;
        }
    }
}
