package io.github.bearerd;

/** What became of a report that a token was rejected by an API. */
public enum Rejection {
    /** The token was retired, and there is a replacement. */
    REPLACED,
    /** A newer token was there already; the issuer was not asked. */
    ALREADY_REPLACED,
    /** The token is less than 5 s old: clocks may differ, try it again. Same token. */
    TOO_YOUNG,
    /** Too many renewals were forced (one per 30 s, three in 10 min without a cure). Same token. */
    RATE_LIMITED,
    /** The issuer was asked and returned the very same token. Same token. */
    SAME_TOKEN,
    /** Something that this version of the library does not know. Compare the ids. */
    UNSPECIFIED;

    static Rejection of(bearerd.v1.TokenBrokerOuterClass.Rejection wire) {
        return switch (wire) {
            case REJECTION_REPLACED -> REPLACED;
            case REJECTION_ALREADY_REPLACED -> ALREADY_REPLACED;
            case REJECTION_TOO_YOUNG -> TOO_YOUNG;
            case REJECTION_RATE_LIMITED -> RATE_LIMITED;
            case REJECTION_SAME_TOKEN -> SAME_TOKEN;
            default -> UNSPECIFIED;
        };
    }
}
