package io.github.bearerd;

import io.grpc.Status;
import java.time.Duration;
import java.time.Instant;
import java.util.Objects;
import java.util.Optional;

/**
 * Why there is no token, or why a call of an API was not sent.
 *
 * <p>{@link #reason()} is stable and meant for programs, the message is meant for people and says what to do. Neither
 * ever contains a token. The daemon's own reasons are listed in {@code token_broker.proto}; those of this library are
 * the constants below.
 */
public final class BearerdException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** Nobody listens on the daemon's socket, or it does not answer. Code {@code UNAVAILABLE}. */
    public static final String DAEMON_UNREACHABLE = "DAEMON_UNREACHABLE";

    /** The time to wait passed before the token came. Code {@code UNAVAILABLE}. */
    public static final String TOKEN_PENDING = "TOKEN_PENDING";

    /** The {@link Broker} is closed. Code {@code CANCELLED}. */
    public static final String CLOSED = "CLOSED";

    /** The thread was interrupted while it waited; its interrupt status is set again. Code {@code CANCELLED}. */
    public static final String INTERRUPTED = "INTERRUPTED";

    /** The API wants a header with each call, and this call has none. Code {@code INVALID_ARGUMENT}. */
    public static final String HEADER_MISSING = "HEADER_MISSING";

    /**
     * A header's value is blank, has control characters or is not of the configured form. Code {@code
     * INVALID_ARGUMENT}.
     */
    public static final String HEADER_INVALID = "HEADER_INVALID";

    /** A token would have gone over a connection that others can read. Code {@code FAILED_PRECONDITION}. */
    public static final String URL_INSECURE = "URL_INSECURE";

    /** The token is bound to a key: method and URL of the call are needed. Code {@code FAILED_PRECONDITION}. */
    public static final String PROOF_REQUIRED = "PROOF_REQUIRED";

    /** What {@link #code()} gives. */
    private final Status.Code code;

    /** What {@link #reason()} gives. */
    private final String reason;

    /** When it makes sense to ask again; null if that is not known. */
    private final Instant retryAt;

    BearerdException(Status.Code code, String reason, String message) {
        this(code, reason, message, null, null);
    }

    BearerdException(Status.Code code, String reason, String message, Instant retryAt, Throwable cause) {
        super(message, cause);
        this.code = Objects.requireNonNull(code);
        this.reason = Objects.requireNonNull(reason);
        this.retryAt = retryAt;
    }

    /**
     * The same, with the stack of the thread that is to throw it: a failure is shared by all who waited for one answer.
     */
    BearerdException here() {
        return new BearerdException(code, reason, getMessage(), retryAt, getCause());
    }

    static BearerdException closed() {
        return new BearerdException(Status.Code.CANCELLED, CLOSED, "the broker is closed");
    }

    /**
     * The stable name of what is wrong, such as {@code "CALLER_NOT_ALLOWED"}.
     *
     * @return never null or empty
     */
    public String reason() {
        return reason;
    }

    /**
     * The gRPC status code that goes with it.
     *
     * @return never {@code OK}
     */
    public Status.Code code() {
        return code;
    }

    /**
     * How long it makes sense to wait from now before asking again. For a client without a token: until the daemon asks
     * the issuer next.
     *
     * @return empty if that is not known; never negative
     */
    public Optional<Duration> retryAfter() {
        if (retryAt == null) {
            return Optional.empty();
        }
        Duration left = Duration.between(Instant.now(), retryAt);
        return Optional.of(left.isNegative() ? Duration.ZERO : left);
    }
}
