package io.github.bearerd;

/** What reading the token costs while the watch stands. */
public final class ReadBenchmark {
    private static final int ROUNDS = 5;

    private ReadBenchmark() {}

    /** Arguments: the client's name, and how many reads a round has. The socket is found as always. */
    public static void main(String[] arguments) {
        try (Broker broker = Broker.open()) {
            double nanos = nanosPerRead(broker.client(arguments[0]), Integer.parseInt(arguments[1]));
            System.out.printf("read %.1f ns%n", nanos);
        }
    }

    /** The best of some rounds on one thread, after rounds that are not counted. */
    public static double nanosPerRead(TokenClient client, int reads) {
        for (int round = 0; round < ROUNDS; round++) {
            round(client, reads);
        }
        double best = Double.MAX_VALUE;
        for (int round = 0; round < ROUNDS; round++) {
            best = Math.min(best, round(client, reads));
        }
        return best;
    }

    private static double round(TokenClient client, int reads) {
        long used = 0;
        long begin = System.nanoTime();
        for (int i = 0; i < reads; i++) {
            used += client.token().authorization().length();
        }
        double nanos = System.nanoTime() - begin;
        // So that the compiler cannot leave the reads out.
        if (used == 0) {
            throw new IllegalStateException("no token");
        }
        return nanos / reads;
    }
}
