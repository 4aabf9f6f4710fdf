"""``bitdose serve``: the cloud service; ``bitdose serve init`` creates its first admin."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitdose.errors import BitdoseError, MissingBackendError, UsageError

if TYPE_CHECKING:
    from bitdose.service.settings import Settings

NEEDED = ("alembic", "argon2", "fastapi", "prometheus_client", "sqlalchemy", "uvicorn")

_LOCAL = ("127.0.0.1", "::1", "localhost")
_LONGEST_LINE = 4096
_MOST_FILES = 65_536

app = typer.Typer(rich_markup_mode=None)

Config = Annotated[
    Path | None, typer.Option(help="TOML file of settings; BITDOSE_* variables and options take precedence.")
]
Data = Annotated[Path | None, typer.Option(help="Folder of database and exams. [default: bitdose-data]")]
Database = Annotated[
    str | None, typer.Option(help="sqlite:///FILE or postgresql://...; best as BITDOSE_DATABASE.")
]


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    model: Annotated[str | None, typer.Option(help="Classifier, as 'bitdose study' takes it.")] = None,
    weights: Annotated[str | None, typer.Option(help="Its state_dict, where --model needs one.")] = None,
    profile: Annotated[
        str | None, typer.Option(help="Profile to enforce, written by 'bitdose decide'.")
    ] = None,
    trust: Annotated[
        list[str] | None,
        typer.Option(help="Only accept profiles signed by this public key; repeatable."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 takes a free one.")
    ] = 8000,
    certfile: Annotated[Path | None, typer.Option(help="HTTPS certificate chain (PEM).")] = None,
    keyfile: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
    public_url: Annotated[
        str | None, typer.Option(help="Public address of the service. [default: from --host and --port]")
    ] = None,
    data: Data = None,
    database: Database = None,
    storage: Annotated[str | None, typer.Option(help="Folder or URL (s3://...) of the exams' bytes.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Classifier processes or actors; 0 for none. [default: 1]")
    ] = None,
    workers_on: Annotated[
        str | None, typer.Option(help="processes, ray (started here) or ray:ADDRESS. [default: processes]")
    ] = None,
    retention_days: Annotated[
        float | None, typer.Option(help="Days until an exam is deleted; 0 keeps.")
    ] = None,
    sentinel_share: Annotated[
        float | None, typer.Option(help="Share of exams to compare with their pristine image, 0 to 1.")
    ] = None,
    config: Config = None,
) -> None:
    """Receive exams from clinics, classify them, show the predictions. Research use only.

    Example: bitdose serve --model net.onnx --profile profile.json --certfile site.pem --keyfile site.key
    """
    if context.invoked_subcommand is not None:
        return
    _check_extra()
    scheme = "https" if certfile else "http"
    settings = _settings(
        config,
        default_url=f"{scheme}://{_in_url(host)}:{port}",
        model=model,
        weights=weights,
        profile=profile,
        trust=trust or None,
        public_url=public_url,
        data=data,
        database=database,
        storage=storage,
        workers=workers,
        workers_on=workers_on,
        retention_days=retention_days,
        sentinel_share=sentinel_share,
    )
    check_call(settings, host=host, certfile=certfile, keyfile=keyfile)
    _run(settings, host=host, port=port, certfile=certfile, keyfile=keyfile)


@app.command("init")
def init(
    name: Annotated[str, typer.Option(help="The admin's name.")] = "admin",
    data: Data = None,
    database: Database = None,
    config: Config = None,
) -> None:
    """Create the first admin; the password is prompted for, or read from the first line of stdin.

    Example: bitdose serve init --name admin
    """
    _check_extra()
    from bitdose.service.accounts.accounts import add_account
    from bitdose.service.clock import now
    from bitdose.service.db.database import make_engine, sessions
    from bitdose.service.db.migrate import upgrade
    from bitdose.wire import Role

    settings = _settings(config, data=data, database=database)
    engine = make_engine(settings.database_url)
    upgrade(engine)
    password = _ask_password()
    with sessions(engine).begin() as session:
        _refuse_second(session)
        add_account(session, name=name, role=Role.ADMIN, password=password, now=now())
    typer.echo(f"admin {name.lower()!r} can log in; create the other accounts on the admin page")


def check_call(settings: Settings, *, host: str, certfile: Path | None, keyfile: Path | None) -> None:
    """Reject settings of a service that could not classify, or would send passwords unencrypted.

    Raises
    ------
    UsageError
        With the option that is missing.
    """
    if settings.ray_address is not None:
        from bitdose.service.exams.ray_workers import load_ray

        load_ray()
    if not settings.model:
        raise UsageError("--model: expected a classifier; 'bitdose serve --model phantom' tries it out")
    if bool(certfile) != bool(keyfile):
        raise UsageError("--certfile and --keyfile: expected both or none")
    for option, path in (("--certfile", certfile), ("--keyfile", keyfile)):
        if path and not path.is_file():
            raise UsageError(f"{option} {str(path)!r}: there is no such file")
    if certfile and not settings.secure_cookies:
        raise UsageError("--public-url: expected https://..., for --certfile is given")
    if host not in _LOCAL and not settings.secure_cookies:
        raise UsageError(
            f"--host {host}: expected --certfile and --keyfile, or --public-url https://... behind a proxy "
            "that ends HTTPS; without it passwords and exams would travel in the clear"
        )


def _check_extra() -> None:
    for name in NEEDED:
        try:
            import_module(name)
        except ImportError as error:
            raise MissingBackendError(
                f"serve needs {name}: pip install 'bitdose[serve]' ({error})"
            ) from error


def _settings(config: Path | None, *, default_url: str = "", **options: Any) -> Settings:
    from bitdose.service.settings import Settings, load_settings

    settings = load_settings(config, environ=os.environ, **options)
    if default_url and settings.public_url == Settings.public_url:
        settings = load_settings(config, environ=os.environ, **options | {"public_url": default_url})
    return settings


def _run(settings: Settings, *, host: str, port: int, certfile: Path | None, keyfile: Path | None) -> None:
    import uvicorn

    from bitdose.html_card import DISCLAIMER
    from bitdose.service.http.app import create_app

    _raise_file_limit()
    with _bound(host, port) as listening:
        app = create_app(settings, start_workers=True)
        config = uvicorn.Config(
            app,
            ssl_certfile=str(certfile) if certfile else None,
            ssl_keyfile=str(keyfile) if keyfile else None,
            log_level="warning",
            access_log=False,  # a path may contain what the audit omits
            proxy_headers=False,  # the app believes the trusted proxies only
            server_header=False,
            timeout_graceful_shutdown=10,
            timeout_keep_alive=round(settings.keep_alive_seconds),
        )
        try:
            config.load()
        except OSError as error:  # ssl.SSLError is one
            raise UsageError(
                f"--certfile, --keyfile: {error.strerror or error}; expected PEM files"
            ) from error
        where = f"{host} port {listening.getsockname()[1]}"
        typer.echo(f"serving {settings.public_url} on {where}; Ctrl-C stops it. {DISCLAIMER}", err=True)
        with contextlib.suppress(KeyboardInterrupt):  # re-raised by uvicorn after an orderly shutdown
            uvicorn.Server(config).run(sockets=[listening])


def _raise_file_limit() -> None:
    """Raise the limit of open files, usually 1024, for keep-alive connections."""
    try:
        import resource
    except ImportError:  # not on this system
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, _MOST_FILES)), hard))


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise BitdoseError(f"cannot listen on {host} port {port}: {error.strerror}") from error


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _ask_password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline(_LONGEST_LINE).rstrip("\r\n")
    password = getpass.getpass("password: ")
    if getpass.getpass("once more: ") != password:
        raise UsageError("password: the two differ")
    return password


def _refuse_second(session: Any) -> None:
    from sqlalchemy import select

    from bitdose.service.db.tables import AccountRow
    from bitdose.wire import Role

    if session.scalar(select(AccountRow.name).where(AccountRow.role == Role.ADMIN.value).limit(1)):
        raise UsageError("serve init: an admin exists already; create others on the admin page")
