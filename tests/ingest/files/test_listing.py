"""Which files of a folder are read, each once and under which name, and what is said of the others."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from memlake.ingest.files import remote
from memlake.ingest.files.listing import find
from memlake.warehouse.errors import BadInput


def lay(root: Path, *names: str) -> Path:
    """Files, each of its name; `a -> b` is a link at a, which says b."""
    for name in names:
        name, _, target = name.partition(" -> ")
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target) if target else path.write_text(name)
    return root


def found(*paths: Path | str, ends=(".jsonl",)) -> list[str]:
    return [name for name, _ in find(map(str, paths), ends).files]


def unread(path: Path, ends=(".jsonl",)) -> str:
    lines = find([str(path)], ends).lines()
    return "".join(line.removeprefix(f"not read below {path}: ") for line in lines)


def test_files_are_found_by_suffix_and_named_below_their_folder(tmp_path):
    lay(tmp_path, "b.jsonl", "deep/a.jsonl.zst", "notes.txt")
    ends = [".jsonl", ".jsonl.zst"]
    files = [("b.jsonl", f"{tmp_path}/b.jsonl"), ("deep/a.jsonl.zst", f"{tmp_path}/deep/a.jsonl.zst")]
    assert find([str(tmp_path)], ends).files == files
    assert find([f"file://{tmp_path}"], ends).files == files
    assert find([str(tmp_path / "notes.txt")], ends).files == [("notes.txt", f"{tmp_path}/notes.txt")]


def test_a_source_may_name_its_files_otherwise(tmp_path):
    lay(tmp_path, "x/a.jsonl", "y/a.jsonl")
    listing = find([str(tmp_path)], [".jsonl"], lambda given, location: given.upper())
    assert [name for name, _ in listing.files] == ["X/A.JSONL", "Y/A.JSONL"]
    with pytest.raises(BadInput, match=r"two files are called a\.jsonl"):
        find([str(tmp_path)], [".jsonl"], lambda given, location: location.rsplit("/")[-1])


def test_two_files_of_one_name_are_refused(tmp_path):
    lay(tmp_path, "x/a.jsonl", "y/a.jsonl")
    with pytest.raises(BadInput, match=r"two files are called a\.jsonl"):
        found(tmp_path / "x", tmp_path / "y")


def test_where_nothing_is_to_be_read_one_line_says_what_is_there(tmp_path):
    with pytest.raises(BadInput, match="there is no file or folder"):
        found(tmp_path / "nowhere")
    (tmp_path / "in").mkdir()
    with pytest.raises(BadInput, match=r"in holds no file that ends in \.jsonl: it is empty$"):
        found(tmp_path / "in")
    lay(tmp_path / "in", "a.md", "b.md", ".c.jsonl", "d.jsonl.gz", "LICENSE", "e.jsonl -> nowhere")
    held = r"it holds 2 \.md, 1 \.jsonl\.gz, 1 hidden, 1 linked to nothing, 1 without an ending$"
    with pytest.raises(BadInput, match=rf"in holds no file that ends in \.jsonl: {held}"):
        found(tmp_path / "in")


def test_an_ending_counts_in_upper_case_too(tmp_path):
    lay(tmp_path, "A.JSONL", "b.Jsonl.GZ", "c.jsonl.ZST", "d.JSON")
    assert found(tmp_path, ends=(".jsonl", ".jsonl.gz")) == ["A.JSONL", "b.Jsonl.GZ"]
    assert unread(tmp_path, ends=(".jsonl", ".jsonl.gz")) == "1 .json, 1 .jsonl.zst"


def test_what_is_hidden_is_not_read_but_where_it_is_named(tmp_path):
    hidden = [".a.jsonl", "._b.jsonl", ".#b.jsonl -> lock", ".ipynb_checkpoints/b-checkpoint.jsonl", ".git/x/y.jsonl"]
    aside = ["_delta_log/0.jsonl", "deep/_temporary/0/part.jsonl", "__MACOSX/b.jsonl"]
    root = lay(tmp_path / ".cache" / "in", "b.jsonl", "_train.jsonl", "_year=2020/c.jsonl", *hidden, *aside)
    assert found(root) == ["_train.jsonl", "_year=2020/c.jsonl", "b.jsonl"]
    assert unread(root) == "8 hidden"
    assert found(root / ".a.jsonl") == [".a.jsonl"]
    assert found(root / ".git") == ["x/y.jsonl"]
    assert found(root / "_delta_log") == ["0.jsonl"]


def test_a_linked_folder_is_followed_under_the_name_of_the_link(tmp_path):
    lay(tmp_path / "disk2", "arxiv/a.jsonl", "arxiv/deep/b.jsonl", "c.jsonl")
    root = lay(tmp_path / "in", "arxiv -> ../disk2/arxiv", "book/b.jsonl", "one.jsonl -> ../disk2/c.jsonl")
    assert found(root) == ["arxiv/a.jsonl", "arxiv/deep/b.jsonl", "book/b.jsonl", "one.jsonl"]
    assert dict(find([str(root)], [".jsonl"]).files)["arxiv/a.jsonl"] == f"{root}/arxiv/a.jsonl"
    assert unread(root) == ""


def test_a_file_of_two_names_is_read_once_and_the_name_without_a_link_is_its_own(tmp_path):
    root = lay(
        tmp_path / "in", "a.jsonl -> z/z.jsonl", "b.jsonl -> a.jsonl", "z/z.jsonl", "y -> z", "z.md -> z/z.jsonl"
    )
    assert found(root) == ["z/z.jsonl"]
    assert unread(root) == "3 linked to what is read already"
    os.link(root / "z/z.jsonl", root / "hard.jsonl")
    assert found(root) == ["hard.jsonl"]
    assert unread(root) == "4 linked to what is read already"


def test_hard_links_of_which_one_is_elsewhere_are_files_as_others(tmp_path):
    lay(tmp_path, "in/a.jsonl", "in/b.jsonl", "other.jsonl")
    os.link(tmp_path / "in/a.jsonl", tmp_path / "backup.jsonl")
    assert found(tmp_path / "in") == ["a.jsonl", "b.jsonl"] and unread(tmp_path / "in") == ""


def test_of_links_to_one_file_the_first_in_order_is_read(tmp_path):
    lay(tmp_path / "disk2", "x/a.jsonl")
    root = lay(tmp_path / "in", "m -> ../disk2/x", "k -> ../disk2/x", "b/l -> ../../disk2/x", "a.jsonl -> k/a.jsonl")
    assert found(root) == ["a.jsonl"]
    (root / "a.jsonl").unlink()
    assert found(root) == ["b/l/a.jsonl"]
    assert unread(root) == "2 linked to what is read already"


def test_a_snapshot_of_the_hubs_cache_is_read_whole(tmp_path):
    names = [
        f"snapshots/{revision}/data/{i}.jsonl -> ../../../blobs/{i}" for revision in ("aa", "bb") for i in range(3)
    ]
    cache = lay(tmp_path / "datasets--o--n", *(f"blobs/{i}" for i in range(3)), *names)
    for revision in ("aa", "bb"):
        snapshot = cache / "snapshots" / revision
        assert found(snapshot) == [f"data/{i}.jsonl" for i in range(3)] and unread(snapshot) == ""
    assert found(cache) == [f"snapshots/aa/data/{i}.jsonl" for i in range(3)]
    assert unread(cache) == "3 linked to what is read already"  # of the blobs none is unread


def test_links_in_circles_come_to_an_end(tmp_path):
    lay(tmp_path, "beside.jsonl", "away/w.jsonl", "away/back -> ../in", "away/up -> ..")
    circles = ["deep/up -> ..", "self -> .", "above -> ..", "away -> ../away", "x/y -> ../y", "y/x -> ../x", "l -> l"]
    root = lay(tmp_path / "in", "deep/a.jsonl", "x/b.jsonl", "y/c.jsonl", *circles)
    assert found(root) == ["away/w.jsonl", "deep/a.jsonl", "x/b.jsonl", "y/c.jsonl"]
    kinds = {"linked to a folder above": 5, "linked to what is read already": 2, "linked to nothing": 1}
    assert find([str(root)], [".jsonl"]).unread == {str(root): Counter(kinds)}


def test_many_folders_that_are_linked_to_each_other_are_each_read_once(tmp_path):
    n = 14  # along all ways there would be 14! visits
    links = [f"{i}/to{j} -> ../{j}" for i in range(n) for j in range(n) if i != j]
    root = lay(tmp_path / "in", *(f"{i}/a.jsonl" for i in range(n)), *links)
    assert len(found(root)) == n and unread(root) == f"{n * (n - 1)} linked to what is read already"


def test_paths_that_overlap_count_once_and_name_as_the_outermost_does(tmp_path):
    root = lay(tmp_path / "in", "a.jsonl", "deep/b.jsonl")
    lay(tmp_path, "again -> in")
    for paths in ((root, root / "deep"), (root / "deep", root), (root / "deep/b.jsonl", root), (root, f"{root}/")):
        listing = find(map(str, paths), [".jsonl"])
        assert [name for name, _ in listing.files] == ["a.jsonl", "deep/b.jsonl"] and listing.lines() == []
    assert found(root, tmp_path / "again") == ["a.jsonl", "deep/b.jsonl"]
    lay(tmp_path, "0.jsonl -> in/a.jsonl")
    assert found(tmp_path / "0.jsonl", root) == ["a.jsonl", "deep/b.jsonl"]
    assert found(tmp_path / "0.jsonl") == ["0.jsonl"]
    assert found(root / "deep", tmp_path / "again") == ["a.jsonl", "b.jsonl"]
    assert found(tmp_path / "again" / ".." / "in") == ["a.jsonl", "deep/b.jsonl"]


def test_what_is_no_file_is_passed_by(tmp_path):
    root = lay(tmp_path / "in", "a.jsonl")
    os.mkfifo(root / "b.jsonl")
    assert found(root) == ["a.jsonl"] and unread(root) == "1 neither file nor folder"


def test_a_name_that_is_not_utf8_is_one_clear_line(tmp_path):
    root = lay(tmp_path / "in", "a.jsonl")
    Path(os.fsdecode(os.fsencode(root) + b"/\xff.txt")).touch()
    assert found(root) == ["a.jsonl"]
    Path(os.fsdecode(os.fsencode(root) + b"/\xff.jsonl")).touch()
    with pytest.raises(BadInput, match="is not UTF-8"):
        found(root)


def test_a_folder_that_looks_like_a_home_is_searched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lay(tmp_path / "~nobody-is-called-this", "a.jsonl")
    assert found("~nobody-is-called-this") == ["a.jsonl"]


def test_a_line_names_the_most_frequent_kinds(tmp_path):
    root = lay(tmp_path / "in", "a.jsonl", *(f"{i}.x{j}" for j in range(10) for i in range(10 - j)))
    assert unread(root) == ", ".join(f"{10 - j} .x{j}" for j in range(8)) + ", 3 of other kinds"


def test_a_store_has_the_same_rules(monkeypatch):
    names = ["a.JSONL", "deep/b.jsonl", ".git/c.jsonl", ".git/d.jsonl", "deep/_tmp/e.jsonl", "f.md", "._g.jsonl"]
    url = "s3://bucket/in"
    monkeypatch.setattr(remote, "find", lambda path: ([(name, f"{url}/{name}") for name in names], True))
    listing = find([url, f"{url}/"], [".jsonl"])
    assert listing.files == [("a.JSONL", f"{url}/a.JSONL"), ("deep/b.jsonl", f"{url}/deep/b.jsonl")]
    assert listing.lines()[0] == f"not read below {url}: 3 hidden, 1 .md"
