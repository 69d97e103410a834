// A connection to Redis for the Java code of docs/clients.md, which is compiled beside this file.

import java.io.BufferedReader;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

class ClientsSend {
    public static void main(String[] arguments) throws InterruptedException {
        String[] address = arguments[0].split(":");
        Once.run(words -> ask(address[0], Integer.parseInt(address[1]), words));
    }

    // A connection for each command: the one before may be lost.
    static Object ask(String host, int port, List<String> words) {
        try (Socket socket = new Socket(host, port)) {
            StringBuilder text = new StringBuilder("*" + words.size() + "\r\n");
            for (String word : words) {
                int length = word.getBytes(StandardCharsets.UTF_8).length;
                text.append("$" + length + "\r\n" + word + "\r\n");
            }
            socket.getOutputStream().write(text.toString().getBytes(StandardCharsets.UTF_8));
            var in = new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8);
            return read(new BufferedReader(in));
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    static Object read(BufferedReader in) throws IOException {
        String line = in.readLine();
        if (line == null) throw new EOFException();
        String text = line.substring(1);
        switch (line.charAt(0)) {
            case '-':
                throw new IllegalStateException(text);
            case ':':
                return Long.valueOf(text);
            case '*':
                List<Object> replies = new ArrayList<>();
                for (int left = Integer.parseInt(text); left > 0; left--) replies.add(read(in));
                return replies;
            default:
                throw new AssertionError("no reply is expected that begins with " + line);
        }
    }
}
