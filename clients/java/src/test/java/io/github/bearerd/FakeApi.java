package io.github.bearerd;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Function;

/** A partner's API that answers as the test says and remembers what it was sent. */
final class FakeApi implements AutoCloseable {
    final List<Request> requests = new CopyOnWriteArrayList<>();
    volatile Function<Request, Response> answer = request -> new Response(200, "fine", Map.of());

    private final HttpServer server;
    private final ExecutorService threads = Executors.newCachedThreadPool();

    record Request(String method, String path, com.sun.net.httpserver.Headers headers, String body) {
        String header(String name) {
            return headers.getFirst(name);
        }

        boolean has(String token) {
            return ("Bearer secret-" + token).equals(header("Authorization"));
        }
    }

    record Response(int status, String body, Map<String, String> headers) {
        static Response unauthorized() {
            return new Response(401, "who are you?", Map.of("WWW-Authenticate", "Bearer error=\"invalid_token\""));
        }

        static Response redirect(int status, String location) {
            return new Response(status, "elsewhere", Map.of("Location", location));
        }
    }

    FakeApi() throws IOException {
        server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.setExecutor(threads);
        server.createContext("/", this::handle);
        server.start();
    }

    private void handle(HttpExchange exchange) {
        try (exchange) {
            String body = new String(exchange.getRequestBody().readAllBytes(), StandardCharsets.UTF_8);
            Request request = new Request(
                    exchange.getRequestMethod(),
                    exchange.getRequestURI().toString(),
                    exchange.getRequestHeaders(),
                    body);
            requests.add(request);
            Response response = answer.apply(request);
            response.headers().forEach(exchange.getResponseHeaders()::set);
            byte[] bytes = response.body().getBytes(StandardCharsets.UTF_8);
            exchange.sendResponseHeaders(response.status(), bytes.length == 0 ? -1 : bytes.length);
            exchange.getResponseBody().write(bytes);
        } catch (IOException broken) {
            throw new UncheckedIOException(broken);
        }
    }

    /** Where it is, for clients that call it by its address. */
    URI url(String path) {
        return URI.create("http://127.0.0.1:" + server.getAddress().getPort() + path);
    }

    /** The same server as another origin. */
    URI elsewhere(String path) {
        return URI.create("http://localhost:" + server.getAddress().getPort() + path);
    }

    @Override
    public void close() {
        server.stop(0);
        threads.shutdownNow();
    }
}
