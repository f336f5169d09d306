"""A key is where it is used and nowhere else, whoever says it back; what cannot be a key is refused by its variable."""

from __future__ import annotations

import base64
import gzip
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import pytest

from agents.backends.openai.address import check_url, is_loopback, proxy_of
from agents.backends.openai.client import ServerBackend
from agents.backends.secrets import holds, know, known, mask, mask_bytes
from harness.cli.main import main
from harness.config.files import parse_config
from harness.errors import ConfigurationError
from harness.play.preflight.backends import check_backends
from harness.play.preflight.keys import keys_apart, read_key
from tests.fixtures.hostile_server import Asked, HostileServer, Reply, hostile_server, said

CANARY = 'cnry-Aa1/bB2+cC3="dD4-never-to-be-seen'
VARIABLE = "WOLFSCOPE_TEST_KEY"


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with hostile_server() as made:
        yield made


def forms(secret: str) -> list[bytes]:
    """A secret as itself and as others may write it."""
    whole = base64.b64encode(f"user:{secret}".encode())
    return [secret.encode(), json.dumps(secret)[1:-1].encode(), quote(secret, safe="").encode(), whole[12:40]]


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of all files below a folder, what is packed in them unpacked."""
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        data = file.read_bytes()
        yield str(file), data
        if file.suffix == ".parquet":
            yield str(file), pl.read_parquet(file).write_ndjson().encode()
        elif file.suffix == ".gz":
            yield str(file), gzip.decompress(data)
        elif zipfile.is_zipfile(io.BytesIO(data)):
            with zipfile.ZipFile(io.BytesIO(data)) as packed:
                yield from ((f"{file}!{name}", packed.read(name)) for name in packed.namelist())


def config_of(server: HostileServer, folder: Path, **backend: Any) -> Path:
    """A configuration whose only model is behind the server."""
    settings = {"api": "chat", "give_up_s": 0.5} | backend.pop("settings", {})
    plain = {
        "run": {"games": 2, "runners": 1},
        "game": {"preset": "aiwolf-5"},
        "agents": {"m": {"kind": "llm", "backend": "s", "prompt": "chat", "retries": 1,
                         "settings": {"first_wait_s": 0.01}}},
        "backends": {"s": {"kind": "openai", "model": "tiny", "url": server.url, "api_key_env": VARIABLE,
                           "settings": settings} | backend},
        "roster": {"mix": {"m": 1}},
    }  # fmt: skip
    path = folder / "config.toml"
    path.write_text(toml(plain))
    return path


def toml(plain: dict[str, Any], prefix: str = "") -> str:
    """Nested plain data as TOML."""
    own = [f"{k} = {json.dumps(v)}" for k, v in plain.items() if not isinstance(v, dict)]
    tables = [f"\n[{prefix}{k}]\n{toml(v, f'{prefix}{k}.')}" for k, v in plain.items() if isinstance(v, dict)]
    return "\n".join([*own, *tables])


def cli(*words: str) -> int:
    """The exit status of a command."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(ended.value.code or 0)


@pytest.mark.usefixtures("ray_cluster")
def test_a_key_that_a_server_says_back_is_nowhere_in_what_a_run_an_export_and_a_report_leave(
    server: HostileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, f" {CANARY}\r\n")

    def echo(asked: Asked) -> Reply:
        key = asked.headers["Authorization"]
        assert key == f"Bearer {CANARY}"
        n = len(server.asked)
        packed = base64.b64encode(f"user:{CANARY}".encode()).decode()
        if n % 7 == 0:
            return Reply(500, {"error": {"message": f"headers: {key} {packed}"}})
        if n % 7 == 1:
            return Reply(400, {"error": {"message": f"{quote(CANARY, safe='')} and {json.dumps(key)}"}})
        if n % 7 == 2:
            return said(f"SAY: {key}", finish_reason="content_filter")
        text = (
            f"PRIVATE: it is {packed}\nSAY: They gave me {key} and {quote(CANARY, safe='')}.\nCHOICE: nobody"
        )
        return said(text, message={"reasoning_content": f"my key is {CANARY}"})

    server.answer = echo
    config, run = config_of(server, tmp_path), tmp_path / "run"
    status = cli("run", str(config), "--out", str(run), "--track", f"jsonl:{tmp_path / 'track.jsonl'}")
    assert status == 3  # most of its answers failed
    assert cli("export", str(run), "--out", str(tmp_path / "export")) == 0
    assert cli("report", str(run)) in (0, 1, 2)
    for verb, *more in (
        ("export-transcripts", tmp_path / "inspect"),
        ("export-transcripts", tmp_path / "scout", "--format", "scout"),
        ("ratings",), ("behaviour",), ("collusion",), ("competence",), ("view", "--posterior", "no"), ("check",),
        ("replay", "0", "--mode", "all"), ("watch", "--once"), ("merge", run, tmp_path / "merged"),
    ):  # fmt: skip
        assert cli(verb, str(run), *map(str, more)) in (0, 1, 2), verb
    server.answer = lambda asked: Reply(
        401, {"error": {"message": f"wrong: {asked.headers['Authorization']}"}}
    )
    assert cli("run", str(config), "--out", str(tmp_path / "second"), "--set", "run.seed=3") == 2
    out, err = capfd.readouterr()
    assert "status 401" in err
    assert "masked]" in err
    config.unlink()
    found = [("stdout", out.encode()), ("stderr", err.encode()), *contents(tmp_path)]
    assert any(b"masked]" in data for name, data in found if "decisions" in name or "journal" in name)
    leaks = {name for name, data in found for form in forms(CANARY) if form in data}
    assert leaks == set()


def test_a_key_is_stripped_or_refused_by_the_name_of_its_variable(
    server: HostileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "\ufeff plain-key-123456 \r\n")
    assert read_key("s", VARIABLE) == "plain-key-123456"
    for wrong in (
        "two words-123456",
        "“typographic-1234”",
        "line\nbreak-12345",
        "schlüssel-123456",
        "nul\x01-1234567",
    ):
        monkeypatch.setenv(VARIABLE, wrong)
        with pytest.raises(ConfigurationError, match=VARIABLE) as refused:
            read_key("s", VARIABLE)
        assert wrong not in mask(str(refused.value))
        assert wrong[4:] not in str(refused.value)
    monkeypatch.setenv(VARIABLE, "  ")
    with pytest.raises(ConfigurationError, match=f"{VARIABLE} is not set"):
        read_key("s", VARIABLE)
    with pytest.raises(ConfigurationError, match="not the key itself") as refused:
        read_key("s", "sk-abcdefgh-12345")
    assert "abcdefgh" not in str(refused.value)


def test_a_secret_among_the_settings_or_in_a_url_is_refused_before_anything_is_written(
    server: HostileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "plain-key-123456")
    for backend, says in (
        ({"settings": {"api_key": CANARY}}, "seems to be a secret"),
        (
            {"url": server.url.replace("http://", f"http://user:{quote(CANARY, safe='')}@")},
            "user name or password",
        ),
        ({"url": f"{server.url}?key=x"}, "after its path"),
    ):
        assert cli("run", str(config_of(server, tmp_path, **backend)), "--out", str(tmp_path / "run")) == 2
        err = capfd.readouterr().err
        assert says in err
        assert CANARY not in err and quote(CANARY, safe="") not in err
        assert not (tmp_path / "run").exists()


def test_keys_are_in_no_environment_that_a_process_of_the_run_inherits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import os

    monkeypatch.setenv(VARIABLE, "plain-key-123456")
    plain = {"kind": "openai", "url": "http://127.0.0.1:1/v1", "model": "m", "api_key_env": VARIABLE}
    config = parse_config(
        {
            "agents": {"m": {"kind": "llm", "backend": "s"}},
            "backends": {"s": plain},
            "roster": {"mix": {"m": 1}},
        }
    )
    with keys_apart(config.backends.values()):
        assert VARIABLE not in os.environ
        check_backends(config.backends)
        assert read_key("s", VARIABLE) == "plain-key-123456"
    assert os.environ[VARIABLE] == "plain-key-123456"


def test_short_words_and_placeholders_are_no_secrets() -> None:
    before = dict(known())
    for word in ("EMPTY", "none", "x", "no-key-required"):
        know(word, "PLACEHOLDER")
    assert known() == before
    know("a-secret-of-mine", "MINE")
    assert mask("say a-secret-of-mine!") == "say [MINE masked]!"
    assert mask_bytes(b"a-secret-of-mine") == b"[MINE masked]"
    assert holds("xa-secret-of-minex")


def test_loopback_never_goes_through_a_proxy_and_others_are_named_by_variable() -> None:
    proxies = {"HTTP_PROXY": "http://proxy.example:3128", "ALL_PROXY": "socks5://proxy.example:1080"}
    for host in ("127.0.0.1:8000", "localhost", "[::1]:80", "127.9.9.9", "0.0.0.0:1", "x.localhost"):
        assert proxy_of(f"http://{host}/v1", proxies) is None
    assert is_loopback("LOCALHOST.")
    assert proxy_of("http://10.1.2.3/v1", proxies) == "http://proxy.example:3128"
    for excepted in ("10.0.0.0/8", "10.1.2.3", "*", "other, 10.1.2.3:80"):
        port = ":80" if excepted.endswith(":80") else ""
        assert proxy_of(f"http://10.1.2.3{port}/v1", proxies | {"NO_PROXY": excepted}) is None
    assert proxy_of("http://api.inner.example/v1", proxies | {"no_proxy": ".inner.example"}) is None
    for value, says in (
        ("socks4://x:1", "socks4"),
        ("http://[::1", "ALL_PROXY"),
        ("http://proxy:port", "ALL_PROXY"),
        ("ftp://x", "'ftp'"),
    ):
        with pytest.raises(ValueError, match="ALL_PROXY") as refused:
            proxy_of("https://api.example/v1", {"ALL_PROXY": value})
        assert says in str(refused.value)
    with pytest.raises(ValueError, match="ALL_PROXY") as refused:
        proxy_of("https://api.example/v1", {"ALL_PROXY": "ftp://user:a-proxy-password@x"})
    assert "a-proxy-password" not in mask(str(refused.value))


def test_a_socks_proxy_without_its_package_is_told_with_both_remedies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install socksio.*ALL_PROXY"):
        proxy_of("https://api.example/v1", {"ALL_PROXY": "socks5://x:1"})


@pytest.mark.parametrize(
    "url",
    ["localhost:8000/v1", "ftp://x/v1", "http://", "http://[::1", "http://x:port/v1", "http://a b/v1", "",
     "http://ex\u202eample/v1", "http://a\\\\b/v1", "http://{host}/v1", "http://<host>/v1", "http://'x'/v1"],
)  # fmt: skip
def test_urls_that_lead_nowhere_are_refused_in_words(url: str) -> None:
    with pytest.raises(ValueError, match=r"http://HOST:PORT/v1|white space"):
        check_url(url)
    with pytest.raises(ValueError, match="url"):
        ServerBackend(url, "tiny")
