"""Files are written whole or not at all."""

import pytest

from pushforward import InputError
from pushforward.files import write_text, writing


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "table.csv"
    write_text(target, "old")
    with pytest.raises(RuntimeError), writing(target) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_the_file_appears_at_the_end_only(tmp_path):
    target = tmp_path / "deep" / "folder" / "table.csv"
    with writing(target) as temporary:
        assert temporary.suffix == ".csv"
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"


def test_interrupts_pass_through_and_clean_up(tmp_path):
    with pytest.raises(KeyboardInterrupt), writing(tmp_path / "x") as temporary:
        temporary.write_text("part")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="it is a folder"), writing(tmp_path):
        pass


def test_a_full_disk_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="No space left"), writing(tmp_path / "x"):
        raise OSError(28, "No space left on device")
