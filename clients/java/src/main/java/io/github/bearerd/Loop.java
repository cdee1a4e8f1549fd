package io.github.bearerd;

import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.Executor;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/**
 * The one background thread of a broker. All that changes is changed on it, so that nothing needs a lock; a daemon
 * thread, so that a program that forgets to close the broker can still end.
 */
final class Loop implements Executor {
    private final ScheduledThreadPoolExecutor thread = new ScheduledThreadPoolExecutor(1, task -> {
        Thread made = new Thread(task, "bearerd");
        made.setDaemon(true);
        return made;
    });

    Loop() {
        thread.setRemoveOnCancelPolicy(true);
    }

    /** Runs the task soon; after {@link #stop()} not at all, as it is with what gRPC still has to say then. */
    @Override
    public void execute(Runnable task) {
        submit(task);
    }

    /** Runs what gives an answer. Fails with CLOSED if the broker is. */
    <T> CompletableFuture<T> ask(Supplier<CompletableFuture<T>> task) {
        CompletableFuture<T> result = new CompletableFuture<>();
        boolean taken = submit(() -> {
            try {
                task.get().whenComplete((value, error) -> settle(result, value, error));
            } catch (Throwable error) {
                // An Error too: without an answer the caller would wait for ever.
                result.completeExceptionally(error);
            }
        });
        if (!taken) {
            result.completeExceptionally(BearerdException.closed());
        }
        return result;
    }

    static <T> void settle(CompletableFuture<T> future, T value, Throwable error) {
        if (error == null) {
            future.complete(value);
        } else {
            future.completeExceptionally(error instanceof CompletionException ? error.getCause() : error);
        }
    }

    private boolean submit(Runnable task) {
        try {
            thread.execute(task);
            return true;
        } catch (RejectedExecutionException stopped) {
            return false;
        }
    }

    /** Runs the task later. Only from the thread itself, which is why it cannot have been stopped. */
    Future<?> schedule(Duration delay, Runnable task) {
        return thread.schedule(task, delay.toNanos(), TimeUnit.NANOSECONDS);
    }

    /** Takes no more tasks, and ends the thread when those that it has are run or cancelled. */
    void stop() {
        thread.shutdown();
    }
}
