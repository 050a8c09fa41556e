import errno
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rgbx.backbones.download import fetch
from rgbx.backbones.known import KNOWN, KnownWeights
from rgbx.cli.weights import main
from rgbx.errors import WeightsError

BODY = bytes(range(256)) * 8192  # 2 MiB


@dataclass
class Site:
    url: str = ""
    ranges: bool = True
    cut: int | None = None  # bytes after which the connection is dropped
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            site.asked.append(wanted)
            if self.path != "/file.pth":
                self.send_error(404)
                return
            start = int(wanted[6:-1]) if wanted and site.ranges else 0
            if start >= len(BODY):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(BODY)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(BODY) - start))
            self.end_headers()
            self.wfile.write(BODY[start : site.cut])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}/file.pth"
    yield site
    server.shutdown()
    server.server_close()


@pytest.fixture
def entry(site: Site) -> KnownWeights:
    digest = hashlib.sha256(BODY).hexdigest()
    return KnownWeights("mine", site.url, "file.pth", len(BODY), digest, "nothing")


@pytest.mark.slow
def test_whole_file(entry: KnownWeights, site: Site, tmp_path: Path) -> None:
    path = fetch(entry, tmp_path / "new")
    assert path == tmp_path / "new" / "file.pth"
    assert path.read_bytes() == BODY
    assert [p.name for p in path.parent.iterdir()] == ["file.pth"]
    assert site.asked == [None]


@pytest.mark.slow
def test_existing_file_is_left_alone(entry: KnownWeights, site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.pth").write_text("precious")
    with pytest.raises(WeightsError, match=r"file\.pth exists already and is left untouched"):
        fetch(entry, tmp_path)
    assert (tmp_path / "file.pth").read_text() == "precious"
    assert site.asked == []


@pytest.mark.slow
@pytest.mark.parametrize("ranges", [True, False])
def test_broken_connection_then_resume(
    entry: KnownWeights, site: Site, tmp_path: Path, ranges: bool
) -> None:
    site.cut, site.ranges = 700_000, ranges
    with pytest.raises(WeightsError, match=r"connection broke .* run the command again"):
        fetch(entry, tmp_path)
    assert not (tmp_path / "file.pth").exists()
    part = tmp_path / "file.pth.part"
    have = part.stat().st_size
    assert have == 700_000
    site.cut = None
    assert fetch(entry, tmp_path).read_bytes() == BODY
    assert site.asked == [None, f"bytes={have}-"]
    assert not part.exists()


@pytest.mark.slow
@pytest.mark.parametrize("size", [len(BODY), None])
def test_complete_part_is_only_verified(
    entry: KnownWeights, site: Site, tmp_path: Path, size: int | None
) -> None:
    (tmp_path / "file.pth.part").write_bytes(BODY)
    assert fetch(replace(entry, size=size), tmp_path).read_bytes() == BODY
    assert site.asked == ([] if size else [f"bytes={len(BODY)}-"])


@pytest.mark.slow
def test_part_that_is_too_long_starts_afresh(
    entry: KnownWeights, site: Site, tmp_path: Path
) -> None:
    for size in (len(BODY), None):
        (tmp_path / "file.pth.part").write_bytes(BODY + b"x")
        path = fetch(replace(entry, size=size), tmp_path)
        assert path.read_bytes() == BODY
        path.unlink()


@pytest.mark.slow
def test_wrong_hash_and_wrong_size(entry: KnownWeights, tmp_path: Path) -> None:
    found = hashlib.sha256(BODY).hexdigest()
    with pytest.raises(WeightsError, match=f"SHA-256 {found} but {'0' * 64} is expected"):
        fetch(replace(entry, sha256="0" * 64), tmp_path)
    with pytest.raises(WeightsError, match=f"delivered {len(BODY)} bytes but 10 are expected"):
        fetch(replace(entry, size=10), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_not_found_and_offline(entry: KnownWeights, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"server answered 404 .* store it as .*file\.pth\."):
        fetch(replace(entry, url=entry.url + "x"), tmp_path)
    with pytest.raises(WeightsError, match=r"127\.0\.0\.1:9 cannot be reached .* when online"):
        fetch(replace(entry, url="http://127.0.0.1:9/file.pth"), tmp_path)


@pytest.mark.slow
def test_full_disk(entry: KnownWeights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match=r"disk of .* is full"):
        fetch(replace(entry, size=10**18), tmp_path)

    class Full:
        def __init__(self, file: object) -> None:
            self.file = file

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> None:
            self.file.write(data[:1000])
            raise OSError(errno.ENOSPC, "No space left on device")

    plain = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda p, mode="r", *a: Full(plain(p, mode)) if mode == "wb" else plain(p, mode),
    )
    with pytest.raises(WeightsError, match=r"disk of .* is full; .* after the 1000 bytes"):
        fetch(entry, tmp_path)
    monkeypatch.undo()
    assert fetch(entry, tmp_path).read_bytes() == BODY


@pytest.mark.slow
def test_command_line(
    entry: KnownWeights,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setitem(KNOWN, "mine", entry)
    folder = ["--dir", str(tmp_path)]
    (tmp_path / "sam_vit_b_01ec64.pth").write_bytes(b"short")
    assert main(["list", *folder]) == 0
    listed = capsys.readouterr().out
    assert "sam_vit_h" in listed
    assert "2,565 MB" in listed
    assert "wrong size (5 bytes)" in listed
    assert main(["fetch", "mine", *folder]) == 0
    said = capsys.readouterr().out
    assert f"{tmp_path / 'file.pth'} is complete, its SHA-256 is verified" in said
    assert f"weights:\n    path: {tmp_path / 'file.pth'}" in said
    assert main(["list", *folder]) == 0
    assert "present" in next(x for x in capsys.readouterr().out.splitlines() if "mine" in x)
    with pytest.raises(WeightsError, match="named 'sam_vit_g'; did you mean 'sam_vit_"):
        main(["fetch", "sam_vit_g"])


@pytest.mark.slow
def test_another_file_than_was_asked_for(entry: KnownWeights, tmp_path: Path) -> None:
    """Where no hash and no size are known, what arrives is looked at."""
    with pytest.raises(WeightsError, match=r"file\.pth: it is of an unknown format"):
        fetch(replace(entry, sha256=None, size=None), tmp_path)
    assert list(tmp_path.iterdir()) == []
