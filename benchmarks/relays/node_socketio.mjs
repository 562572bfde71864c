// Node's socket.io as its documentation shows it: `to(room).emit`, nothing stored.
// A producer connects to /produce as in bare_aiohttp.py; watchers are Socket.IO clients that emit `join`.
import { createServer } from "node:http";
import { Server } from "socket.io";
import { WebSocketServer } from "ws";

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
      producer.on("message", (data) => {
        const frame = JSON.parse(data);
        io.to(frame.room).emit("delta", frame.data);
      });
    });
  }
});
http.listen(Number(process.argv[2]), "127.0.0.1");
