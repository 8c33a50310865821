"""The cache of vectors: only new texts are encoded, a killed run goes on, several processes share the work."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from textpl.embeddings import cache
from textpl.embeddings.cache import encode_cached
from textpl.embeddings.cache_lock import LOCK
from textpl.embeddings.cache_store import VectorStore, hash_texts
from textpl.embeddings.encoders import ClassifierEncoder
from textpl.embeddings.lsa import LsaEncoder

if __name__ != "__main__":  # the processes that tests start need no transformers
    from conftest import make_model, make_texts

D = 5


def vector(text):
    """The stand-in for a model: any function of the text."""
    return np.random.default_rng(list(text.encode("utf-8", "surrogatepass"))).standard_normal(D).astype(np.float32)


class Counting:
    """An encoder that notes every text it is given, in a file too if it has one; `pause` seconds per call."""

    name = "counting"

    def __init__(self, fingerprint="one", log=None, pause=0.0):
        self.fingerprint, self.log, self.pause, self.calls = fingerprint, log, pause, []

    @property
    def seen(self):
        return [text for call in self.calls for text in call]

    def encode(self, texts, *, progress=True):
        time.sleep(self.pause)
        self.calls.append(list(texts))
        if self.log:
            with open(self.log, "a") as file:
                file.writelines(json.dumps(text) + "\n" for text in texts)
        return np.array([vector(text) for text in texts])


class Stuck(Counting):
    """Comes as far as two shards."""

    def encode(self, texts, *, progress=True):
        time.sleep(600 * (len(self.calls) == 2))
        return super().encode(texts)


def expected(texts):
    return np.array([vector(text) for text in texts])


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(cache, "SHARD_ROWS", 8)


def test_vectors_come_back_in_order_read_only_and_mapped(tmp_path):
    texts = make_texts(50)[0]
    found = encode_cached(Counting(), texts, cache_dir=tmp_path, progress=False)
    assert isinstance(found, np.memmap) and found.dtype == np.float32 and not found.flags.writeable
    np.testing.assert_array_equal(found, expected(texts))


def test_each_distinct_text_is_encoded_once_and_longest_first(tmp_path):
    encoder, texts = Counting(), ["b", "", "aaa", "b", "aaa", "cc"] * 5
    found = encode_cached(encoder, texts, cache_dir=tmp_path, progress=False)
    assert encoder.seen == ["aaa", "cc", "b", ""]
    np.testing.assert_array_equal(found, expected(texts))


def test_only_new_texts_are_encoded(tmp_path):
    texts, encoder = make_texts(60)[0], Counting()
    encode_cached(encoder, texts[:40], cache_dir=tmp_path, progress=False)
    again = Counting()
    found = encode_cached(again, texts[::-1], cache_dir=tmp_path, progress=False)
    assert set(again.seen) == set(texts) - set(encoder.seen)
    assert max(len(call) for call in again.calls) <= 8
    np.testing.assert_array_equal(found, expected(texts[::-1]))
    encode_cached(none := Counting(), texts, cache_dir=tmp_path, progress=False)
    assert none.calls == []


def test_another_encoder_has_another_store(tmp_path):
    texts = make_texts(10)[0]
    encode_cached(Counting("one"), texts, cache_dir=tmp_path, progress=False)
    encode_cached(changed := Counting("two"), texts, cache_dir=tmp_path, progress=False)
    assert set(changed.seen) == set(texts)


def test_a_model_that_was_trained_on_is_encoded_anew(tmp_path, tokenizer):
    texts, model = make_texts(20)[0], make_model()
    encoder = ClassifierEncoder(model, tokenizer)
    first = encode_cached(encoder, texts, cache_dir=tmp_path, progress=False)
    np.testing.assert_allclose(first, encoder.encode(texts, progress=False), atol=2e-2)  # batches differ, bfloat16
    model.bert.embeddings.LayerNorm.bias.data += 1
    second = encode_cached(encoder, texts, cache_dir=tmp_path, progress=False)
    assert np.abs(first - second).max() > 0.1


def test_default_folder_is_beside_the_datasets_cache():
    encode_cached(Counting(), ["a"], progress=False)
    assert list((datasets.config.HF_DATASETS_CACHE / "textpl-embeddings").glob("*/hashes-*.npy"))


@pytest.mark.parametrize("encoder", [LsaEncoder(3), Counting(fingerprint=None)], ids=["lsa", "no fingerprint"])
def test_encoders_without_fingerprint_are_not_cached(tmp_path, encoder):
    texts = make_texts(20)[0]
    found = encode_cached(encoder, texts, cache_dir=tmp_path, progress=False)
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, encoder.encode(texts, progress=False))
    assert list(tmp_path.iterdir()) == []


def test_no_texts(tmp_path):
    assert encode_cached(Counting(), [], cache_dir=tmp_path).shape == (0, 0)
    encode_cached(Counting(), ["a"], cache_dir=tmp_path, progress=False)
    assert encode_cached(Counting(), [], cache_dir=tmp_path).shape == (0, D)
    assert encode_cached(Counting(fingerprint=None), [], cache_dir=tmp_path).shape == (0, 0)


def test_progress_is_one_bar_over_the_missing_texts(tmp_path, capfd):
    encode_cached(Counting(), [str(i) for i in range(20)], cache_dir=tmp_path)
    shown = capfd.readouterr().err
    assert "encoding with counting" in shown and "20/20" in shown
    encode_cached(Counting(), [str(i) for i in range(20)], cache_dir=tmp_path)
    assert capfd.readouterr().err == ""


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.text(max_size=3), max_size=12), min_size=1, max_size=4))
def test_any_sequence_of_calls_gives_what_the_encoder_gives(tmp_path_factory, calls):
    folder, encoder = tmp_path_factory.mktemp("cache"), Counting()
    for texts in filter(None, calls):
        found = encode_cached(encoder, texts, cache_dir=folder, progress=False)
        np.testing.assert_array_equal(found, expected(texts))
    assert len(encoder.seen) == len(set(encoder.seen))


def test_large_results_are_put_together_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("textpl.embeddings.cache_store.READ_ROWS", 7)
    texts = make_texts(50)[0] * 2
    np.testing.assert_array_equal(encode_cached(Counting(), texts, cache_dir=tmp_path, progress=False), expected(texts))


def test_hashes_tell_texts_apart_whatever_they_hold():
    texts = ["", "a", "a\0", "b", "\ud800", "中", "a "]
    assert len(np.unique(hash_texts(texts))) == len(texts)


# kills and neighbours


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    """The process is killed by the system in the middle of a call; at most one shard is encoded twice."""
    log = tmp_path / "log"
    process = start("slow", tmp_path, log)
    wait_until(lambda: len(list(tmp_path.glob("cache/*/hashes-*.npy"))) >= 3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    before = logged(log)
    texts = [f"text {i}" for i in range(100)]
    rest = Counting("slow")
    found = encode_cached(rest, texts, cache_dir=tmp_path / "cache", progress=False)
    np.testing.assert_array_equal(found, expected(texts))
    assert 24 <= len(before) < 100 and set(before) | set(rest.seen) == set(texts)
    assert len(set(before) & set(rest.seen)) <= 8


def test_half_written_files_are_never_read(tmp_path):
    texts = [f"text {i}" for i in range(16)]
    encode_cached(Counting(), texts, cache_dir=tmp_path, progress=False)
    (folder,) = tmp_path.iterdir()
    # What a kill leaves at each moment: a partial file, and vectors without hashes.
    (folder / ".vectors-x.npy.1-2.partial").write_bytes(b"\x93NUMPY")
    (folder / ".hashes-x.npy.1-2.partial").write_bytes(b"")
    (folder / "vectors-x.npy").write_bytes(b"\x93NUMPY")
    sorted(folder.glob("hashes-*.npy"))[0].unlink()
    encode_cached(again := Counting(), texts, cache_dir=tmp_path, progress=False)
    assert len(again.seen) == 8


def test_processes_that_encode_the_same_texts_do_no_harm(tmp_path):
    """Where the file system knows no locks: while one run is at a shard, another does the whole job."""
    texts = [f"text {i}" for i in range(40)]

    class Overtaken(Counting):
        def encode(self, shard, *, progress=True):
            VectorStore(tmp_path, "one").append(hash_texts(texts[:25]), expected(texts[:25]))
            return super().encode(shard)

    found = encode_cached(Overtaken(), texts, cache_dir=tmp_path, progress=False)
    np.testing.assert_array_equal(found, expected(texts))
    assert len(VectorStore(tmp_path, "one").hashes()) == 165
    found = encode_cached(none := Counting(), texts[::-1], cache_dir=tmp_path, progress=False)
    np.testing.assert_array_equal(found, expected(texts[::-1]))
    assert none.calls == []


def test_an_encoder_that_uses_the_cache_itself_does_not_wait_for_itself(tmp_path):
    class Nested(Counting):
        def encode(self, texts, *, progress=True):
            return encode_cached(Counting(), texts, cache_dir=tmp_path, progress=False)

    found = encode_cached(Nested(), ["a", "b"], cache_dir=tmp_path, progress=False)
    np.testing.assert_array_equal(found, expected(["a", "b"]))


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", refused)
    found = encode_cached(Counting(), ["a", "b"], cache_dir=tmp_path, progress=False)
    np.testing.assert_array_equal(found, expected(["a", "b"]))


def start(mode, folder, log):
    command = [sys.executable, __file__, mode, str(folder), str(log)]
    return subprocess.Popen(command, env=_environment(), stderr=subprocess.PIPE, text=True)


def logged(log):
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_two_runs_at_the_same_time_encode_each_text_once(tmp_path):
    runs = [start("slow", tmp_path, tmp_path / f"log{i}") for i in range(2)]
    told = [run.communicate(timeout=300)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], told
    assert sorted(logged(tmp_path / "log0") + logged(tmp_path / "log1")) == sorted(f"text {i}" for i in range(100))
    assert sum(text.count("Waiting for another process") for text in told) <= 1


def test_a_killed_holder_blocks_nobody(tmp_path):
    """The one that waits says so in one line, goes on where the other was killed, and removes what was half done."""
    killed = start("stuck", tmp_path, tmp_path / "log0")
    wait_until(lambda: len(logged(tmp_path / "log0")) >= 16)
    (folder,) = (tmp_path / "cache").iterdir()
    other = start("slow", tmp_path, tmp_path / "log1")
    assert "Waiting for another process, which encodes texts with counting" in other.stderr.readline()
    assert not logged(tmp_path / "log1")
    (folder / ".vectors-x.npy.1-2.partial").write_bytes(b"\x93NUMPY")
    (folder / "vectors-x.npy").write_bytes(b"\x93NUMPY")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    rest = other.communicate(timeout=300)[1]
    assert other.returncode == 0 and "Waiting" not in rest, rest
    before, after = logged(tmp_path / "log0"), logged(tmp_path / "log1")
    assert set(before) | set(after) == {f"text {i}" for i in range(100)} and len(set(before) & set(after)) <= 8
    assert {path.name.split("-")[0] for path in folder.iterdir()} == {"vectors", "hashes", LOCK}
    assert "vectors-x.npy" not in {path.name for path in folder.iterdir()}


def test_two_distributed_runs_at_the_same_time(tmp_path):
    """The ranks of each wait together, and none is left alone in a collective call."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--rdzv_backend", "c10d"]
    command += ["--rdzv_endpoint", "localhost:0", __file__, "share_slowly", str(tmp_path)]
    runs = [
        subprocess.Popen([*command, str(tmp_path / f"log{i}")], stderr=subprocess.PIPE, text=True, env=_environment())
        for i in range(2)
    ]
    told = [run.communicate(timeout=300)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], told[0][-2000:] + told[1][-2000:]
    seen = [text for i in range(2) for rank in range(2) for text in logged(tmp_path / f"log{i}-{rank}")]
    assert sorted(seen) == sorted(f"text {i}" for i in range(100))


def test_two_processes_share_the_work(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--rdzv_backend", "c10d"]
    command += ["--rdzv_endpoint", "localhost:0", __file__, "share", str(tmp_path), str(tmp_path / "log")]
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(), timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    seen = [logged(tmp_path / f"log-{rank}") for rank in range(2)]
    assert all(seen) and sorted(seen[0] + seen[1]) == sorted(f"text {i}" for i in range(100))
    assert done.stderr.count("encoding with counting:   0%") == 1, "one process shows progress"


@pytest.mark.parametrize("kind", ["hashes", "vectors"])
@pytest.mark.parametrize("size", [0, 60, 150])
def test_a_broken_file_is_named(tmp_path, kind, size):
    encode_cached(Counting(), ["a", "b", "c"], cache_dir=tmp_path, progress=False)
    (file,) = tmp_path.glob(f"*/{kind}-*.npy")
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ValueError, match=rf"{kind}-.*npy is broken .*delete its folder"):
        encode_cached(Counting(), ["a", "b", "c"], cache_dir=tmp_path, progress=False)


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    texts = [f"text {i}" for i in range(16)]
    encode_cached(Counting(), texts[:8], cache_dir=tmp_path, progress=False)
    before = sorted(tmp_path.rglob("*"))

    def full(file, array):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr(np, "save", full)
        encode_cached(Counting(), texts, cache_dir=tmp_path, progress=False)
    assert sorted(tmp_path.rglob("*")) == before
    encode_cached(rest := Counting(), texts, cache_dir=tmp_path, progress=False)
    assert sorted(rest.seen) == sorted(texts[8:])


def test_a_folder_that_is_not_shared_is_named(tmp_path):
    with pytest.raises(RuntimeError, match="all processes share"):
        VectorStore(tmp_path, "one").read(hash_texts(["a"]))


# bad input


class Bad:
    name = "bad"

    def __init__(self, output, fingerprint):
        self.output, self.fingerprint = output, fingerprint

    def encode(self, texts, *, progress=True):
        return self.output(len(texts))


def one_nan(rows):
    vectors = np.ones((rows, 2))
    vectors[-1, 1] = np.nan
    return vectors


@pytest.mark.parametrize("fingerprint", [None, "bad"])
@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda n: np.ones(n), r"shape \(3,\) for 3 texts"),
        (lambda n: np.ones((n - 1, 2)), r"shape \(2, 2\) for 3 texts"),
        (lambda n: np.ones((n, 0)), r"shape \(3, 0\)"),
        (lambda n: np.full((n, 2), np.inf), "NaN or infinite numbers for 3 of 3 texts"),
        (one_nan, "NaN or infinite numbers for 1 of 3 texts, first for row 2"),
    ],
)
def test_bad_output_of_an_encoder_is_refused_and_not_kept(tmp_path, fingerprint, output, message):
    with pytest.raises(ValueError, match=f"Encoder 'bad' .*{message}"):
        encode_cached(Bad(output, fingerprint), ["aaa", "bb", "c"], cache_dir=tmp_path, progress=False)
    assert not list(tmp_path.rglob("*.npy"))


@pytest.mark.parametrize("encoder", [Counting(), LsaEncoder()])
def test_bad_texts_are_refused_by_row(tmp_path, encoder):
    with pytest.raises(TypeError, match="Row 2: the text is nan"):
        encode_cached(encoder, ["a", "b", float("nan")], cache_dir=tmp_path)


def test_one_fingerprint_for_two_encoders_is_noticed(tmp_path):
    encode_cached(Counting("same"), ["a"], cache_dir=tmp_path, progress=False)
    with pytest.raises(ValueError, match=r"vectors of \[2, 5\] numbers.*same fingerprint"):
        encode_cached(Bad(lambda n: np.ones((n, 2)), "same"), ["a", "b"], cache_dir=tmp_path, progress=False)


def _environment():
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def wait_until(true):
    deadline = time.monotonic() + 300
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)


def main(mode, folder, log):
    """A process of its own: all texts slowly, or this rank's share."""
    cache.SHARD_ROWS = 8
    texts = [f"text {i}" for i in range(100)]
    if mode in ("slow", "stuck"):
        found = encode_cached(
            (Stuck if mode == "stuck" else Counting)("slow", log, 0.1),
            texts,
            cache_dir=folder / "cache",
            progress=False,
        )
        np.testing.assert_array_equal(found, expected(texts))
        return
    encoder = Counting(log=f"{log}-{os.environ['RANK']}", pause=0.1 * (mode == "share_slowly"))
    for _ in range(2):  # the second time there is nothing to do
        found = encode_cached(encoder, texts, cache_dir=folder / "cache")
        np.testing.assert_array_equal(found, expected(texts))
    cache.torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
