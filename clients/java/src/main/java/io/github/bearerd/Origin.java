package io.github.bearerd;

import io.grpc.Status;
import java.net.URI;
import java.util.Locale;
import java.util.regex.Pattern;

/** Scheme, host and port of a URL (RFC 6454 section 4): whom a token is sent to. */
record Origin(String scheme, String host, int port) {
    private static final Pattern LOOPBACK =
            Pattern.compile("localhost|127(\\.\\d{1,3}){3}|\\[::1]|\\[0:0:0:0:0:0:0:1]");

    static Origin of(URI url) {
        String scheme = String.valueOf(url.getScheme()).toLowerCase(Locale.ROOT);
        String host = String.valueOf(url.getHost()).toLowerCase(Locale.ROOT);
        int port = url.getPort() >= 0 ? url.getPort() : scheme.equals("https") ? 443 : 80;
        return new Origin(scheme, host, port);
    }

    boolean https() {
        return scheme.equals("https");
    }

    /** Throws unless what is sent there stays between here and there. */
    void check(boolean allowHttp) {
        boolean fine = https()
                || scheme.equals("http") && (allowHttp || LOOPBACK.matcher(host).matches());
        if (!fine) {
            throw new BearerdException(
                    Status.Code.FAILED_PRECONDITION,
                    BearerdException.URL_INSECURE,
                    "a token would go to " + scheme + "://" + host + ":" + port
                            + " where others can read it: use https," + " or allowHttp() if that is meant");
        }
    }
}
