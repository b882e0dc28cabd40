"""A plain TCP pipe: the least that a copy over TCP can cost. Files go as they are, trees as a tar stream.

    pipe.py serve ADDRESS PORT
    pipe.py up|down ADDRESS PORT SOURCE INTO

No encryption, no checks, no names beyond one line at the start. It trusts whoever connects; never use it for anything else.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

PART = 1 << 20


def serve(address: str, port: int) -> None:
    with socket.create_server((address, port), backlog=8) as listener:
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                # A grandchild does the work's commands; this child is waited for below.
                answer(connection)
                os._exit(0)
            connection.close()
            os.wait()


def answer(connection: socket.socket) -> None:
    way, source, into = read_line(connection).split("\t")
    if way == "up":
        receive(connection, Path(into) / Path(source).name)
        connection.sendall(b"done\n")
    else:
        source_is_tree = Path(source).is_dir()
        connection.sendall(b"tree\n" if source_is_tree else b"file\n")
        send(connection, Path(source))
        connection.shutdown(socket.SHUT_WR)


def ask(way: str, address: str, port: int, source: str, into: str) -> None:
    with socket.create_connection((address, port)) as connection:
        kind = "tree" if Path(source).is_dir() else "file"
        connection.sendall(f"{way}\t{source}\t{into}\n".encode())
        if way == "up":
            connection.sendall(f"{kind}\n".encode())
            send(connection, Path(source))
            connection.shutdown(socket.SHUT_WR)
            if read_line(connection) != "done":
                sys.exit("the other end did not finish")
        else:
            receive(connection, Path(into) / Path(source).name)


def send(connection: socket.socket, source: Path) -> None:
    if source.is_dir():
        subprocess.run(["tar", "-C", str(source.parent), "-cf", "-", source.name], stdout=connection, check=True)
        return
    with open(source, "rb") as file:
        connection.sendfile(file)


def receive(connection: socket.socket, copy: Path) -> None:
    if read_line(connection) == "tree":
        subprocess.run(["tar", "-C", str(copy.parent), "-xf", "-"], stdin=connection, check=True)
        return
    buffer = memoryview(bytearray(PART))
    with open(copy, "wb", buffering=0) as file:
        while count := connection.recv_into(buffer):
            file.write(buffer[:count])


def read_line(connection: socket.socket) -> str:
    """One line, byte by byte, so that nothing behind it is taken."""
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            sys.exit("the other end hung up")
        line += byte
    return line[:-1].decode()


if __name__ == "__main__":
    try:
        serve(sys.argv[2], int(sys.argv[3])) if sys.argv[1] == "serve" else ask(
            sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5])
    except KeyboardInterrupt:
        sys.exit(1)
