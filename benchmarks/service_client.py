"""The light client of ``service.py``: many clinics in one process, HTTP/1.1 written by hand.

Each clinic keeps one connection and does what ``bitdose send`` does with a small exam: POST it with its
bytes, then GET its answer and let the service hold that back until it is there. Headers are those of
``bitdose send``; requests are written before the clock runs.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import secrets
import time
from typing import Any, NamedTuple

from bitdose.client.sending.send import SMALL_BYTES
from bitdose.wire import EXAM_HEADER, EXAMS, TUS_VERSION, UPLOADS

ENDS = ("answered", "refused", "failed")


class Answered(NamedTuple):
    """One exam: its id, seconds from last byte to answer, the answer, bytes at the socket each way."""

    exam: str
    sha256: str
    seconds: float
    answer: str
    up: int
    down: int
    payload: int


class Request(NamedTuple):
    """An exam ready to go: the whole POST, and the header that its GET needs too."""

    post: bytes
    shared: str
    sha256: str
    payload: int


def plan(tokens: list[str], exams: list[Any], each: int) -> list[list[Request]]:
    """Write the requests of every clinic: ``each`` exams, every one of a patient of its own."""
    return [
        [write(token, exams[(clinic + 7 * index) % len(exams)]) for index in range(each)]
        for clinic, token in enumerate(tokens)
    ]


def write(token: str, exam: Any) -> Request:
    """Write one exam's POST."""
    if len(exam.payload) > SMALL_BYTES:
        raise SystemExit(f"a payload of {len(exam.payload)} bytes does not travel with its announcement")
    meta = exam.meta.model_copy(update={"pseudonym": secrets.token_hex(8)})
    said = base64.b64encode(meta.model_dump_json(exclude_defaults=True).encode()).decode()
    shared = (
        "Host: 127.0.0.1\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n"
        f"User-Agent: bitdose/0.1.0\r\nAuthorization: Bearer {token}\r\n"
    )
    head = f"POST {UPLOADS} HTTP/1.1\r\n{shared}Tus-Resumable: {TUS_VERSION}\r\n"
    head += f"Upload-Length: {len(exam.payload)}\r\nUpload-Metadata: exam {said}\r\n"
    head += f"Content-Type: application/offset+octet-stream\r\nContent-Length: {len(exam.payload)}\r\n\r\n"
    return Request(head.encode() + exam.payload, shared, meta.sha256, len(exam.payload))


class Line:
    """One clinic's connection; opened again where the service has closed it in a pause."""

    def __init__(self, port: int) -> None:
        self.port, self.opened = port, 0

    async def open(self) -> None:
        """Connect."""
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.opened += 1

    async def ready(self) -> None:
        """Connect anew if the other side has hung up."""
        if self.reader.at_eof():
            self.writer.close()
            await self.open()


async def drive(port: int, work: list[list[Request]], *, pause_s: float) -> tuple[list[Answered], int]:
    """Let all clinics connect, then begin at once; a mean pause of ``pause_s`` between two exams of one.

    Returns the answers and how many connections were opened.
    """
    lines = [Line(port) for _ in work]
    for line in lines:
        await line.open()
    found = await asyncio.gather(*(one(*pair, pause_s) for pair in zip(lines, work, strict=True)))
    for line in lines:
        line.writer.close()
    return [answer for answers in found for answer in answers], sum(line.opened for line in lines)


async def one(line: Line, requests: list[Request], pause_s: float) -> list[Answered]:
    """Send a clinic's exams, each once the one before is answered."""
    found = []
    if pause_s:
        await asyncio.sleep(random.uniform(0, pause_s))
    for request in requests:
        await line.ready()
        found.append(await send(line.reader, line.writer, request))
        if pause_s:
            await asyncio.sleep(random.expovariate(1 / pause_s))
    return found


async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> Answered:
    """Send one exam and wait for its answer."""
    writer.write(request.post)
    await writer.drain()
    sent = time.monotonic()
    status, headers, _, down = await receive(reader)
    exam = headers.get(EXAM_HEADER.lower(), "")
    if status != 201 or not exam:
        raise SystemExit(f"the service answers {status} to an upload")
    get = f"GET {EXAMS}/{exam}?wait=20 HTTP/1.1\r\n{request.shared}\r\n".encode()
    up, view = len(request.post), {"state": ""}
    while view["state"] not in ENDS:
        writer.write(get)
        status, _, body, n_bytes = await receive(reader)
        if status != 200:
            raise SystemExit(f"the service answers {status} to a question for an answer")
        up, down, view = up + len(get), down + n_bytes, json.loads(body)
    took = time.monotonic() - sent
    if view["state"] != "answered":
        raise SystemExit(f"an exam is {view['state']}: {view['reason']}")
    return Answered(exam, request.sha256, took, view["answer"]["predicted"], up, down, request.payload)


async def receive(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes, int]:
    """Read one response: status, headers, body, bytes in all."""
    head = await reader.readuntil(b"\r\n\r\n")
    first, *rows = head.decode("latin-1").rstrip().split("\r\n")
    headers = {key.lower(): value.strip() for key, _, value in (row.partition(":") for row in rows)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return int(first.split()[1]), headers, body, len(head) + len(body)
