import gzip

import pytest

from adjudge import files
from adjudge.errors import DataError


def write(tmp_path, data: bytes, name: str = "x.jsonl"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_lines_are_numbered_blank_ones_skipped_and_gzip_is_known_by_its_content(tmp_path):
    text = b'\xef\xbb\xbf{"a":1}\r\n\n  \n{"b":2}'
    want = [(1, b'{"a":1}'), (4, b'{"b":2}')]
    assert list(files.lines(write(tmp_path, text))) == want
    assert list(files.lines(write(tmp_path, gzip.compress(text, mtime=0), "packed.jsonl"))) == want


@pytest.mark.parametrize(
    ("data", "name", "says"),
    [
        (b"", "x.jsonl", "is empty"),
        (b"\n\n", "x.jsonl", "is empty"),
        (b'{"a":1}\n{"a":\x00}', "x.jsonl", "x.jsonl:2: holds NUL bytes"),
        ('{"a":"\xe4"}'.encode("latin-1"), "x.jsonl", "x.jsonl:1: is not UTF-8 at byte 6"),
        ('{"a":1}'.encode("utf-16"), "x.jsonl", "x.jsonl:1: "),
        (b"plain", "x.jsonl.gz", "is not gzip"),
        (gzip.compress(b"a" * 1000, mtime=0)[:-12], "x.jsonl.gz", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_line(tmp_path, data, name, says):
    with pytest.raises(DataError) as caught:
        list(files.lines(write(tmp_path, data, name)))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_gzip_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "GZIP_GRACE_BYTES", 1 << 20)
    bomb = write(tmp_path, gzip.compress((b"0" * 1023 + b"\n") * (16 << 10)), "bomb.jsonl.gz")
    with pytest.raises(DataError, match="200 times its size"):
        for _ in files.lines(bomb):
            pass


def test_an_endless_line_is_refused_within_the_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 1000)
    with pytest.raises(DataError, match="line is over"):
        list(files.lines(write(tmp_path, b"x" * 5000)))


@pytest.mark.parametrize("line", [b"[" * 200 + b"]" * 200, b'{"a":' * 200 + b"1" + b"}" * 200, b"[" * 100_000])
def test_deep_nesting_is_refused(line):
    with pytest.raises(DataError, match="f:3"):
        files.decode(line, "f", 3)


def test_half_a_line_is_named():
    with pytest.raises(DataError, match=r"f:9: is not valid JSON.*mend or delete"):
        files.decode(b'{"id": "a", "prom', "f", 9)


def test_many_brackets_that_are_not_deep_are_read():
    assert files.decode(b"[" + b"[1]," * 500 + b"[1]]", "f", 1) == [[1]] * 501


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    target = tmp_path / "out.jsonl"
    target.write_bytes(b"before")
    with pytest.raises(RuntimeError), files.replacing(target) as file:
        file.write(b"half")
        raise RuntimeError
    assert target.read_bytes() == b"before"
    with files.replacing(target) as file:
        file.write(b"whole")
    assert target.read_bytes() == b"whole"
    assert [p.name for p in tmp_path.iterdir()] == ["out.jsonl"]


def test_gzip_output_is_the_same_every_time(tmp_path):
    for name in ("a.gz", "b.gz"):
        with files.replacing(tmp_path / name) as file:
            file.write(b"text")
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


@pytest.mark.parametrize("reader", [gzip.GzipFile, files._Gunzip])
@pytest.mark.parametrize("damage", ["cut", "turned", "sum", "head"])
def test_a_damaged_gzip_file_is_named_whichever_library_reads_it(tmp_path, monkeypatch, reader, damage):
    monkeypatch.setattr(files, "_Gunzip", reader)
    whole = gzip.compress(b"".join(b'{"a": %d}\n' % (i * i) for i in range(5000)))
    middle = len(whole) // 2
    damaged = {
        "cut": whole[:-20],
        "turned": whole[:middle] + bytes(b ^ 0xFF for b in whole[middle : middle + 40]) + whole[middle + 40 :],
        "sum": whole[:-8] + bytes(4) + whole[-4:],
        "head": whole[:2] + bytes(20),
    }
    with pytest.raises(DataError, match=r"x\.jsonl\.gz: cannot be read: "):
        list(files.lines(write(tmp_path, damaged[damage], "x.jsonl.gz")))
