package io.github.bearerd;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SocketPathTest {
    @TempDir
    Path directory;

    @Test
    void theVariableWinsWhateverIsThere() throws IOException {
        Path system = Files.createFile(directory.resolve("system"));
        assertEquals(Path.of("/x"), SocketPath.find(Map.of("BEARERD_SOCKET", "/x")::get, system));
        assertEquals(system, SocketPath.find(Map.of("BEARERD_SOCKET", "")::get, system));
    }

    @Test
    void theUsersOwnCountsOnlyWithoutTheSystems() throws IOException {
        Path system = directory.resolve("system");
        Path own = socketBelow(directory.resolve("runtime"));
        Map<String, String> environment =
                Map.of("XDG_RUNTIME_DIR", directory + "/runtime", "HOME", directory + "/home");
        assertEquals(own, SocketPath.find(environment::get, system));
        Files.createSymbolicLink(system, Path.of("/nowhere"));
        assertEquals(system, SocketPath.find(environment::get, system));
    }

    @Test
    void withoutARuntimeDirectoryItIsBelowTheHome() throws IOException {
        Path system = directory.resolve("system");
        Path own = socketBelow(directory.resolve("home/.bearerd"));
        assertEquals(own, SocketPath.find(Map.of("HOME", directory + "/home")::get, system));
        Map<String, String> relative = Map.of("XDG_RUNTIME_DIR", "run", "HOME", directory + "/home");
        assertEquals(own, SocketPath.find(relative::get, system));
        Map<String, String> other = Map.of("XDG_RUNTIME_DIR", directory + "/runtime", "HOME", directory + "/home");
        assertEquals(system, SocketPath.find(other::get, system));
    }

    private static Path socketBelow(Path base) throws IOException {
        return Files.createFile(Files.createDirectories(base.resolve("bearerd")).resolve("bearerd.sock"));
    }
}
