"""Storages, groups and instances, and the rules between them."""

from typing import Any

import pytest

from hotplate.errors import (
    CommandError,
    DuplicateError,
    InUseError,
    NoGroupError,
    NoInstanceError,
    NoStorageError,
    VersionError,
)
from hotplate.kvc.catalog import Catalog
from hotplate.kvc.model import (
    STORAGE_NUMBER_MAX,
    Instance,
    Registration,
    Spec,
    SpecGroup,
    StorageState,
)

STORE: Any = object()  # the catalog never looks into a store


def catalog_with(*storages: str) -> Catalog:
    catalog = Catalog()
    for name in storages:
        add(catalog, name, "ssd" if name.startswith("ssd") else "memory")
    return catalog


def add(catalog: Catalog, name: str, kind: str = "memory") -> None:
    storage = catalog.build_storage(name, kind)
    storage.store = STORE
    catalog.add_storage(storage)


@pytest.fixture
def catalog() -> Catalog:
    made = catalog_with("memory", "ssd")
    made.create_group("default", {})
    return made


def registration(**changes: Any) -> Registration:
    fields: dict[str, Any] = {
        "id": b"llama",
        "group": "default",
        "block_tokens": 16,
        "specs": (Spec("tp0", 100), Spec("tp1", 50)),
    }
    return Registration(**(fields | changes))


# storages


def test_a_storage_gets_a_number_that_finds_it(catalog: Catalog) -> None:
    for storage in catalog.storages.values():
        assert catalog.storage_by_number[storage.number] is storage


def test_a_removed_storages_number_is_reused_as_late_as_possible(catalog: Catalog) -> None:
    add(catalog, "extra")
    freed = catalog.get_storage("extra")
    catalog.remove_storage(freed)
    add(catalog, "next")
    assert catalog.get_storage("next").number != freed.number
    assert catalog.storage_by_number[freed.number] is None


def test_storages_end_at_the_highest_number() -> None:
    catalog = catalog_with(*(f"s{number}" for number in range(STORAGE_NUMBER_MAX + 1)))
    with pytest.raises(CommandError, match="too many storages"):
        catalog.build_storage("more", "memory")


def test_an_existing_storage_name_is_a_duplicate(catalog: Catalog) -> None:
    with pytest.raises(DuplicateError, match="'memory'"):
        catalog.build_storage("memory", "ssd")
    assert catalog.get_storage("memory").type == "memory"


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("", "memory", "0 bytes"),
        ("x" * 513, "memory", "513 bytes"),
        ("a b", "memory", "space"),
        ("a/b", "memory", "slash"),
        ("nfs", "file", "needs a PATH"),
        ("tape", "tape", "unknown storage TYPE 'tape'"),
    ],
)
def test_a_storage_that_cannot_be_is_refused(
    catalog: Catalog, name: str, kind: str, text: str
) -> None:
    with pytest.raises(CommandError, match=text):
        catalog.build_storage(name, kind)
    assert list(catalog.storages) == ["memory", "ssd"]


def test_a_storage_that_is_not_open_cannot_be_entered(catalog: Catalog) -> None:
    with pytest.raises(RuntimeError):
        catalog.add_storage(catalog.build_storage("cold", "memory"))
    assert "cold" not in catalog.storages


def test_a_storage_is_disabled_and_enabled(catalog: Catalog) -> None:
    assert not catalog.set_storage_state("ssd", StorageState.DISABLED).available
    assert catalog.set_storage_state("ssd", StorageState.AVAILABLE).available
    with pytest.raises(NoStorageError, match="'tape'"):
        catalog.set_storage_state("tape", StorageState.DISABLED)


def test_a_storage_that_a_group_names_is_in_use(catalog: Catalog) -> None:
    with pytest.raises(InUseError, match="'default'"):
        catalog.check_storage_removable("ssd", force=False, held_bytes=0)


def test_a_storage_with_blocks_is_in_use(catalog: Catalog) -> None:
    add(catalog, "extra")
    with pytest.raises(InUseError, match="3 bytes"):
        catalog.check_storage_removable("extra", force=False, held_bytes=3)
    catalog.check_storage_removable("extra", force=True, held_bytes=3)


def test_force_takes_a_storage_out_of_groups_that_have_another(catalog: Catalog) -> None:
    catalog.create_group("only", {"storages": ("ssd",)})
    with pytest.raises(InUseError, match="the only one of group 'only'"):
        catalog.check_storage_removable("ssd", force=True, held_bytes=0)
    storage = catalog.check_storage_removable("memory", force=True, held_bytes=0)
    catalog.remove_storage(storage)
    group = catalog.get_group("default")
    assert group.storages == ("ssd",)
    assert group.version == 2


# groups


def test_a_group_starts_with_the_documented_defaults(catalog: Catalog) -> None:
    group = catalog.get_group("default")
    assert (group.storages, group.quota_bytes, group.version) == (("memory", "ssd"), None, 1)
    assert (group.high_watermark, group.low_watermark) == (0.95, 0.85)
    assert (group.ttl_s, group.grace_ms, group.retain_fraction) == (None, 1000, 0.2)
    assert (group.policy, group.tiering, group.map_allowed) == ("hslru", "none", True)


def test_an_update_changes_the_group_that_others_hold(catalog: Catalog) -> None:
    held = catalog.get_group("default")
    catalog.update_group("default", 1, {"quota_bytes": 1000})
    assert (held.quota_bytes, held.version, held.grace_ms) == (1000, 2, 1000)


def test_an_update_of_another_version_is_lost(catalog: Catalog) -> None:
    catalog.update_group("default", 1, {"quota_bytes": 1000})
    with pytest.raises(VersionError, match="has version 2, not 1"):
        catalog.update_group("default", 1, {"quota_bytes": 5})
    assert catalog.get_group("default").quota_bytes == 1000


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"quota_bytes": -1}, "QUOTA -1"),
        ({"type_quotas": {"memory": -5}}, "TYPEQUOTA memory -5"),
        ({"type_quotas": {"tape": 5}}, "'tape'"),
        ({"high_watermark": 0.5, "low_watermark": 0.6}, r"WATERMARKS 0\.5 0\.6"),
        ({"high_watermark": 0.0, "low_watermark": 0.0}, r"WATERMARKS 0\.0 0\.0"),
        ({"high_watermark": 1.1}, r"WATERMARKS 1\.1"),
        ({"low_watermark": -0.1}, r"-0\.1"),
        ({"grace_ms": -1}, "GRACE -1"),
        ({"ttl_s": 0}, "TTL 0"),
        ({"max_blocks": -1}, "MAXBLOCKS -1"),
        ({"retain_fraction": 1.5}, r"RETAIN 1\.5"),
        ({"policy": "clock"}, "unknown POLICY 'clock': one of lru hslru lfu"),
        ({"tiering": "both"}, "TIERING 'both': none, exclusive or inclusive"),
        ({"prefer_type": "memory", "always_type": "ssd"}, "exclude each other"),
        ({"storages": ()}, "at least one"),
        ({"storages": ("memory", "memory")}, "twice"),
    ],
)
def test_a_group_that_cannot_be_is_refused(
    catalog: Catalog, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(CommandError, match=text):
        catalog.create_group("other", options)
    with pytest.raises(CommandError, match=text):
        catalog.update_group("default", 1, options)
    assert list(catalog.groups) == ["default"]
    assert catalog.get_group("default").version == 1


def test_watermarks_of_one_are_allowed(catalog: Catalog) -> None:
    catalog.update_group("default", 1, {"high_watermark": 1.0, "low_watermark": 1.0})


def test_a_group_names_only_storages_that_exist(catalog: Catalog) -> None:
    with pytest.raises(NoStorageError, match="'tape'"):
        catalog.create_group("other", {"storages": ("memory", "tape")})
    assert "other" not in catalog.groups


def test_unknown_groups_and_duplicates_are_named(catalog: Catalog) -> None:
    with pytest.raises(NoGroupError, match="'other'"):
        catalog.update_group("other", 1, {})
    with pytest.raises(DuplicateError, match="'default'"):
        catalog.create_group("default", {"quota_bytes": 5})
    assert catalog.get_group("default").quota_bytes is None


def test_a_group_with_instances_is_in_use(catalog: Catalog) -> None:
    instance, _ = catalog.register(registration(), b"")
    with pytest.raises(InUseError, match="1 instances"):
        catalog.check_group_removable("default", force=False)
    with pytest.raises(InUseError):
        catalog.remove_group(catalog.check_group_removable("default", force=True))
    catalog.remove_instance(instance)
    catalog.remove_group(catalog.check_group_removable("default", force=False))
    assert catalog.groups == {}


# instances


def test_registering_the_same_content_again_answers_the_same_instance(catalog: Catalog) -> None:
    first, is_new = catalog.register(registration(), b"one")
    again, is_new_again = catalog.register(registration(), b"two")
    assert (is_new, is_new_again) == (True, False)
    assert again is first
    assert first.userdata == b"two"


@pytest.mark.parametrize(
    "changes",
    [
        {"block_tokens": 32},
        {"specs": (Spec("tp1", 50), Spec("tp0", 100))},
        {"chained": False},
        {"hash_scheme": "xxh3"},
        {"group": "other"},
        {"spec_groups": (SpecGroup("half", ("tp0",)),)},
    ],
)
def test_registering_other_content_is_a_duplicate(
    catalog: Catalog, changes: dict[str, Any]
) -> None:
    catalog.create_group("other", {})
    instance, _ = catalog.register(registration(), b"one")
    with pytest.raises(DuplicateError, match="'llama'") as caught:
        catalog.register(registration(**changes), b"two")
    assert next(iter(changes)).encode() in caught.value.message
    assert instance.userdata == b"one"
    assert catalog.get_instance(b"llama").registration == registration()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"id": b""}, "0 bytes"),
        ({"id": b"x" * 513}, "513 bytes"),
        ({"block_tokens": 0}, "BLOCKTOKENS 0"),
        ({"specs": ()}, "not 0"),
        ({"specs": tuple(Spec(f"s{i}", 1) for i in range(65))}, "not 65"),
        ({"specs": (Spec("a", 1), Spec("a", 2))}, "'a' is given twice"),
        ({"specs": (Spec("a", 0),)}, "0 bytes"),
        ({"spec_groups": (SpecGroup("g", ("nope",)),)}, "'nope'"),
        ({"spec_groups": (SpecGroup("g", ()),)}, "empty"),
        ({"spec_groups": (SpecGroup("g", ("tp0",)),) * 2}, "'g' is given twice"),
    ],
)
def test_an_instance_that_cannot_be_is_refused(
    catalog: Catalog, changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(CommandError, match=text):
        catalog.register(registration(**changes), b"")
    assert catalog.instances == {}


def test_unknown_groups_and_instances_are_named(catalog: Catalog) -> None:
    with pytest.raises(NoGroupError, match="'other'"):
        catalog.register(registration(group="other"), b"")
    with pytest.raises(NoInstanceError) as caught:
        catalog.get_instance(b"\xff\x00")
    assert b"\xff\x00" in caught.value.message


def test_a_group_takes_no_more_than_its_instances(catalog: Catalog) -> None:
    catalog.update_group("default", 1, {"max_instances": 1})
    catalog.register(registration(), b"")
    catalog.register(registration(), b"")
    with pytest.raises(CommandError, match="MAXINSTANCES"):
        catalog.register(registration(id=b"second"), b"")
    assert list(catalog.instances) == [b"llama"]


def test_an_instance_that_comes_back_has_another_number(catalog: Catalog) -> None:
    first, _ = catalog.register(registration(), b"")
    catalog.remove_instance(first)
    second, is_new = catalog.register(registration(), b"")
    assert is_new
    assert second.number != first.number


def test_an_instance_knows_where_its_specs_lie(catalog: Catalog) -> None:
    specs = (Spec("a", 10), Spec("b", 20), Spec("c", 30))
    made = registration(specs=specs, spec_groups=(SpecGroup("ac", ("a", "c")),))
    instance: Instance = catalog.register(made, b"")[0]
    assert (instance.total_bytes, instance.all_specs) == (60, 0b111)
    assert instance.spec_offsets == (0, 10, 30)
    assert instance.spec_group_masks == {"ac": 0b101}
    assert instance.bytes_of(0b101) == 40
    assert (instance.offset_in(0b101, 2), instance.offset_in(0b111, 2)) == (10, 30)
    shape = instance.shape(0b101, 16)
    assert (shape.payload_bytes, shape.key_bytes, shape.sum_count) == (40, 16, 2)
