"""What faces browsers: Socket.IO, REST, who may come in, and how everything is said on the wire."""
