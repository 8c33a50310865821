"""Files are whole or not there: full disks, read-only folders, kills at any moment."""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import shutil
import signal
import time

import numpy as np
import pytest

import textpl
from textpl.atomic_files import (
    check_writable,
    read_json,
    remove_temporary,
    replace_folder,
    replacing,
    replacing_all,
    write_json,
    write_text,
)
from textpl.label_issues.report import LabelReport
from textpl.label_issues.saving import ARRAYS, TOLD

KILLS, ROWS = 20, 4000


def report(seed):
    """A report with a few megabytes of arrays."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, ROWS)
    p = np.full((ROWS, 3), 0.1) + 0.7 * np.eye(3)[(labels + (rng.random(ROWS) < 0.1)) % 3]
    return textpl.find_label_issues(labels=labels, pred_probs=p, progress=False)


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("at", ["write", "os.fsync", "os.replace"])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, at):
    file = tmp_path / "a.json"
    write_json(file, {"a": 1})
    if at != "write":
        monkeypatch.setattr(f"textpl.atomic_files.{at}", full)
    with pytest.raises(OSError, match="No space left"), replacing(file) as partial:
        partial.write_text("half")
        if at == "write":
            full()
    monkeypatch.undo()
    assert json.loads(file.read_text()) == {"a": 1} and [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_files_that_belong_together_are_both_new_or_both_old(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    write_text(one, "1")
    write_text(other, "1")
    with pytest.raises(OSError, match="No space"), replacing_all([one, other]) as (first, _):
        first.write_text("2")
        full()
    assert (one.read_text(), other.read_text()) == ("1", "1")
    with replacing_all([one, other]) as (first, second):
        first.write_text("2")
        second.write_text("2")
    assert (one.read_text(), other.read_text()) == ("2", "2") and len(list(tmp_path.iterdir())) == 2


def test_a_picture_is_whole_and_the_same_each_time(tmp_path):
    from matplotlib.figure import Figure

    from textpl.reports.figures import save_picture

    for name in ("a.png", "b.png"):
        figure = Figure()
        figure.subplots().plot([1, 2])
        save_picture(figure, tmp_path / name)
    one, other = ((tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
    assert one == other and one.startswith(b"\x89PNG") and len(list(tmp_path.iterdir())) == 2


def test_a_folder_takes_the_place_of_another(tmp_path):
    for name, content in (("old", "1"), ("new", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(content)
    replace_folder(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old" / "file").read_text() == "2" and not (tmp_path / "new").exists()


@pytest.mark.parametrize("content", [b'{"a": ', b"", b"\xff\xfe", b"[" * 100_000])
def test_a_broken_json_file_is_named(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.json is half-written or broken .*\. Remove it\.$"):
        read_json(tmp_path / "a.json", "Remove it.")


def test_a_folder_that_takes_no_files_is_found(tmp_path, monkeypatch):
    check_writable(tmp_path / "a" / "b")
    assert not list((tmp_path / "a" / "b").iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"^cannot write to .*file/x: Not a directory\. Make room"):
        check_writable(tmp_path / "file" / "x")
    monkeypatch.setattr("textpl.atomic_files.os.fsync", full)
    with pytest.raises(OSError, match=r"^cannot write to .*b: No space left on device\."):
        check_writable(tmp_path / "a" / "b")
    assert not list((tmp_path / "a" / "b").iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_found(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match=r"^cannot write to .*: Permission denied\."):
        check_writable(tmp_path / "x")


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    report(0).save(tmp_path / "r")
    before = {path.name: path.read_bytes() for path in (tmp_path / "r").iterdir()}
    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        report(1).save(tmp_path / "r")
    assert {path.name: path.read_bytes() for path in (tmp_path / "r").iterdir()} == before


def save_report(folder, seed):
    REPORTS[seed].save(folder)


def save_results(folder, seed):
    """What a run writes, by what writes it."""
    folder.mkdir(exist_ok=True)
    write_json(folder / "results.json", {"seed": seed, "log": list(range(50_000 + seed))})
    write_json(folder / "0-labels.json", {"seed": seed})
    write_text(folder / "report.html", f"{seed}" * 300_000)


REPORTS = []


def contents(folder):
    """What is in the files that are no temporary ones."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


@pytest.mark.parametrize("save", [save_report, save_results])
def test_a_kill_at_any_moment_leaves_whole_files_and_a_rerun_the_same_bytes(tmp_path, save):
    REPORTS[:] = [report(0), report(1)]
    straight, out = [], tmp_path / "out"
    for seed in (0, 1):
        save(tmp_path / str(seed), seed)
        straight.append(contents(tmp_path / str(seed)))
    rng = random.Random(0)
    for turn in range(KILLS):
        child = os.fork()
        if child == 0:
            for seed in itertools.cycle((turn % 2, 1 - turn % 2)):
                save(out, seed)
        time.sleep(rng.uniform(0.001, 0.1))
        os.kill(child, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
        for name, content in contents(out).items() if out.exists() else ():
            assert content in [one[name] for one in straight], name
    save(out, 0)
    assert contents(out) == straight[0]
    remove_temporary(out)
    assert {path.name for path in out.iterdir()} == set(contents(out))
    if save is save_report:
        assert len(LabelReport.load(out)) == ROWS


def test_only_what_a_kill_left_is_removed(tmp_path):
    kept = [".probe", ".env", "x.partial", ".x.partial", ".probe.txt", "a/.hidden"]
    left = [f".x.json.{os.getpid()}-0123abcd.partial", "a/.probe.1-0123abcd", "a/.two\nlines.2-0123abcd.partial"]
    (tmp_path / "a").mkdir()
    for name in (*kept, *left):
        (tmp_path / name).write_text("")
    remove_temporary(tmp_path)
    there = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert there == sorted(kept)


# --- reports that are broken


@pytest.mark.parametrize("name", [ARRAYS, TOLD])
@pytest.mark.parametrize("keep", [0, 0.5, -1])
def test_a_half_report_is_named(tmp_path, name, keep):
    report(0).save(tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(keep * len(whole)) if keep >= 0 else keep])
    if name == TOLD and keep == -1:  # only the end of the line is lost
        assert len(LabelReport.load(tmp_path)) == ROWS
        return
    with pytest.raises(ValueError, match=rf"{name} is half-written or broken .*Remove the folder"):
        LabelReport.load(tmp_path)


def test_files_of_two_reports_are_not_taken_for_one(tmp_path):
    for seed in (0, 1):
        report(seed).save(tmp_path / str(seed))
    shutil.copy(tmp_path / "1" / ARRAYS, tmp_path / "0" / ARRAYS)
    with pytest.raises(ValueError, match=r"arrays\.npz and report\.json beside it are of different reports"):
        LabelReport.load(tmp_path / "0")


def test_other_files_of_these_names_are_no_reports(tmp_path):
    report(0).save(tmp_path)
    write_json(tmp_path / TOLD, [])
    with pytest.raises(ValueError, match=r"report\.json is no report of textpl \(info, decisions, cut missing\)"):
        LabelReport.load(tmp_path)
    np.savez(tmp_path / ARRAYS, given=np.zeros(2))
    with pytest.raises(ValueError, match=r"arrays\.npz is no report of textpl \(p_error, .* missing\)"):
        LabelReport.load(tmp_path)
