package io.github.bearerd;

import io.grpc.Status;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/** The rules for the headers of an API call. Names are not case-sensitive; values never appear in a message. */
final class ApiHeaders {
    static final String AUTHORIZATION = "Authorization";
    static final String DPOP = "DPoP";

    private ApiHeaders() {}

    /** Authorization, the fixed ones and those given, which are checked. */
    static Map<String, String> of(Token token, Map<String, String> given) {
        Map<String, String> headers = new TreeMap<>(String.CASE_INSENSITIVE_ORDER);
        given.forEach((name, value) -> headers.put(name, Objects.requireNonNull(value, name)));
        headers.forEach((name, value) -> checkCharacters(token, name, value));
        check(token, name -> {
            String value = headers.get(name);
            return value == null ? List.of() : List.of(value);
        });
        // The configured spelling of a name counts, not the one that was given.
        token.headers().stream().filter(RequestHeader::perCall).forEach(header -> {
            String value = headers.remove(header.name());
            headers.put(header.name(), value);
        });
        fixed(token).forEach((name, value) -> {
            headers.remove(name);
            headers.put(name, value);
        });
        return headers;
    }

    /** What the program has no part in: Authorization and the fixed ones. */
    static Map<String, String> fixed(Token token) {
        Map<String, String> headers = new TreeMap<>(String.CASE_INSENSITIVE_ORDER);
        token.headers().stream()
                .filter(header -> !header.perCall())
                .forEach(header -> headers.put(header.name(), header.value()));
        headers.put(AUTHORIZATION, token.authorization());
        return headers;
    }

    /** The values that a call has for a header, whatever its spelling. */
    interface Values {
        List<String> of(String name);
    }

    /** Throws unless the call has each header that the program must supply, and they are as they should be. */
    static void check(Token token, Values values) {
        for (RequestHeader header : token.headers()) {
            if (header.perCall()) {
                List<String> present = new ArrayList<>(values.of(header.name()));
                if (present.isEmpty()) {
                    throw new BearerdException(
                            Status.Code.INVALID_ARGUMENT,
                            BearerdException.HEADER_MISSING,
                            about(token, header.name()) + "the API wants it with each call; supply it" + form(header));
                }
                present.forEach(value -> check(token, header, value));
            }
        }
    }

    private static void check(Token token, RequestHeader header, String value) {
        if (value.isBlank()) {
            throw invalid(token, header.name(), "its value is empty" + form(header));
        }
        checkCharacters(token, header.name(), value);
        try {
            if (!header.pattern().isEmpty()
                    && !Pattern.compile(header.pattern()).matcher(value).matches()) {
                throw invalid(token, header.name(), "its value is not as it should be" + form(header));
            }
        } catch (PatternSyntaxException malformed) {
            throw invalid(token, header.name(), "its configured pattern is none to Java" + form(header));
        }
    }

    private static void checkCharacters(Token token, String name, String value) {
        if (value.chars().anyMatch(Character::isISOControl)) {
            throw invalid(token, name, "its value has control characters");
        }
    }

    private static String form(RequestHeader header) {
        return header.pattern().isEmpty() ? "" : " (pattern " + header.pattern() + ")";
    }

    private static BearerdException invalid(Token token, String name, String why) {
        return new BearerdException(
                Status.Code.INVALID_ARGUMENT, BearerdException.HEADER_INVALID, about(token, name) + why);
    }

    private static String about(Token token, String name) {
        return "client " + token.client() + ", header " + name + ": ";
    }
}
