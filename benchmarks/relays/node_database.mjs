// The shape of the system that Baton comes after: Node's socket.io, and one database write per chunk before it is shown.
// SQLite (better-sqlite3, WAL, synchronous=FULL: on disk when the write returns, as Baton writes), or MongoDB where an
// address is given: `w: "majority", journal: true`. A producer connects to /produce as in bare_aiohttp.py.
import { createServer } from "node:http";
import { Server } from "socket.io";
import { WebSocketServer } from "ws";

const [port, place] = process.argv.slice(2);

async function openStore() {
  if (place.startsWith("mongodb")) {
    const { MongoClient } = await import("mongodb");
    const client = await MongoClient.connect(place, { writeConcern: { w: "majority", journal: true } });
    const chunks = client.db().collection("chunks");
    await chunks.createIndex({ room: 1, n: 1 });
    return (room, n, data) => chunks.insertOne({ room, n, data, at: new Date() });
  }
  const { default: Database } = await import("better-sqlite3");
  const database = new Database(place);
  database.pragma("journal_mode = WAL");
  database.pragma("synchronous = FULL");
  database.exec("CREATE TABLE chunks (room TEXT, n INTEGER, data TEXT, at TEXT, PRIMARY KEY (room, n))");
  const insert = database.prepare("INSERT INTO chunks VALUES (?, ?, ?, ?)");
  return async (room, n, data) => insert.run(room, n, JSON.stringify(data), new Date().toISOString());
}

const store = await openStore();
const http = createServer((request, response) => response.end("ok"));
const io = new Server(http, { cors: { origin: "*" }, destroyUpgrade: false });
const producers = new WebSocketServer({ noServer: true });

io.on("connection", (socket) => {
  socket.on("join", (room, done) => {
    socket.join(room);
    done(true);
  });
});
http.on("upgrade", (request, socket, head) => {
  if (request.url === "/produce") {
    producers.handleUpgrade(request, socket, head, (producer) => {
      let n = 0;
      producer.on("message", async (data) => {
        const frame = JSON.parse(data);
        await store(frame.room, n++, frame.data);
        io.to(frame.room).emit("delta", frame.data);
      });
    });
  }
});
http.listen(Number(port), "127.0.0.1");
