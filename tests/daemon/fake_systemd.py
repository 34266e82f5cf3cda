"""Starts a service as systemd does (a notify socket, a watchdog, a passed socket), talks to
it, and prints what it says. usage: fake_systemd.py FOLDER COMMAND..."""
import os, signal, socket, sys, time

folder, command = sys.argv[1], sys.argv[2:]
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(folder + "/notify")
listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind(folder + "/activated")
listener.listen(16)

env = dict(os.environ, NOTIFY_SOCKET=folder + "/notify", LISTEN_FDS="1", WATCHDOG_USEC="200000")
pid = os.fork()
if pid == 0:
    os.dup2(listener.fileno(), 3)
    os.set_inheritable(3, True)
    os.environ.update(env, LISTEN_PID=str(os.getpid()))
    os.execvp(command[0], command)


def wait_for(word):
    while True:
        lines = [line for line in notify.recv(4096).decode().split("\n") if line]
        for line in lines:
            if line.startswith("MONOTONIC_USEC="):
                late = time.monotonic() - int(line.split("=")[1]) / 1e6
                line = "MONOTONIC is right" if 0 <= late < 60 else line
            if not line.startswith("STATUS"):
                print(line)
        if any(line.startswith(word) for line in lines):
            return


wait_for("READY=1")
client = socket.socket(socket.AF_UNIX)
client.connect(folder + "/activated")
body = b'{"input":"a"}'
client.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
answer = b""
while b"\r\n\r\n" not in answer or b"{" not in answer:
    answer += client.recv(65536)
print(answer.split(b"\r\n\r\n", 1)[1][:16].decode())
client.close()
wait_for("WATCHDOG=1")
os.kill(pid, signal.SIGHUP)
wait_for("RELOADING=1")
wait_for("READY=1")
os.kill(pid, signal.SIGTERM)
wait_for("STOPPING=1")
print("exit", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
