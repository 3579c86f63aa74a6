"""The certificate of a platform that speaks HTTPS, and how its own programs believe it."""

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from cryptography import x509

from edge_api.certificate import Certificate
from infra.launcher import certificate
from infra.launcher.certificate import development_certificate, edge_certificate
from infra.launcher.failure import Failure
from infra.launcher.state import State
from infra.pinning import pinned
from tests.infra.conftest import Launcher
from tests.infra.test_up import free_port
from tests.support.certificates import Authority
from tests.support.serving import serving

pytestmark = pytest.mark.servers
NO_SERVICES = [f"--without={name}" for name in ("users", "catalog", "orders", "payments")]


def test_a_development_certificate_is_made_once_for_this_machine_and_its_key_for_its_owner(state: State) -> None:
    made = development_certificate(state)
    made.check()
    found = x509.load_pem_x509_certificate(made.chain.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert found.not_valid_after_utc < datetime.now(UTC) + timedelta(days=398)
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert stat.S_IMODE(made.key.stat().st_mode) == 0o600
    before = made.chain.read_bytes(), made.key.read_bytes()
    again = development_certificate(state)
    assert (again.chain.read_bytes(), again.key.read_bytes()) == before


def test_it_is_made_anew_when_it_is_about_to_end_or_spoilt(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    first = development_certificate(state).chain.read_bytes()
    monkeypatch.setattr(certificate, "_RENEWED_BEFORE", certificate._LASTS)
    second = development_certificate(state).chain.read_bytes()
    monkeypatch.undo()
    (state.folder / "tls" / "key.pem").write_text("spoilt")
    made = development_certificate(state)
    assert len({first, second, made.chain.read_bytes()}) == 3
    made.check()


def test_the_operator_s_files_come_first_wherever_the_edge_runs(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert edge_certificate(state, https=False) is None
    theirs = Certificate(*Authority(tmp_path).certify("shop"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEDGEROW_TLS_CERTIFICATE", theirs.chain.name)
    monkeypatch.setenv("HEDGEROW_TLS_KEY", theirs.key.name)
    assert edge_certificate(state, https=False) == edge_certificate(state, https=True) == theirs
    theirs.key.write_text("spoilt")
    with pytest.raises(Failure, match="HEDGEROW_TLS_CERTIFICATE and HEDGEROW_TLS_KEY can't be used"):
        edge_certificate(state, https=True)
    assert not (state.folder / "tls").exists()


async def test_one_certificate_is_believed_whatever_it_names_and_no_other(state: State, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    signed, other = Certificate(*authority.certify("shop")), Certificate(*authority.certify("other"))
    for shown, believed in ((development_certificate(state), True), (signed, True), (signed, False)):
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(shown.chain, shown.key)
        async with serving(_nothing, tls=tls) as url:
            assert await reaches(url.replace("127.0.0.1", "localhost"), shown if believed else other) is believed
            assert not await reaches(url, None)
    assert pinned(None) is pinned("") is True


async def reaches(url: str, believed: Certificate | None) -> bool:
    """Whether a client that believes this certificate gets an answer."""
    verify = pinned(str(believed.chain) if believed else None)
    async with httpx.AsyncClient(verify=verify, trust_env=False) as client:
        try:
            return (await client.get(url)).is_success
        except httpx.ConnectError as error:
            return "CERTIFICATE_VERIFY_FAILED" not in str(error)


async def _nothing(request: web.Request) -> web.Response:
    return web.Response()


def test_up_with_https_is_ready_and_told_of_at_its_https_address(
    launcher: Launcher, given: dict[str, str], state: State
) -> None:
    port = free_port()
    up = launcher("up", "--detach", "--https", *NO_SERVICES, HEDGEROW_PORT=port, **given)
    assert (up.returncode, up.stderr) == (0, "")
    runtime, shown = state.read("runtime.json"), str(state.folder / "tls" / "certificate.pem")
    assert (runtime["edge"], runtime["certificate"]) == (f"https://127.0.0.1:{port}", shown)
    assert f"https://127.0.0.1:{port}/openapi.json" in up.stdout
    assert "tls/certificate.pem (made for this machine)" in up.stdout
    with httpx.Client(base_url=runtime["edge"], verify=pinned(shown), trust_env=False) as client:
        for address, is_strict in (("", True), (f"https://localhost:{port}", False)):
            answer = client.get(f"{address}/healthz")
            assert (answer.status_code, "strict-transport-security" in answer.headers) == (200, is_strict)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False)
    demo = launcher("demo")
    assert "POST /users said 404" in demo.stderr, "it reached an edge that has no services"
    assert launcher("down").returncode == 0
