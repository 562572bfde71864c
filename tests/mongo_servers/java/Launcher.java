import de.bwaldvogel.mongo.MongoBackend;
import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import de.bwaldvogel.mongo.bson.Document;
import io.netty.channel.Channel;

/**
 * One mongo-java-server on a free port of this machine. Prints the port, and ends when its input ends.
 *
 * <p>Argument: "memory", or the path of an H2 file. The server calls itself a MongoDB 3.6, which today's drivers refuse
 * to speak to; the commands that Baton uses have not changed since, so it says here that it speaks 4.4's protocol.
 */
public final class Launcher {
    private static final int WIRE_VERSION_4_4 = 9;

    private static Document newer(Document answer) {
        if (answer != null && answer.containsKey("maxWireVersion")) {
            answer.put("maxWireVersion", WIRE_VERSION_4_4);
        }
        return answer;
    }

    private static final class Memory extends MemoryBackend {
        @Override
        public Document handleCommand(Channel channel, String database, String command, Document query) {
            return newer(super.handleCommand(channel, database, command, query));
        }
    }

    private static final class H2 extends H2Backend {
        H2(String file) {
            super(file);
        }

        @Override
        public Document handleCommand(Channel channel, String database, String command, Document query) {
            return newer(super.handleCommand(channel, database, command, query));
        }
    }

    public static void main(String[] args) throws Exception {
        MongoBackend backend = args[0].equals("memory") ? new Memory() : new H2(args[0]);
        MongoServer server = new MongoServer(backend);
        int port = server.bind().getPort();
        System.out.println(port);
        System.out.flush();
        while (System.in.read() >= 0) {
            // Nothing is said to it: the end of its input is the end of whoever started it.
        }
        server.shutdownNow();
    }
}
