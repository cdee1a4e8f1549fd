package io.github.bearerd;

import io.github.bearerd.TokenClient.Proof;
import io.grpc.Status;
import java.net.URI;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.ResponseInfo;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;

/** How the requests that are sent are made from the program's: with a token, without one, to another place. */
final class ApiRequest {
    private ApiRequest() {}

    /** Throws unless the request has the headers that the program must supply. */
    static void check(HttpRequest request, Token token) {
        ApiHeaders.check(token, name -> request.headers().allValues(name));
    }

    /** The request with the token, the fixed headers, and the proof if there is one. */
    static HttpRequest authorized(HttpRequest request, Proof proof) {
        Token token = proof.token();
        check(request, token);
        HttpRequest.Builder authorized = without(request, Set.of(ApiHeaders.DPOP));
        ApiHeaders.fixed(token).forEach((name, value) -> {
            try {
                authorized.setHeader(name, value);
            } catch (IllegalArgumentException refused) {
                // Its message has the value.
                throw new BearerdException(
                        Status.Code.INVALID_ARGUMENT,
                        BearerdException.HEADER_INVALID,
                        "client " + token.client() + ", header " + name + ": java.net.http does not let it be set so");
            }
        });
        if (!proof.value().isEmpty()) {
            authorized.setHeader(ApiHeaders.DPOP, proof.value());
        }
        return authorized.build();
    }

    /** The request for somebody whom neither the token nor what is declared for the API concerns. */
    static HttpRequest bare(HttpRequest request, Token token) {
        Set<String> names = new TreeSet<>(String.CASE_INSENSITIVE_ORDER);
        names.addAll(List.of(ApiHeaders.AUTHORIZATION, ApiHeaders.DPOP, "Cookie"));
        token.headers().forEach(header -> names.add(header.name()));
        return without(request, names).build();
    }

    /** Whether the body can be sent once more. One of unknown length may come from a stream that is then at its end. */
    static boolean replayable(HttpRequest request) {
        return request.bodyPublisher().map(body -> body.contentLength() >= 0).orElse(true);
    }

    /** The request that a redirect asks for (RFC 9110 section 15.4), if it is one and can be followed. */
    static Optional<HttpRequest> redirected(HttpRequest request, ResponseInfo info) {
        Optional<URI> location = info.headers().firstValue("Location").flatMap(text -> resolve(request.uri(), text));
        boolean keepsMethod;
        switch (info.statusCode()) {
            case 301, 302 -> keepsMethod = !request.method().equals("POST");
            case 303 -> keepsMethod = Set.of("GET", "HEAD").contains(request.method());
            case 307, 308 -> keepsMethod = true;
            default -> {
                return Optional.empty();
            }
        }
        if (location.isEmpty() || keepsMethod && !replayable(request)) {
            return Optional.empty();
        }
        if (keepsMethod) {
            return location.map(uri -> without(request, Set.of()).uri(uri).build());
        }
        Set<String> ofBody = Set.of("Content-Type", "Content-Encoding", "Content-Language", "Content-Location");
        return location.map(uri -> without(request, ofBody).uri(uri).GET().build());
    }

    private static Optional<URI> resolve(URI from, String location) {
        try {
            URI to = from.resolve(location);
            String scheme = Origin.of(to).scheme();
            boolean safe = scheme.equals("https")
                    || scheme.equals("http") && !Origin.of(from).https();
            return Optional.of(to).filter(resolved -> safe && resolved.getHost() != null);
        } catch (IllegalArgumentException malformed) {
            return Optional.empty();
        }
    }

    private static HttpRequest.Builder without(HttpRequest request, Set<String> names) {
        return HttpRequest.newBuilder(request, (name, value) -> names.stream().noneMatch(name::equalsIgnoreCase));
    }
}
