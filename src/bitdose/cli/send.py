"""``bitdose send``: uploader, DICOM node and queue of the clinic."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from bitdose.errors import BitdoseError, MissingBackendError, UsageError

if TYPE_CHECKING:
    import httpx

    from bitdose.cli.send_output import SendOutput
    from bitdose.client.sending.connection import Server
    from bitdose.client.sending.intake import Intake, Watched
    from bitdose.client.sending.outbox import Outbox
    from bitdose.codecs.point import Point
    from bitdose.links import Link

_DEFAULT = "files"
_EXTRA = ("httpx", "pydantic")
_LOCK_S = 2.0
_THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")

Files = Annotated[
    list[Path] | None, typer.Argument(metavar="FILES", help="Images, DICOM files, or folders of them.")
]
Url = Annotated[str, typer.Option("--server", help="Address of the service: https://….")]
TokenFile = Annotated[
    Path | None, typer.Option(help="File with the API token. [default: the variable BITDOSE_TOKEN]")
]
CaFile = Annotated[Path | None, typer.Option(help="Trusted certificates (PEM) in place of the default ones.")]
ProfileFile = Annotated[Path | None, typer.Option("--profile", help="[default: the service's active one]")]
Folder = Annotated[
    Path | None, typer.Option("--outbox", help="Folder of the queue. [default: in your data folder]")
]
LinkText = Annotated[
    str | None, typer.Option("--link", help="Link for expected times: gprs, 3g, …, or up=44k,rtt=750ms.")
]
Share = Annotated[
    float | None,
    typer.Option("--sentinel", help="Share also sent pristine, when idle. [default: the service's]"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one line per event.")]


class _FilesGroup(TyperGroup):
    """A group whose first argument may be a file, with ``files`` as the default command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the name of the default command."""
        first = args[0] if args else ""
        if first and first not in self.commands and first not in ctx.help_option_names:
            args = [_DEFAULT, *args]
        return list(super().parse_args(ctx, args))


app = typer.Typer(cls=_FilesGroup, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def send(context: typer.Context) -> None:
    """Send exams to the service at the certified point; "bitdose send FILES" is "bitdose send files FILES".

    Exams are coded locally, queued on disk, and resumed at the last byte after a lost connection or a power
    cut. Only the coded pixels leave the clinic, under a random pseudonym.

    Example: bitdose send xray.dcm --server https://exams.example.org --token-file token --link gprs
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


@app.command("files")
def send_files(
    server: Url,
    files: Files = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    profile: ProfileFile = None,
    outbox: Folder = None,
    watch: Annotated[bool, typer.Option("--watch", help="Watch the folder FILES until Ctrl-C.")] = False,
    link: LinkText = None,
    sentinel: Share = None,
    idle: Annotated[
        bool, typer.Option("--all", help="Also send the sentinel's pristine images before exiting.")
    ] = False,
    patience: Annotated[float, typer.Option(min=0, help="Timeout without progress, in seconds.")] = 600,
    as_json: AsJson = False,
) -> None:
    """Send files or a watched folder, and print the predictions; without FILES, send the queue.

    Example: bitdose send incoming --watch --server https://exams.example.org --token-file token
    """
    _need_extra()
    if watch and (len(files or []) != 1 or not (files or [Path()])[0].is_dir()):
        raise UsageError("--watch: expected one folder as FILES")
    given = [] if watch else files or []
    with _clinic(server, token_file, ca_file, profile, outbox, link, sentinel, as_json, given) as clinic:
        from bitdose.client.sending.intake import Watched

        watched = Watched((files or [])[0], clinic.outbox) if watch else None
        for path in clinic.paths:
            clinic.take(path)
        if not clinic.empty(idle=idle, patience_s=patience, watched=watched):
            return
        clinic.teller.close(clinic.outbox, clinic.server.name)
    if clinic.teller.failures:
        raise typer.Exit(1)


@app.command("listen")
def send_listen(
    server: Url,
    port: Annotated[int, typer.Option(help="TCP port.")] = 11112,
    aet: Annotated[str, typer.Option(help="Application entity title of this node.")] = "BITDOSE",
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 for all.")] = "127.0.0.1",
    caller: Annotated[list[str] | None, typer.Option(help="Allowed calling title; repeatable.")] = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    profile: ProfileFile = None,
    outbox: Folder = None,
    link: LinkText = None,
    sentinel: Share = None,
    as_json: AsJson = False,
) -> None:
    """Receive DICOM objects from a modality or an archive by C-STORE and send them, until Ctrl-C.

    Example: bitdose send listen --server https://exams.example.org --token-file token --host 0.0.0.0
    """
    _need_extra()
    from bitdose.client.dicom_node.listen import Node, listening

    node = Node(aet, host, port, tuple(caller or ()))
    with _clinic(server, token_file, ca_file, profile, outbox, link, sentinel, as_json) as clinic:
        teller = clinic.teller
        heard = listening(node, clinic.intake, on_taken=teller.taken, on_refused=teller.refused_here)
        with heard as taken_port:
            teller.say(f"listening as {aet} at {host}:{taken_port}", {"event": "listening"})
            clinic.empty(forever=True)


@app.command("push")
def send_push(
    files: Annotated[list[Path], typer.Argument(metavar="FILES", help="DICOM files, or folders of them.")],
    stow: Annotated[str, typer.Option(help="Root of the archive's DICOMweb: https://…/dicom-web.")],
    point: Annotated[str | None, typer.Option(help="Code at this point first: jpeg2000:20x, …")] = None,
    profile: Annotated[
        Path | None, typer.Option(help="Code at the profile's point first, within its limits.")
    ] = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    outbox: Annotated[
        Path | None, typer.Option(help="Folder of the pseudonyms. [default: in your data folder]")
    ] = None,
    identified: Annotated[
        bool, typer.Option("--identified", help="Keep the patient's identity, for an archive of your own.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Push DICOM objects to an archive by DICOMweb STOW-RS: de-identified, optionally coded.

    Example: bitdose send push series --stow https://archive.example.org/dicom-web --profile profile.json
    """
    _need_extra()
    from bitdose.cli.send_output import SendOutput
    from bitdose.client.deidentify.pseudonyms import Pseudonyms
    from bitdose.client.dicom_node.push import Pusher
    from bitdose.client.sending.connection import Server, connect, read_token
    from bitdose.client.sending.intake import files_of

    chosen, check = _coding(point, profile)
    teller = SendOutput(as_json=as_json)
    token = read_token(token_file) if token_file else ""
    names = None if identified else Pseudonyms(_folder(outbox))
    with connect(Server(stow, token, ca_file)) as client:
        pusher = Pusher(client, point=chosen, check=check, pseudonyms=names)
        for path in files_of(files):
            teller.pushed(path.name, pusher.push, path)
    teller.close_pushed()
    if teller.failures:
        raise typer.Exit(1)


@app.command("status")
def send_status(outbox: Folder = None, as_json: AsJson = False) -> None:
    """List the queue: waiting exams, sent exams, and predictions.

    Example: bitdose send status
    """
    _need_extra()
    from bitdose.cli.send_output import status_lines, status_rows
    from bitdose.client.sending.outbox import Outbox

    items = Outbox(_folder(outbox)).items()
    if as_json:
        typer.echo(json.dumps(status_rows(items), indent=2))
        return
    for line in status_lines(items):
        typer.echo(line)


@app.command("who")
def send_who(
    pseudonym: Annotated[str, typer.Argument(help="As the service shows it.")], outbox: Folder = None
) -> None:
    """Print the patient behind a pseudonym of this clinic; the service cannot.

    Example: bitdose send who 4f0c2a9be1d37755
    """
    _need_extra()
    from bitdose.client.deidentify.pseudonyms import Pseudonyms

    patient = Pseudonyms(_folder(outbox)).who(pseudonym)
    if patient is None:
        raise UsageError(f"pseudonym {pseudonym!r}: unknown at this clinic")
    named = [patient.patient_id, patient.name, patient.birth_date]
    typer.echo(
        "  ".join(filter(None, named)) or "a file that names no patient; 'bitdose send status' lists it"
    )


def _need_extra() -> None:
    """Check for missing packages before they are imported; name the install command."""
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        raise MissingBackendError(f"sending needs {', '.join(missing)}: pip install 'bitdose[send]'")


@dataclass
class _Clinic:
    """State of one call: queue, connection, and output."""

    outbox: Outbox
    folder: Path
    server: Server
    client: httpx.Client
    intake: Intake
    teller: SendOutput
    paths: list[Path]

    def take(self, path: Path) -> None:
        """Queue a file; print the outcome."""
        from bitdose.client.sending.intake import Taken
        from bitdose.data.folder import plain_text
        from bitdose.errors import CaseError

        try:
            taken: Taken = self.intake.add_file(path)
        except CaseError as error:
            self.teller.refused_here(f"{plain_text(path.name)}: {error}")
        else:
            self.teller.taken(taken)

    def empty(
        self,
        *,
        idle: bool = False,
        patience_s: float = 0.0,
        forever: bool = False,
        watched: Watched | None = None,
    ) -> bool:
        """Send the queue; False if another process is doing so."""
        from bitdose.client.sending.send import Sender

        def look() -> None:
            for path in watched.settled() if watched else []:
                self.take(path)
                watched.done(path) if watched else None

        forever = forever or watched is not None
        lock = self._lock()
        if lock is None:
            text = "another 'bitdose send' is emptying the queue, and will send these too"
            self.teller.say(text, {"event": "queued"})
        while lock is None:
            if not forever:
                return False
            look()
            time.sleep(_LOCK_S)
            lock = self._lock()
        with lock:
            sender = Sender(self.outbox, self.server, self.client, say=self.teller.heard)
            sender.run(idle=idle, forever=forever, patience_s=patience_s, take_in=look if forever else None)
        return True

    def _lock(self) -> IO[str] | None:
        from bitdose.lock import lock_folder

        try:
            return lock_folder(self.folder, writer="another sender")
        except UsageError:
            return None


@contextmanager
def _clinic(
    url: str,
    token_file: Path | None,
    ca_file: Path | None,
    profile: Path | None,
    outbox: Path | None,
    link: str | None,
    sentinel: float | None,
    as_json: bool,
    given: Sequence[Path] = (),
) -> Iterator[_Clinic]:
    _stay_small()
    from bitdose.client.sending.connection import Server, connect, read_token
    from bitdose.client.sending.profile_source import ProfileRequest, profile_of_file

    if sentinel is not None and not 0 <= sentinel <= 1:
        raise UsageError(f"--sentinel {sentinel:g}: expected a share from 0 to 1")
    server, folder, told = Server(url, read_token(token_file), ca_file), _folder(outbox), _link(link)
    with connect(server) as client:
        # Network latency and the loading of codecs overlap.
        asked = None if profile else ProfileRequest(client, folder, server.name)
        from bitdose.cli.send_output import SendOutput
        from bitdose.client.deidentify.pseudonyms import Pseudonyms
        from bitdose.client.sending.intake import Intake, files_of, warm
        from bitdose.client.sending.outbox import Outbox

        paths = files_of(list(given))
        warm(paths)
        found = asked.result() if asked else profile_of_file(profile or Path())
        teller, queue = SendOutput(link=told, as_json=as_json), Outbox(folder)
        for warning in found.warnings:
            teller.warn(warning)
        share = found.sentinel_share if sentinel is None else sentinel
        names = Pseudonyms(folder)
        intake = Intake(queue, names, found.profile, server=server.name, sentinel_share=share)
        yield _Clinic(queue, folder, server, client, intake, teller, paths)


def _stay_small() -> None:
    """Let memory depend on the exams alone, whatever the number of cores; called before numpy is loaded."""
    from bitdose.malloc import give_back_freed_memory

    for variable in _THREAD_VARIABLES:
        os.environ.setdefault(variable, "1")
    give_back_freed_memory()


def _link(text: str | None) -> Link | None:
    from bitdose.links import Link

    return Link.parse(text) if text else None


def _folder(outbox: Path | None) -> Path:
    from bitdose.client.data_dir import default_folder, open_folder

    return open_folder(outbox or default_folder())


def _coding(point: str | None, profile: Path | None) -> tuple[Point | None, Any]:
    from bitdose.client.sending.profile_source import profile_of_file
    from bitdose.codecs.point import Point
    from bitdose.compress.limits import limit_check

    if point and profile:
        raise UsageError("--point, --profile: expected one of them, got both")
    if profile:
        found = profile_of_file(profile).profile
        return Point.parse(found.point), limit_check(found.limits)
    if point == "pristine":
        raise BitdoseError("--point 'pristine': leave --point out to push as it is")
    return (Point.parse(point) if point else None), None
