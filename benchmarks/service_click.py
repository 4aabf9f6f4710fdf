"""From a click to the answer on a thin line: ``service.py click``.

The service is in a network namespace of its own behind the TUN devices of ``links.py``; between them lie
the kernel's TCP, HTTPS with a chain of two certificates, and everything that ``bitdose send`` says.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from links import CLINIC, INSIDE, PORT, SERVICE, NotPermittedError, Pump, enter_namespace, open_tun, run
from service_page import Page, chromium
from service_stage import BITDOSE, STOP_S, add_clinics, certify, serve

from bitdose.links import Link, seconds

REST_S = 10


def make_certificate(folder: Path) -> tuple[Path, Path, Path]:
    """Make an authority and a certificate of the service's address under it; returns CA, chain and key."""
    made = {name: folder / name for name in ("ca.pem", "ca.key", "site.pem", "site.key")}
    names = ",".join([f"IP:{SERVICE}", *(f"DNS:exam-service-{index}.example.org" for index in range(12))])
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    ca = ["-keyout", str(made["ca.key"]), "-out", str(made["ca.pem"]), "-subj", "/CN=authority"]
    site = ["-keyout", str(made["site.key"]), "-out", str(made["site.pem"]), "-subj", "/CN=service"]
    site += ["-CA", str(made["ca.pem"]), "-CAkey", str(made["ca.key"]), "-addext", f"subjectAltName={names}"]
    for words in (ca, [*site, "-addext", "basicConstraints=critical,CA:FALSE"]):
        subprocess.run([*new, *words], check=True, capture_output=True)
    chain = folder / "chain.pem"
    chain.write_text(made["site.pem"].read_text() + made["ca.pem"].read_text())
    return made["ca.pem"], chain, made["site.key"]


class FarEnd(threading.Thread):
    """The service in a namespace of its own, behind a TUN device."""

    def __init__(self, folder: Path, chain: Path, key: Path) -> None:
        super().__init__(daemon=True)
        self.folder, self.options = folder, ["--certfile", str(chain), "--keyfile", str(key)]
        self.device, self.error = -1, None
        self.ready, self.done = threading.Event(), threading.Event()

    def run(self) -> None:
        """Enter the namespace, serve until told to stop."""
        try:
            enter_namespace()
            run("ip", "link", "set", "lo", "up")
            self.device = open_tun("far", SERVICE)
            url = ["--public-url", f"https://{SERVICE}:{PORT}"]
            database = f"sqlite:///{self.folder}/db.sqlite"
            with serve(self.folder, database, *self.options, *url, host=SERVICE, port=PORT):
                self.ready.set()
                self.done.wait()
        except (NotPermittedError, SystemExit) as error:
            self.error = error
            self.ready.set()


def line_bytes() -> tuple[int, int]:
    """Bytes that went up and came down the line so far, IP and TCP headers included."""
    fields = next(row for row in Path("/proc/net/dev").read_text().splitlines() if "near:" in row).split()
    return int(fields[9]), int(fields[1])


class Sending:
    """An uploader that is running: its connection is open, the profile known."""

    def __init__(self, folder: Path, token: str, ca_file: Path) -> None:
        from bitdose.client.deidentify.pseudonyms import Pseudonyms
        from bitdose.client.sending.connection import Server, connect
        from bitdose.client.sending.intake import Intake
        from bitdose.client.sending.outbox import Outbox
        from bitdose.client.sending.profile_source import profile_of_service
        from bitdose.client.sending.send import Sender

        folder.mkdir(mode=0o700)
        server = Server(f"https://{SERVICE}:{PORT}", token, ca_file)
        self.client = connect(server, answer_s=900)
        self.profile = profile_of_service(self.client, folder, server.name).profile
        self.outbox, self.names = Outbox(folder), Pseudonyms(folder)
        self.intake = Intake(self.outbox, self.names, self.profile, server=server.name)
        self.sender = Sender(self.outbox, server, self.client)

    def coded(self, path: Path) -> tuple[float, int, int]:
        """Send a file; returns seconds from click to answer, and the file's and the payload's bytes."""
        began = time.monotonic()
        taken = self.intake.add_file(path)
        self.sender.run()
        took = time.monotonic() - began
        (item,) = (one for one in self.outbox.items() if one.meta.sha256 == taken.meta.sha256)
        if item.state != "answered":
            raise SystemExit(f"{path.name}: {item.state}: {item.reason}")
        return took, taken.meta.source_bytes, taken.meta.payload_bytes

    def after_a_rest(self, path: Path) -> tuple[float, int, int]:
        """Do as :meth:`coded` after a rest, in which the service may hang up; the rest is not counted."""
        time.sleep(REST_S)
        return self.coded(path)

    def pristine(self, path: Path) -> tuple[float, int, int]:
        """Send the file as it is, without its metadata, in one request; otherwise as :meth:`coded`."""
        from bitdose.client.sending.prepare import open_exam, pristine_exam
        from bitdose.client.sending.tus import announce, append
        from bitdose.wire import EXAMS, ExamView

        began = time.monotonic()
        opened = open_exam(path.read_bytes())
        exam = pristine_exam(opened, identity=self.names.identity(opened.patient), profile=self.profile.id)
        upload, n_bytes = announce(self.client, exam.meta), len(exam.payload)
        upload = append(self.client, upload, lambda at, n: exam.payload[at : at + n], end=n_bytes)
        view = ExamView.model_validate_json(
            self.client.get(f"{EXAMS}/{upload.exam}", params={"wait": 20}).content
        )
        took = time.monotonic() - began
        if view.state != "answered":
            raise SystemExit(f"{path.name}: {view.state}: {view.reason}")
        return took, exam.meta.source_bytes, n_bytes


def square(path: Path, out: Path) -> Path:
    """Write the middle square of an image as a grey PNG of 1024x1024."""
    import cv2

    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None or min(image.shape) < 1024:
        raise SystemExit(f"--image {path}: expected an image of 1024x1024 or more")
    side = min(image.shape)
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    small = cv2.resize(
        image[top : top + side, left : left + side], (1024, 1024), interpolation=cv2.INTER_AREA
    )
    cv2.imwrite(str(out), small)
    return out


def click(args: argparse.Namespace) -> None:
    """Measure in a fresh network namespace, or go there first."""
    if not os.environ.get(INSIDE):
        words = [shutil.which("unshare") or "", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
        if not words[0] or not shutil.which("ip"):
            raise NotPermittedError("needs Linux with the commands ip and unshare")
        proxies = ("http_proxy", "https_proxy", "all_proxy")
        clean = {key: value for key, value in os.environ.items() if key.lower() not in proxies}
        done = subprocess.run(
            [*words, "--net", sys.executable, *sys.argv], env=clean | {INSIDE: "1"}, check=False
        )
        raise SystemExit(done.returncode)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certify(folder)
        ca_file, chain, key = make_certificate(folder)
        (token,) = add_clinics(f"sqlite:///{folder}/db.sqlite", 1)
        far = FarEnd(folder, chain, key)
        far.start()
        far.ready.wait()
        if far.error is not None:
            raise far.error
        Path("/proc/sys/net/ipv4/tcp_no_metrics_save").write_text("1")
        Pump(Link.parse(args.link), open_tun("near", CLINIC), far.device).start()
        try:
            measure_clicks(args, folder, token, ca_file)
        finally:
            far.done.set()
            far.join(STOP_S)


def measure_clicks(args: argparse.Namespace, folder: Path, token: str, ca_file: Path) -> None:
    """Print a Markdown table: an uploader that is running, a fresh call, the pristine file."""
    drawn = sorted((folder / "phantoms").glob("*/*.png"))
    real = [square(path, folder / f"xray-{index}.png") for index, path in enumerate(args.image or [])]
    print(
        f"| what | file | payload | up | down | seconds, median (worst) | `links` says |\n{'|---' * 7}|",
        flush=True,
    )
    sending = Sending(folder / "running", token, ca_file)
    sending.coded(drawn[0])  # the worker has loaded its model now
    link = Link.parse(args.link)
    for kind, paths in (("phantom", drawn[1::20]), ("X-ray", real)):
        if not paths:
            continue
        line(link, f"{kind}, uploader running", [measured(sending.coded, path) for path in paths[:3]])
        idle = [measured(sending.after_a_rest, path) for path in paths[3:6]]
        if idle:
            line(link, f"{kind}, uploader idle for {REST_S} s", idle)
        profile = ["--profile", str(folder / "profile.json")]
        for words, more in (
            (" with `--profile`", profile),
            (", its first call", []),
            (", profile known", []),
        ):
            where = (token, ca_file, more)
            outboxes = [folder / secrets.token_hex(4) for _ in paths[:3]]
            if "known" in words:
                for index, outbox in enumerate(outboxes):
                    called(drawn[-1 - index], outbox, *where)
            fresh = [measured(called, *pair, *where) for pair in zip(paths, outboxes, strict=False)]
            line(link, f"{kind}, `bitdose send` called anew{words}", fresh)
        if args.pristine:
            line(link, f"{kind}, pristine file", [measured(sending.pristine, path) for path in paths[:1]])
    sending.client.close()
    if args.browser:
        measure_pages(args, folder, drawn, real)


def measure_pages(args: argparse.Namespace, folder: Path, drawn: list[Path], real: list[Path]) -> None:
    """Print a browser's lines: on the same line, and on loopback with network conditions of its own."""
    link, near = Link.parse(args.link), folder / "near"
    near.mkdir()
    shutil.copy(folder / "profile.json", near)
    database = f"sqlite:///{near}/db.sqlite"
    add_clinics(database, 1)
    run("ip", "link", "set", "lo", "up")
    with chromium() as started:
        if started is None:
            print("no Chromium, no Playwright or no built pages: the browser is left out", file=sys.stderr)
            return
        page = Page(started, f"https://{SERVICE}:{PORT}", "clinic-0")
        line(link, "browser, page opened with nothing kept", [measured(page.opened)])
        measure_page(args, "browser", page, drawn, real)
        with serve(near, database) as served:
            page = Page(started, f"http://127.0.0.1:{served.port}", "clinic-0", link)
            measure_page(args, "browser, shaped by itself", page, drawn, real)


def measure_page(
    args: argparse.Namespace, what: str, page: Page, drawn: list[Path], real: list[Path]
) -> None:
    """Print a browser's lines: coded, and the pristine image that follows."""
    link = Link.parse(args.link)
    page.coded(drawn[2])  # the worker has loaded its model now
    for kind, paths in (("phantom", drawn[3::20]), ("X-ray", real)):
        if not paths:
            continue
        line(link, f"{kind}, {what}, page open", [measured(page.coded, path) for path in paths[:3]])
        if args.pristine:
            line(link, f"{kind}, {what}, pristine", [measured(page.pristine, path) for path in paths[-1:]])


def called(path: Path, outbox: Path, token: str, ca_file: Path, more: list[str]) -> tuple[float, int, int]:
    """Call ``bitdose send`` as a person does: start, handshake, profile, exam, answer."""
    words = [BITDOSE, "send", str(path), "--server", f"https://{SERVICE}:{PORT}", "--ca-file", str(ca_file)]
    began = time.monotonic()
    done = subprocess.run(
        [*words, "--outbox", str(outbox), *more],
        env=os.environ | {"BITDOSE_TOKEN": token},
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.monotonic() - began
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    from bitdose.client.sending.outbox import Outbox

    item = Outbox(outbox).items()[-1]
    return took, item.meta.source_bytes, item.meta.payload_bytes


def measured(how: Any, *what: Any) -> tuple[float, ...]:
    """Time one exam, and count what it cost the line."""
    before = line_bytes()
    found = how(*what)
    return (*found, *(now - then for now, then in zip(line_bytes(), before, strict=True)))


def line(link: Link, what: str, rows: list[tuple[float, ...]]) -> None:
    """Print one line of medians."""
    took, file, payload, up, down = (statistics.median(column) for column in zip(*rows, strict=True))
    worst = max(row[0] for row in rows)
    said = float(seconds(link, payload, fresh="running" not in what and "page open," not in f"{what},"))
    bytes_ = " | ".join(f"{n:,.0f}" for n in (file, payload, up, down))
    print(f"| {what} | {bytes_} | **{took:.2f}** ({worst:.2f}, n = {len(rows)}) | {said:.2f} |", flush=True)
