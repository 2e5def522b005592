"""The demo's acts with the daemons on the server and the router: keys, files, start, death."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lab import demo_files
from lab.topology import HOST4
from lab.transfer import SlowDownload, sha256

if TYPE_CHECKING:
    from lab.demo_scene import Scene

PASSWORD: Final = "correct horse battery staple"
NEW_KEY: Final = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
MORE: Final = 128 << 10  # octets that show that a download goes on


def server(scene: Scene) -> None:
    """Keys, certificate, a user, configuration and start of the lease server."""
    stage, screen, checks = scene.stage, scene.screen, scene.checks
    screen.step("Keys for server and router, a certificate, a user, and the lease server")
    home = stage.directory
    for host in ("server", "router"):
        said = stage.enter(host, "dstmctl", "keygen", demo_files.secret_key(home, host))
        screen.check(f"{host} has a key pair; the public half goes to the other", not said.code)
    names = ["-subj", "/CN=leases1", "-addext", f"subjectAltName=IP:{demo_files.SERVER6}"]
    files = ["-keyout", f"{home}/tsp.key", "-out", f"{home}/tsp.pem"]
    said = stage.enter("server", "openssl", *NEW_KEY.split(), *names, *files)
    screen.check("the server has a certificate for TLS", not said.code)
    password = home / "password"
    password.write_text(f"{PASSWORD}\n")
    password.chmod(0o600)
    add = f"dstmctl tsp-user add {demo_files.USER} --file {home}/users --password-stdin"
    said = stage.enter("server", "sh", "-c", f"{add} <{password}")
    screen.check(f"it knows user {demo_files.USER}", not said.code)
    text = demo_files.server_toml(home, checks.public_key("router"))
    checks.configure("server", text)
    start_server(scene)


def start_server(scene: Scene) -> None:
    """Start dstm-server, for the first time or again."""
    stage, file = scene.stage, scene.stage.directory / "server.toml"
    stage.start("dstm-server", "server", "dstm-server", "run", "--config", file)
    scene.checks.wait(lambda: bool(stage.ask("server", "status")), "dstm-server answers")


def router(scene: Scene) -> None:
    """Configuration and start of the router."""
    stage, screen, checks = scene.stage, scene.screen, scene.checks
    screen.step("The router takes tunnel packets off its ports, the kernel keeps the rest")
    text = demo_files.router_toml(stage.directory, checks.public_key("server"))
    file = checks.configure("router", text)
    screen.show(text)
    stage.start("dstm-router", "router", "dstm-router", "run", "--config", file)
    checks.wait(
        lambda: _followed(scene) != "", "dstm-router forwards and follows the server, encrypted"
    )
    for port in stage.ask("router", "ports")["ports"]:
        modes = ", ".join(queue["mode"] for queue in port["queues"])
        screen.check(f"{port['name']} is open: {modes}", bool(modes))
    stage.note_traces()


def _followed(scene: Scene) -> str:
    """Which run of the server the router follows; empty if none."""
    (feed,) = scene.stage.ask("router", "status")["feeds"]
    return str(feed["epoch"]) if feed["phase"] == "following" else ""


def server_dies(scene: Scene) -> None:
    """The server is killed and started again while somebody downloads."""
    stage, screen, checks = scene.stage, scene.screen, scene.checks
    screen.step("The server is killed in the middle of a download")
    leased, followed = scene.leased(), _followed(scene)
    url = f"http://{HOST4}:8080/file"
    with SlowDownload(stage["client1"], url) as download:
        screen.command("client1", download.command, background=True)
        checks.wait(lambda: download.received > MORE, "the download has begun")
        stage.kill("dstm-server")
        before = download.received
        checks.wait(
            lambda: download.received > before + MORE, "it goes on, the router needs no server"
        )
        screen.check("the router has every binding", scene.bound() == leased)
        start_server(scene)
        checks.wait(
            lambda: _followed(scene) not in {"", followed}, "the router follows the new server"
        )
        screen.check("the server has every lease", scene.leased() == leased)
        screen.check("the router still has every binding", scene.bound() == leased)
        screen.check("the download is not over yet", not download.complete)
        same = download.finish() == sha256(stage.directory / "www/file")
    screen.check("the file came unchanged, sha256 as served", same)
    stage.note_traces()
