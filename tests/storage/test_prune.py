"""What prune removes, what it never removes, and that verify and later commits know."""

from __future__ import annotations

import shutil

import pytest
from store_samples import policy, run, scores, stage

from sdar.schemas.errors import ConfigError, InputError
from sdar.schemas.records import Verdict
from sdar.storage import Store, open_store, write_references


def weights(folder, content: str):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights").write_text(content)
    return folder


def verdict(best: str, round_number: int) -> Verdict:
    return Verdict(
        round=round_number, stop=False, reason="continue", sentence="On.", best_policy=best, best_round=1,
        best_success=0.5,
    )  # fmt: skip


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A run of 4 rounds with a policy and a score blob of 9 bytes each; the best policy is of round 1."""
    path = tmp_path_factory.mktemp("template")
    store, blobs = open_store(path / "store"), {}
    with store.writer("test"):
        store.begin_run(run())
        before = commit_policy(store, path, "bootstrap", 0, {}, blobs)
        for number in range(1, 5):
            blobs[f"s{number}"] = store.put_blob(weights(path / "scratch", f"scores  {number}"))
            scored = store.commit(
                stage("score", f"s{number}", round=number, inputs={"policy": before.id}),
                "scores", {"token_score": [scores(f"e{number}")]}, blobs[f"s{number}"],
            )  # fmt: skip
            inputs = {"policy": before.id, "scores": scored.id}
            before = commit_policy(store, path, "update", number, inputs, blobs)
        store.commit(stage("decide", round=4), "verdict", {"verdict": [verdict("policy-1", 4)]})
    return path / "store", blobs


@pytest.fixture
def grown(tmp_path, template, request) -> tuple[Store, dict[str, str]]:
    """A copy of the template whose run is done, or has the status that the test asks for."""
    shutil.copytree(template[0], tmp_path / "store")
    store = open_store(tmp_path / "store")
    with store.writer("test"):
        store.finish_run("r1", getattr(request, "param", "done"))
    return store, template[1]


def commit_policy(store, path, name, number, inputs, blobs):
    record = policy().model_copy(update={"id": f"policy-{number}", "round": number})
    blobs[f"p{number}"] = store.put_blob(weights(path / "scratch", f"weights {number}"))
    made = stage(name, f"p{number}", round=number, inputs=inputs)
    return store.commit(made, "policy", {"policy": [record]}, blobs[f"p{number}"])


def left(store, blobs) -> set[str]:
    return {name for name, digest in blobs.items() if (store.path / "blobs" / digest).is_dir()}


def test_a_finished_run_keeps_best_and_last(tmp_path, grown):
    store, blobs = grown
    planned = store.prune(dry_run=True)
    assert left(store, blobs) == set(blobs)
    with store.writer("test"):
        done = store.prune()
    assert (planned.removed, planned.kept) == (done.removed, done.kept)
    assert (planned.dry_run, done.dry_run) == (True, False)
    assert left(store, blobs) == {"p1", "p4", "s4"}
    assert len(done.removed) == 6
    assert done.bytes_freed == 6 * 9
    assert {use.blob: use.reasons for use in done.kept} == {
        blobs["p1"]: ("best of r1",), blobs["p4"]: ("last of r1",), blobs["s4"]: ("last of r1",),
    }  # fmt: skip
    assert store.query("SELECT count(*) FROM policy")[0][0].as_py() == 5
    with store.writer("test"):
        assert store.prune().removed == ()


def test_pinned_policies_stay_and_keep_narrows(tmp_path, grown):
    store, blobs = grown
    with store.writer("test"):
        assert store.pin("policy-2", "for the paper") == "policy-2"
        store.prune(["last"])
        assert left(store, blobs) == {"p2", "p4", "s4"}
        with pytest.raises(InputError, match=r"'policy-' fits policy-0, policy-1"):
            store.pin("policy-")
        with pytest.raises(InputError, match="fits none"):
            store.pin("nothing")
        with pytest.raises(ConfigError, match="prune can keep best and last, found 'worst'"):
            store.prune(["worst"])
        store.unpin("policy-2")
        with pytest.raises(InputError, match="no pinned policy"):
            store.unpin("policy-2")
        store.prune([])
        assert left(store, blobs) == set()
    assert store.verify() == []


@pytest.mark.parametrize("grown", ["running", "failed", "interrupted"], indirect=True)
def test_an_unfinished_run_keeps_what_it_needs_to_go_on(tmp_path, grown):
    store, blobs = grown
    with store.writer("test"):
        store.prune([])
    # Rounds 3 and 4 made s3, p3, s4, p4 and read p2; round 0 made p0.
    assert left(store, blobs) == {"p0", "p2", "p3", "p4", "s3", "s4"}


def test_a_branch_that_is_unfinished_protects_what_it_shares(tmp_path, grown):
    store, blobs = grown
    with store.writer("test"):
        store.begin_run(run("r2", parent="r1"))
        store.reuse(stage("update", "p2", run_id="r2", round=2), store.find("p2"))
        store.prune()
    assert left(store, blobs) == {"p1", "p2", "p4", "s4"}


def test_pruned_is_no_fault_but_lost_is(tmp_path, grown):
    store, blobs = grown
    with store.writer("test"):
        store.prune()
    assert store.verify() == []
    assert store.find("p2") is None
    last = store.blob(blobs["p4"])
    (last / "weights").unlink()
    last.rmdir()
    (fault,) = store.verify()
    assert f"lost its blob {blobs['p4']}" in fault


def test_a_pruned_policy_that_is_computed_again_counts_as_there(tmp_path, grown):
    store, blobs = grown
    with store.writer("test"):
        store.prune()
        commit_policy(store, tmp_path, "update", 2, {}, {})
        assert store.find("p2").blob == blobs["p2"]
    assert blobs["p2"] not in store.query("SELECT blob FROM pruned")["blob"].to_pylist()
    store.blob(blobs["p2"]).joinpath("weights").write_text("changed")
    assert len(store.verify()) == 1


def test_blobs_that_nothing_names_go_and_others_stay(tmp_path, grown):
    store, _ = grown
    with store.writer("test"):
        orphan = store.put_blob(weights(tmp_path / "scratch", "left behind by a killed run"))
        index = store.put_blob(weights(tmp_path / "scratch", "an index of skills"))
        store.commit(stage("bank"), "bank", {}, index)
        removed = [use for use in store.prune().removed if use.kind == "unreferenced"]
    assert [use.blob for use in removed] == [orphan]
    assert store.blob(index).is_dir()


def test_what_a_kept_blob_refers_to_is_kept(grown, tmp_path):
    store, blobs = grown
    with store.writer("test"):
        write_references(weights(tmp_path / "adapter", "small"), {"base": blobs["p2"]})
        adapter = store.put_blob(tmp_path / "adapter")
        record = policy().model_copy(update={"id": "policy-5", "round": 5})
        store.commit(stage("update", "u5", round=5), "policy", {"policy": [record]}, adapter)
        report = store.prune()
    kept = {use.blob: use.reasons for use in report.kept}
    assert kept[adapter] == ("last of r1",)
    assert kept[blobs["p2"]] == (f"needed by {adapter[:12]}",)
    assert blobs["p3"] in {use.blob for use in report.removed}
    assert store.verify() == []
    shutil.rmtree(store.path / "blobs" / blobs["p2"])
    assert f"blob {adapter} cannot be used: its base, blob {blobs['p2']}, is missing." in store.verify()
