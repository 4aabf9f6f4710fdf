"""Predicted against measured: exams over real TCP and TLS 1.3 on a shaped link.

    python benchmarks/links.py --link gprs --link vsat --bytes 4k --bytes 300k

Two network namespaces hold the two ends: the kernel's own TCP, and TLS 1.3 of the ``ssl`` module. Between
them lies either a veth pair with ``tc netem`` on both sides (``--shaper netem``), or a pair of TUN devices
whose packets a thread of this program delays, serialises at the link's rate and loses (``--shaper tun``), for
kernels without netem. Needs Linux, ``ip``, ``unshare`` and ``openssl`` (netem: ``tc`` and ``nsenter``);
no root where user namespaces are allowed. Exit code 3 and the reason where the machine does not permit it.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import shutil
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from bitdose.links import ANSWER_BYTES, REQUEST_BYTES, Link, seconds

NOT_PERMITTED = 3
CLINIC, SERVICE, PORT = "10.213.0.1", "10.213.0.2", 8443
CLONE_NEWNET = 0x40000000
TUNSETIFF, TUN_WITHOUT_HEADER = 0x400454CA, 0x1001
FRAME_BYTES = 14  # what Ethernet, and so netem on a veth, counts on top of a packet
QUEUE_PACKETS = 1000
INSIDE = "BITDOSE_LINKS_INSIDE"


class NotPermittedError(Exception):
    """The machine does not allow namespaces or the shaper."""


def run(*words: str) -> None:
    """Run a command of iproute2 in the calling thread's namespace."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotPermittedError(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()}")


def enter_namespace() -> None:
    """Give the calling thread a network namespace of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise NotPermittedError(f"unshare: {os.strerror(ctypes.get_errno())}")


def open_tun(name: str, address: str) -> int:
    """Make a TUN device in the calling thread's namespace and return its descriptor."""
    try:
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(
            device, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1001)
        )  # TUNSETIFF: TUN, NO_PI
    except OSError as error:
        raise NotPermittedError(f"/dev/net/tun: {error.strerror}") from error
    bring_up(name, address)
    return device


def bring_up(name: str, address: str) -> None:
    """Set a device's address; no IPv6 chatter, and no packet larger than the link's own."""
    if Path("/proc/sys/net/ipv6").exists():
        run("ip", "link", "set", "dev", name, "addrgenmode", "none")
    run("ip", "link", "set", "dev", name, "gso_max_segs", "1")
    run("ip", "addr", "add", f"{address}/30", "dev", name)
    run("ip", "link", "set", "dev", name, "up")


class Pump(threading.Thread):
    """Carries packets between two TUN devices as the link would."""

    def __init__(self, link: Link, clinic: int, service: int) -> None:
        super().__init__(daemon=True)
        self.delay_s, self.loss, self.rng = link.rtt_s / 2, link.loss, random.Random(1)
        self.ways = {clinic: (service, link.up_bps), service: (clinic, link.down_bps)}
        self.free_at = {clinic: 0.0, service: 0.0}
        self.queued: list[tuple[float, int, int, bytes]] = []
        self.count = 0
        self.clinic = clinic

    def run(self) -> None:
        """Take packets in, hold each until its time, hand it on."""
        while True:
            wait = max(0.0, self.queued[0][0] - time.monotonic()) if self.queued else None
            for device in select.select(list(self.ways), [], [], wait)[0]:
                self.take(device)
            while self.queued and self.queued[0][0] <= time.monotonic():
                _, _, to, packet = heapq.heappop(self.queued)
                os.write(to, packet)

    def take(self, device: int) -> None:
        """Queue what a device has sent behind what its direction still carries."""
        while True:
            try:
                packet = os.read(device, 65536)
            except BlockingIOError:
                return
            lost = device == self.clinic and self.rng.random() < self.loss
            to, rate_bps = self.ways[device]
            waiting = sum(1 for item in self.queued if item[2] == to)
            if waiting >= QUEUE_PACKETS:
                continue
            self.free_at[device] = max(self.free_at[device], time.monotonic())
            self.free_at[device] += 8 * (len(packet) + FRAME_BYTES) / rate_bps
            if not lost:
                self.count += 1
                heapq.heappush(self.queued, (self.free_at[device] + self.delay_s, self.count, to, packet))


class Service(threading.Thread):
    """The far end: its own namespace, one exam after another on each connection, an answer to each."""

    def __init__(self, shaper: str, certificate: Path) -> None:
        super().__init__(daemon=True)
        self.shaper, self.certificate = shaper, certificate
        self.ready, self.go = threading.Event(), threading.Event()
        self.device = -1
        self.error: Exception | None = None

    def run(self) -> None:
        """Enter the namespace, wait for the link, serve."""
        try:
            enter_namespace()
            self.device = open_tun("far", SERVICE) if self.shaper == "tun" else -1
        except NotPermittedError as error:
            self.error = error
        self.ready.set()
        if self.error is None:
            self.go.wait()
            self.serve()

    def serve(self) -> None:
        """Answer every exam of every connection."""
        if self.shaper == "netem":
            bring_up("far", SERVICE)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        with socket.create_server((SERVICE, PORT)) as listener:
            self.ready.set()
            while True:
                plain, _ = listener.accept()
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with context.wrap_socket(plain, server_side=True) as line, line.makefile("rb") as reader:
                    while len(head := reader.read(REQUEST_BYTES)) == REQUEST_BYTES:
                        reader.read(int(head))
                        line.sendall(b"a" * ANSWER_BYTES)


def make_certificate(folder: Path) -> Path:
    """Make a key and a chain of two RSA certificates, about the size of a public one."""
    names = ",".join(f"DNS:exam-service-{index}.example.org" for index in range(12))
    parts = []
    for name in ("service", "issuer"):
        key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
        words = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            f"/CN={name}",
        ]
        words += ["-keyout", str(key), "-out", str(certificate), "-addext", f"subjectAltName={names}"]
        subprocess.run(words, check=True, capture_output=True)
        parts += [key.read_text()] * (name == "service") + [certificate.read_text()]
    chain = folder / "chain.pem"
    chain.write_text("".join(parts))
    return chain


def shape(link: Link, shaper: str, service: Service) -> None:
    """Lay the link between this thread's namespace and the service's."""
    Path("/proc/sys/net/ipv4/tcp_no_metrics_save").write_text(
        "1"
    )  # a fresh connection knows nothing of the last
    if shaper == "tun":
        Pump(link, open_tun("near", CLINIC), service.device).start()
        return
    run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(service.native_id))
    bring_up("near", CLINIC)
    delay = ["netem", "limit", str(QUEUE_PACKETS), "delay", f"{link.rtt_s * 5e5:.0f}us"]
    loss = ["loss", f"{100 * link.loss}%"] if link.loss else []
    run("tc", "qdisc", "add", "dev", "near", "root", *delay, *loss, "rate", f"{link.up_bps:.0f}bit")
    into = ["nsenter", f"--net=/proc/{os.getpid()}/task/{service.native_id}/ns/net"]
    run(*into, "tc", "qdisc", "add", "dev", "far", "root", *delay, "rate", f"{link.down_bps:.0f}bit")


def find_neighbour(link: Link) -> None:
    """Have the veth's ends know each other's address before the first exam, as a modem and its mast do."""
    with socket.socket(type=socket.SOCK_DGRAM) as any_line:
        any_line.sendto(b"", (SERVICE, PORT))
        time.sleep(2 * link.rtt_s)


def send_exams(n_bytes: int, *, times: int, congestion: str) -> list[float]:
    """Send one exam ``times`` over on one connection; the first time holds the connection's setup."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    exam = f"{n_bytes:<{REQUEST_BYTES}}".encode() + os.urandom(n_bytes)
    taken = []
    plain = socket.socket()
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion.encode())
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    started = time.monotonic()
    plain.connect((SERVICE, PORT))
    with context.wrap_socket(plain) as line, line.makefile("rb") as reader:
        for _ in range(times):
            line.sendall(exam)
            reader.read(ANSWER_BYTES)
            ended = time.monotonic()
            taken.append(ended - started)
            started = ended
    return taken


def measure(args: argparse.Namespace) -> list[dict[str, object]]:
    """Time every size on one link, in this namespace."""
    link = Link.parse(args.link[0])
    with tempfile.TemporaryDirectory() as folder:
        service = Service(args.shaper, make_certificate(Path(folder)))
        service.start()
        service.ready.wait()
        if service.error is not None:
            raise service.error
        shape(link, args.shaper, service)
        service.ready.clear()
        service.go.set()
        service.ready.wait()
        find_neighbour(link)
        rows = []
        for n_bytes in args.bytes:
            taken = [send_exams(n_bytes, times=3, congestion=args.congestion) for _ in range(args.repeats)]
            for kind, time_of in (("fresh", 0), ("kept alive", 2)):
                measured_s = statistics.median(times[time_of] for times in taken)
                rows.append(row(link, n_bytes, kind, measured_s, args))
    return rows


def row(
    link: Link, n_bytes: int, kind: str, measured_s: float, args: argparse.Namespace
) -> dict[str, object]:
    """Set one measurement beside its prediction."""
    predicted_s = float(seconds(link, n_bytes, fresh=kind == "fresh"))
    how = {"link": str(link), "shaper": args.shaper, "congestion": args.congestion}
    times = {"predicted_s": round(predicted_s, 3), "measured_s": round(measured_s, 3)}
    error = {"error": round(predicted_s / measured_s - 1, 4)}
    return how | {"bytes": n_bytes, "connection": kind} | times | error


def measure_apart(args: argparse.Namespace, link: str) -> list[dict[str, object]]:
    """Run this program again inside a fresh network namespace for one link."""
    unshare = shutil.which("unshare")
    if unshare is None or shutil.which("ip") is None or not sys.platform.startswith("linux"):
        raise NotPermittedError("needs Linux with the commands ip and unshare")
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    words = [unshare, *user, "--net", sys.executable, __file__, "--link", link, "--shaper", args.shaper]
    words += ["--repeats", str(args.repeats), "--congestion", args.congestion]
    words += [word for n_bytes in args.bytes for word in ("--bytes", str(n_bytes))]
    done = subprocess.run(words, env=os.environ | {INSIDE: "1"}, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or "no reason given").splitlines()[-1]
        if done.returncode == NOT_PERMITTED or last.startswith("unshare:"):
            raise NotPermittedError(last.removeprefix("not permitted: "))
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def main() -> None:
    """Measure every link and print a Markdown table, or JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--link", action="append")
    parser.add_argument("--bytes", action="append", type=lambda text: int(float(text.replace("k", "e3"))))
    parser.add_argument("--shaper", choices=("netem", "tun"), default="tun")
    parser.add_argument("--congestion", default="cubic", help="the sender's congestion control")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    args.bytes = args.bytes or [4_000, 15_000, 60_000, 300_000]
    try:
        if os.environ.get(INSIDE):
            print(json.dumps(measure(args)))
            return
        rows = [one for link in args.link or ["gprs", "3g", "vsat"] for one in measure_apart(args, link)]
    except NotPermittedError as error:
        print(f"not permitted: {error}", file=sys.stderr)
        raise SystemExit(NOT_PERMITTED) from error
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    print("| link | bytes | connection | predicted | measured | error |\n|---|---|---|---|---|---|")
    for one in rows:
        times = f"{one['predicted_s']:.2f} s | {one['measured_s']:.2f} s | {100 * one['error']:+.1f} %"
        print(f"| {one['link']} | {one['bytes']:,} | {one['connection']} | {times} |")


if __name__ == "__main__":
    main()
