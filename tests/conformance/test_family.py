"""Families: parents, children, siblings, roots, and how deep they go."""

from typing import Any

import pytest

from spane_otel.errors import ExecutionExistsError, InvalidValueError
from spane_otel.records import Stamp
from spane_otel.state import Family
from spane_otel.stores.protocols import Store
from tests.conformance.loading import load_execution
from tests.conformance.subjects import Subject
from tests.rows import batch, root


async def make_family(subject: Subject) -> None:
    """Top has the children a, b, c in this order; b has the child d."""
    store = subject.store
    for execution_id, parent in (("top", None), ("c", "top"), ("a", "top"), ("b", "top"), ("d", "b")):
        await store.create_execution("order", parent, execution_id=execution_id)
        await subject.wait(0.002)


async def test_children_come_oldest_first(subject: Subject) -> None:
    await make_family(subject)
    store = subject.store
    assert [each.execution_id for each in await store.get_child_executions("top")] == ["c", "a", "b"]
    assert await store.get_child_executions("d") == []
    (only,) = await store.get_child_executions("b")
    assert only == await load_execution(store, "d")


async def test_children_of_one_moment_are_ordered_by_their_ids(store: Store) -> None:
    ids = ["B", "a", "é", "😀", "10", "9"]
    stamp = Stamp(workflow_id="order", parent_execution_id="top")
    await store.write(batch(root("top"), *(root(each, start=5, stamp=stamp) for each in ids)))
    assert [each.execution_id for each in await store.get_child_executions("top")] == sorted(ids)


async def test_a_parent_is_found_while_it_is_there(subject: Subject) -> None:
    await make_family(subject)
    store = subject.store
    assert await store.get_parent_execution("d") == await load_execution(store, "b")
    assert await store.get_parent_execution("top") is None
    await store.delete_execution("b")
    assert await store.get_parent_execution("d") is None
    assert (await load_execution(store, "d")).parent_execution_id == "b"


async def test_a_family_is_root_parent_children_and_siblings(subject: Subject) -> None:
    await make_family(subject)
    store = subject.store
    top, a, b, c, d = [await load_execution(store, each) for each in ("top", "a", "b", "c", "d")]
    assert await store.get_execution_family("b") == Family(root=top, parent=top, children=(d,), siblings=(c, a))
    assert await store.get_execution_family("d") == Family(root=top, parent=b)
    assert await store.get_execution_family("top") == Family(root=top, children=(c, a, b))


async def test_an_execution_alone_is_its_own_root(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    assert await store.get_execution_family("e") == Family(root=await load_execution(store, "e"))


async def test_a_family_whose_root_is_gone_has_none(subject: Subject) -> None:
    await make_family(subject)
    store = subject.store
    await store.delete_execution("top")
    family = await store.get_execution_family("d")
    assert (family.root, family.parent) == (None, await load_execution(store, "b"))
    family = await store.get_execution_family("b")
    assert (family.root, family.parent) == (None, None)
    assert [each.execution_id for each in family.siblings] == ["c", "a"]


async def test_an_unknown_execution_has_no_family(store: Store) -> None:
    await store.create_execution("order", "nobody", execution_id="e")
    for unknown in ("unknown", "", "a\0b", "\ud800"):
        assert await store.get_execution_family(unknown) == Family()
        assert await store.get_child_executions(unknown) == []
        assert await store.get_parent_execution(unknown) is None


async def test_depth_and_root_follow_the_parent(store: Store) -> None:
    parent: str | None = None
    for depth in range(11):
        parent = await store.create_execution("order", parent, execution_id=f"e{depth}")
        execution = await load_execution(store, parent)
        assert (execution.depth, execution.root_execution_id) == (depth, "e0")


async def test_a_depth_that_is_given_is_kept_and_the_root_is_still_the_parents(store: Store) -> None:
    await store.create_execution("order", execution_id="top")
    await store.create_execution("order", "top", 7, execution_id="e")
    execution = await load_execution(store, "e")
    assert (execution.depth, execution.root_execution_id) == (7, "top")


async def test_without_a_parent_there_is_no_depth(store: Store) -> None:
    await store.create_execution("order", None, 4, execution_id="e")
    execution = await load_execution(store, "e")
    assert (execution.depth, execution.parent_execution_id, execution.root_execution_id) == (0, None, "e")


async def test_deeper_than_ten_is_refused_before_anything_is_written(store: Store) -> None:
    parent: str | None = None
    for depth in range(11):
        parent = await store.create_execution("order", parent, execution_id=f"e{depth}")
    too_deep: list[tuple[Any, ...]] = [
        ("order", "e10"),
        ("order", "e3", 11),
        ("order", "gone", 11),
        ("order", None, 11),
    ]
    for arguments in too_deep:
        with pytest.raises(InvalidValueError) as refused:
            await store.create_execution(*arguments, execution_id="deeper")
        assert refused.value.reason == "depth"
        assert "10" in str(refused.value)
    assert await store.get_execution("deeper") is None
    assert await store.get_execution_count() == 11


async def test_a_child_follows_the_depth_of_a_parent_that_was_made_from_spans(store: Store) -> None:
    stamp = Stamp(workflow_id="order", parent_execution_id="x", root_execution_id="far", depth=4)
    await store.write(batch(root("parent", stamp=stamp)))
    await store.create_execution("order", "parent", execution_id="e")
    execution = await load_execution(store, "e")
    assert (execution.depth, execution.root_execution_id) == (5, "far")
    family = await store.get_execution_family("e")
    assert (family.root, family.parent) == (None, await load_execution(store, "parent"))


async def test_making_a_child_again_after_its_parent_is_there_changes_nothing(store: Store) -> None:
    """However deep the parent turned out to be: what was made was made."""
    await store.create_execution("order", "top", execution_id="e")
    held = await load_execution(store, "e")
    await store.create_execution("order", "x", 10, execution_id="top")
    await store.create_execution("order", "top", execution_id="e")
    assert await load_execution(store, "e") == held
    with pytest.raises(ExecutionExistsError):
        await store.create_execution("other", "top", execution_id="e")
