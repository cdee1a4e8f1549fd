package io.github.bearerd.conformance;

import io.github.bearerd.BearerdException;
import io.github.bearerd.TokenClient;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;

/** Many threads that read one client's token at the same time. */
final class Readers {
    private final TokenClient client;
    private final Set<String> ids = ConcurrentHashMap.newKeySet();
    private final Map<String, Integer> failures = new ConcurrentHashMap<>();

    Readers(TokenClient client) {
        this.client = client;
    }

    Map<String, Object> read(int readers, int times) throws InterruptedException {
        CountDownLatch start = new CountDownLatch(1);
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < readers; i++) {
            Thread thread = new Thread(() -> read(start, times));
            thread.start();
            threads.add(thread);
        }
        start.countDown();
        for (Thread thread : threads) {
            thread.join();
        }
        Map<String, Object> answer = Driver.done("reads", readers * times);
        answer.put("ids", new TreeSet<>(ids));
        answer.put("failures", failures);
        return answer;
    }

    private void read(CountDownLatch start, int times) {
        try {
            start.await();
        } catch (InterruptedException interrupted) {
            return;
        }
        for (int i = 0; i < times; i++) {
            try {
                ids.add(client.token().id());
            } catch (BearerdException failure) {
                failures.merge(failure.reason(), 1, Integer::sum);
            }
        }
    }
}
