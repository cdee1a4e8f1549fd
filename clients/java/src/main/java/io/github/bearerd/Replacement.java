package io.github.bearerd;

import java.util.Objects;

/**
 * The answer to a report that an API rejected a token.
 *
 * @param token the token to use from now on; the reported one if it stays
 * @param rejection what became of the report
 */
public record Replacement(Token token, Rejection rejection) {
    /**
     * Neither part is null.
     *
     * @param token the token to use from now on
     * @param rejection what became of the report
     */
    public Replacement {
        Objects.requireNonNull(token);
        Objects.requireNonNull(rejection);
    }
}
