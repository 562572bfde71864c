// One real Socket.IO client, driven by JSON lines: a command in, its acknowledgement or an event out.
// in:  {"do": "emit", "id": 1, "event": "...", "payload": {...}} | {"do": "disconnect"} | {"do": "connect"}
// out: {"ack": 1, "answer": ...} | {"event": "...", "payload": ...} | {"state": "connect" | "disconnect" | ...}
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const [url, token, transport] = process.argv.slice(2);
const tell = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const socket = io(url, {
  auth: token ? { token } : {},
  transports: transport ? [transport] : ["polling", "websocket"],
  reconnectionDelay: 50,
  reconnectionDelayMax: 200,
});

socket.on("connect", () => tell({ state: "connect" }));
socket.on("disconnect", (reason) => tell({ state: "disconnect", reason }));
socket.on("connect_error", (error) => tell({ state: "connect_error", message: error.message, data: error.data }));
socket.onAny((event, payload) => tell({ event, payload }));

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const command = JSON.parse(line);
    if (command.do === "emit") {
      socket.emit(command.event, command.payload, (answer) => tell({ ack: command.id, answer }));
    } else if (command.do === "burst") {
      for (const { id, event, payload } of command.emits) {
        socket.emit(event, payload, (answer) => tell({ ack: id, answer }));
      }
    } else if (command.do === "disconnect") {
      socket.disconnect();
    } else if (command.do === "cut") {
      socket.io.engine.close();
    } else if (command.do === "connect") {
      socket.connect();
    }
  })
  .on("close", () => process.exit(0));
