package io.github.bearerd;

import io.grpc.ManagedChannel;
import java.nio.file.Path;
import java.time.Duration;
import java.time.InstantSource;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.function.BiFunction;
import java.util.function.Supplier;

/**
 * The connection to the bearerd of this host. One for the whole program is normal.
 *
 * <pre>{@code
 * try (Broker broker = Broker.open()) {
 *     TokenClient wawex = broker.client("wawex");
 *     String authorization = wawex.token().authorization();
 * }
 * }</pre>
 *
 * <p>Nothing is connected before the first token is asked for. From then on a background thread keeps the tokens in
 * memory up to date, through restarts of the daemon too. Safe for use by many threads.
 */
public final class Broker implements AutoCloseable {
    static final Duration DEFAULT_TIMEOUT = Duration.ofSeconds(10);
    private static final Duration LONGEST_CLOSE = Duration.ofSeconds(1);

    private final Loop loop = new Loop();
    private final Connection connection;
    private final InstantSource clock;
    private final Duration timeout;
    private final Map<String, TokenClient> clients = new ConcurrentHashMap<>();
    private final CountDownLatch ended = new CountDownLatch(1);

    Broker(
            Supplier<Path> socket,
            BiFunction<Path, Executor, ManagedChannel> connector,
            InstantSource clock,
            Duration timeout) {
        this.connection = new Connection(socket, connector, loop);
        this.clock = clock;
        this.timeout = timeout;
    }

    /**
     * A broker at the usual place: {@code $BEARERD_SOCKET}; else {@code /run/bearerd/bearerd.sock} if it is there; else
     * the user's own, {@code $XDG_RUNTIME_DIR/bearerd/bearerd.sock} or {@code $HOME/.bearerd/bearerd/bearerd.sock}.
     * Looked for anew each time it is connected to.
     *
     * @return a broker that has not connected yet
     */
    public static Broker open() {
        return builder().build();
    }

    /**
     * A broker at this socket.
     *
     * @param socket the daemon's socket
     * @return a broker that has not connected yet
     */
    public static Broker open(Path socket) {
        return builder().socket(socket).build();
    }

    /**
     * For a broker with other settings.
     *
     * @return a builder with the defaults
     */
    public static Builder builder() {
        return new Builder();
    }

    /**
     * One client of the daemon's configuration. Costs nothing: that there is no such client is found at the first read.
     *
     * @param name the client's name there
     * @return always the same object for a name
     */
    public TokenClient client(String name) {
        Objects.requireNonNull(name, "name");
        return clients.computeIfAbsent(
                name,
                made -> new TokenClient(
                        made, new TokenState(made, loop, connection, clock), timeout, loop, connection));
    }

    /**
     * Ends the connection and the background thread. Who waits for a token gets {@link BearerdException#CLOSED}, and so
     * does everybody who asks later. Closing twice does no harm.
     */
    @Override
    public void close() {
        loop.execute(() -> {
            clients.values().forEach(TokenClient::close);
            connection.close();
            loop.stop();
            ended.countDown();
        });
        try {
            ended.await(LONGEST_CLOSE.toMillis(), TimeUnit.MILLISECONDS);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    /** The settings of a {@link Broker}. */
    public static final class Builder {
        private Supplier<Path> socket = SocketPath::find;
        private Duration timeout = DEFAULT_TIMEOUT;

        private Builder() {}

        /**
         * Where the daemon's socket is. Default: see {@link Broker#open()}.
         *
         * @param socket the path; a relative one counts from the working directory
         * @return this
         */
        public Builder socket(Path socket) {
            Path absolute = socket.toAbsolutePath();
            this.socket = () -> absolute;
            return this;
        }

        /**
         * How long a read waits for a token that is on its way, if the read itself does not say. Default: 10 s.
         *
         * @param timeout zero: not at all
         * @return this
         * @throws IllegalArgumentException if it is negative
         */
        public Builder timeout(Duration timeout) {
            this.timeout = TokenClient.notNegative(timeout, "timeout");
            return this;
        }

        /**
         * Makes the broker.
         *
         * @return a broker that has not connected yet
         */
        public Broker build() {
            return new Broker(socket, Connection::unix, InstantSource.system(), timeout);
        }
    }
}
