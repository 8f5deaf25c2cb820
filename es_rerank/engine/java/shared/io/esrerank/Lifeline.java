package io.esrerank;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Comparator;
import java.util.stream.Stream;

/** Ties a node to the process that booted it, and tells that process where the node listens. */
final class Lifeline {
    private Lifeline() {}

    /**
     * Halts this JVM when standard input ends, unless a byte has come through it before.
     *
     * The parent holds the other end of the pipe; the kernel closes it however the parent dies,
     * SIGKILL included. A parent that wants its node to outlive it sends one byte. Halting is safe:
     * the translog is synced on every request.
     *
     * @param temporary the node's folder if nobody needs it afterwards, else null
     */
    static void holdOnToParent(Path temporary) {
        Thread watch = new Thread(() -> {
            try {
                if (System.in.read() >= 0) {
                    return;
                }
            } catch (IOException gone) {
                // a broken pipe is an ended one
            }
            if (temporary != null) {
                delete(temporary);
            }
            Runtime.getRuntime().halt(0);
        }, "lifeline");
        watch.setDaemon(true);
        watch.start();
    }

    /** Writes the bound port to FOLDER/port, so that a reader never sees half of it. */
    static void tellPort(Path folder, int port) throws IOException {
        Path half = folder.resolve("port.part");
        Files.writeString(half, Integer.toString(port));
        Files.move(half, folder.resolve("port"), StandardCopyOption.ATOMIC_MOVE);
    }

    private static void delete(Path folder) {
        try (Stream<Path> paths = Files.walk(folder)) {
            paths.sorted(Comparator.reverseOrder()).forEach(path -> path.toFile().delete());
        } catch (IOException | UncheckedIOException stillWriting) {
            // the system's own sweep of temporary files takes the rest
        }
    }
}
