package io.github.bearerd;

import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.Optional;
import java.util.function.UnaryOperator;

/** Where the daemon's socket is when the program does not say: as the daemon's own command line finds it. */
final class SocketPath {
    private static final Path SYSTEM = Path.of("/run/bearerd/bearerd.sock");

    private SocketPath() {}

    static Path find() {
        return find(System::getenv, SYSTEM);
    }

    /** {@code $BEARERD_SOCKET}; else the system service's socket if it is there, else the user's if that is there. */
    static Path find(UnaryOperator<String> environment, Path system) {
        String named = environment.apply("BEARERD_SOCKET");
        if (named != null && !named.isEmpty()) {
            return Path.of(named);
        }
        if (exists(system)) {
            return system;
        }
        return ofUser(environment).filter(SocketPath::exists).orElse(system);
    }

    private static Optional<Path> ofUser(UnaryOperator<String> environment) {
        return directory(environment, "XDG_RUNTIME_DIR")
                .or(() -> directory(environment, "HOME").map(home -> home.resolve(".bearerd")))
                .map(base -> base.resolve("bearerd").resolve("bearerd.sock"));
    }

    private static Optional<Path> directory(UnaryOperator<String> environment, String variable) {
        return Optional.ofNullable(environment.apply(variable)).map(Path::of).filter(Path::isAbsolute);
    }

    /** A link counts, wherever it leads: connecting will say what is wrong with it. */
    private static boolean exists(Path path) {
        return Files.exists(path, LinkOption.NOFOLLOW_LINKS);
    }
}
