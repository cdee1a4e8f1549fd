package io.github.bearerd;

import java.util.Objects;

/**
 * A header that the API wants on each call beside {@code Authorization}, as the daemon's configuration declares it.
 */
public final class RequestHeader {
    private final String name;
    private final transient String value;
    private final boolean perCall;
    private final String pattern;

    RequestHeader(String name, String value, boolean perCall, String pattern) {
        this.name = Objects.requireNonNull(name);
        this.value = Objects.requireNonNull(value);
        this.perCall = perCall;
        this.pattern = Objects.requireNonNull(pattern);
    }

    /**
     * The header's name as configured.
     *
     * @return the name
     */
    public String name() {
        return name;
    }

    /**
     * The fixed value.
     *
     * @return the value; empty when {@link #perCall()} holds
     */
    public String value() {
        return value;
    }

    /**
     * Whether the program must supply the value, anew for each call.
     *
     * @return false for a header with a fixed value
     */
    public boolean perCall() {
        return perCall;
    }

    /**
     * The regular expression that a per-call value must match as a whole.
     *
     * @return the expression; empty if any value will do
     */
    public String pattern() {
        return pattern;
    }

    /** Name and kind, without a fixed value: that may be a key. */
    @Override
    public String toString() {
        return name + (perCall ? " (per call" + (pattern.isEmpty() ? ")" : ", " + pattern + ")") : " (fixed)");
    }
}
