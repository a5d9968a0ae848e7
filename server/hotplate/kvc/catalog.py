"""The catalog: which storages, groups and instances exist, and the rules between them.

Owns creation, update and removal of the administrative records, their references (a group names
storages, an instance stands in one group) and the optimistic version of groups. It knows nothing
of blocks: the cache tells it whether a storage or an instance still holds some, and drops them.

Invariants: every storage named by a group exists; every instance's group exists; names are unique
in their kind; `storage_by_number[s.number] is s`. Everything is checked before the first change.
"""

from dataclasses import fields, replace
from typing import Any, Final

from hotplate.errors import (
    CommandError,
    DuplicateError,
    InUseError,
    NoGroupError,
    NoInstanceError,
    NoStorageError,
    VersionError,
)
from hotplate.kvc.model import (
    SPECS_MAX,
    STORAGE_NUMBER_MAX,
    STORAGE_TYPES,
    TIERINGS,
    Group,
    Instance,
    Registration,
    Spec,
    Storage,
    StorageState,
)
from hotplate.kvc.policy import POLICIES
from hotplate.limits import NAME_BYTES_MAX

GROUPS_MAX: Final = 10_000  # records live in memory and LIST names them all in one reply
INSTANCES_MAX: Final = 100_000
KEYS_PER_FILE_MAX: Final = 4096  # a file is removed when the last of its blocks goes
SPEC_GROUPS_MAX: Final = 1024  # of one instance
BLOCK_TOKENS_MAX: Final = 1 << 20
BYTES_MAX: Final = 1 << 62  # sums of sizes stay in a signed 64-bit integer

_GROUP_FIELDS: Final = tuple(item.name for item in fields(Group))


def checked_name(what: str, name: str) -> str:
    """`name` itself, or CommandError: empty, too long, or with characters that break an URI."""
    size = len(name.encode())
    if not 1 <= size <= NAME_BYTES_MAX:
        raise CommandError(f"{what} name of {size} bytes, must be 1..{NAME_BYTES_MAX}")
    if any(character <= " " or character == "\x7f" for character in name):
        raise CommandError(f"{what} name {name!r} holds a space or a control character")
    return name


class Catalog:
    """The records by name."""

    __slots__ = (
        "_next_instance",
        "_next_storage",
        "groups",
        "instances",
        "storage_by_number",
        "storages",
    )

    def __init__(self) -> None:
        self.storages: dict[str, Storage] = {}
        self.groups: dict[str, Group] = {}
        self.instances: dict[bytes, Instance] = {}
        self.storage_by_number: list[Storage | None] = [None] * (STORAGE_NUMBER_MAX + 1)
        self._next_storage = 0
        self._next_instance = 0

    # Storages

    def get_storage(self, name: str) -> Storage:
        """The storage, or NoStorageError."""
        storage = self.storages.get(name)
        if storage is None:
            raise NoStorageError(f"no storage {name!r}")
        return storage

    def build_storage(self, name: str, storage_type: str, **options: Any) -> Storage:
        """A record for a new storage, not entered yet: its store is opened in between."""
        checked_name("storage", name)
        if "/" in name:  # it becomes a part of a path
            raise CommandError(f"storage name {name!r} holds a slash")
        if name in self.storages:
            raise DuplicateError(f"storage {name!r} exists")
        if storage_type not in STORAGE_TYPES:
            raise CommandError(f"unknown storage TYPE {storage_type!r}")
        storage = Storage(self._free_storage_number(), name, storage_type, **options)
        check_storage_options(storage)
        return storage

    def _free_storage_number(self) -> int:
        """The next number in turn, so that a freed one is reused as late as possible."""
        count = len(self.storage_by_number)
        for step in range(count):
            number = (self._next_storage + step) % count
            if self.storage_by_number[number] is None:
                return number
        raise CommandError(f"too many storages: {count} exist")

    def add_storage(self, storage: Storage) -> None:
        """Enter a storage that `build_storage` made and that is open now."""
        storage.opened()
        if storage.name in self.storages or self.storage_by_number[storage.number] is not None:
            raise DuplicateError(f"storage {storage.name!r} exists")
        self.storages[storage.name] = storage
        self.storage_by_number[storage.number] = storage
        self._next_storage = (storage.number + 1) % len(self.storage_by_number)

    def set_storage_state(self, name: str, state: StorageState) -> Storage:
        """Enable (AVAILABLE) or disable; the caller tells the cache. It may be failing still."""
        storage = self.get_storage(name)
        storage.enabled = state is not StorageState.DISABLED
        return storage

    def groups_using(self, storage: Storage) -> list[Group]:
        """The groups that name the storage as a candidate."""
        return [group for group in self.groups.values() if storage.name in group.storages]

    def check_storage_removable(self, name: str, *, force: bool, held_bytes: int) -> Storage:
        """The storage if it may go: nothing refers to it, or `force`. Changes nothing."""
        storage = self.get_storage(name)
        users = self.groups_using(storage)
        for group in users:
            if not force:
                raise InUseError(f"storage {name!r} is used by group {group.name!r}")
            if len(group.storages) == 1:
                raise InUseError(f"storage {name!r} is the only one of group {group.name!r}")
        if held_bytes and not force:
            raise InUseError(f"storage {name!r} holds {held_bytes} bytes of blocks")
        return storage

    def remove_storage(self, storage: Storage) -> None:
        """Take a storage out, and out of the groups that name it. Its copies are gone already."""
        for group in self.groups_using(storage):
            group.storages = tuple(item for item in group.storages if item != storage.name)
            group.version += 1
        del self.storages[storage.name]
        self.storage_by_number[storage.number] = None

    # Groups

    def get_group(self, name: str) -> Group:
        """The group, or NoGroupError."""
        group = self.groups.get(name)
        if group is None:
            raise NoGroupError(f"no group {name!r}")
        return group

    def create_group(self, name: str, options: dict[str, Any]) -> Group:
        """A new group; `options` are fields of Group. Its version is 1."""
        checked_name("group", name)
        if name in self.groups:
            raise DuplicateError(f"group {name!r} exists")
        if len(self.groups) >= GROUPS_MAX:
            raise CommandError(f"too many groups: {GROUPS_MAX} exist")
        group = Group(**{"storages": ("memory", "ssd"), **options, "name": name})
        self.check_group(group)
        self.groups[name] = group
        return group

    def update_group(self, name: str, version: int, options: dict[str, Any]) -> Group:
        """Change some fields if `version` is the current one; the version then goes up by one."""
        group = self.get_group(name)
        if version != group.version:
            raise VersionError(f"group {name!r} has version {group.version}, not {version}")
        changed = replace(group, **options)
        self.check_group(changed)
        for field_name in _GROUP_FIELDS:
            setattr(group, field_name, getattr(changed, field_name))
        group.version = version + 1
        return group

    def check_group(self, group: Group) -> None:
        """CommandError unless every field makes sense alone and beside the others."""
        if not group.storages:
            raise CommandError("STORAGES must name at least one storage")
        if len(set(group.storages)) != len(group.storages):
            raise CommandError(f"STORAGES names a storage twice: {' '.join(group.storages)}")
        for name in group.storages:
            self.get_storage(name)
        sizes = {"QUOTA": group.quota_bytes, "GRACE": group.grace_ms, "TTL": group.ttl_s}
        sizes |= {"MAXBLOCKS": group.max_blocks, "MAXINSTANCES": group.max_instances}
        sizes |= {"MAXSESSIONS": group.max_sessions}
        sizes |= {f"TYPEQUOTA {kind}": size for kind, size in group.type_quotas.items()}
        for what, size in sizes.items():
            if size is not None and not 0 <= size <= BYTES_MAX:
                raise CommandError(f"{what} {size} is out of range")
        if group.ttl_s == 0:
            raise CommandError("TTL 0 is out of range")
        self._check_group_choices(group)

    def _check_group_choices(self, group: Group) -> None:
        high, low = group.high_watermark, group.low_watermark
        if not (0 < high <= 1 and 0 <= low <= high):
            raise CommandError(f"WATERMARKS {high} {low}: need 0 < high <= 1, 0 <= low <= high")
        if not 0 <= group.retain_fraction <= 1:
            raise CommandError(f"RETAIN {group.retain_fraction} is not within 0..1")
        for kind in (*group.type_quotas, group.prefer_type, group.always_type):
            if kind is not None and kind not in STORAGE_TYPES:
                raise CommandError(f"unknown storage type {kind!r}")
        if group.prefer_type and group.always_type:
            raise CommandError("PREFER and ALWAYS exclude each other")
        if group.policy not in POLICIES:
            raise CommandError(f"unknown POLICY {group.policy!r}: one of {' '.join(POLICIES)}")
        if group.tiering not in TIERINGS:
            raise CommandError(f"TIERING {group.tiering!r}: none, exclusive or inclusive")

    def instances_of(self, group: Group) -> list[Instance]:
        """The instances registered in a group."""
        return [item for item in self.instances.values() if item.group is group]

    def check_group_removable(self, name: str, *, force: bool) -> Group:
        """The group if it may go: it has no instance, or `force`. Changes nothing."""
        group = self.get_group(name)
        if not force:
            count = len(self.instances_of(group))
            if count:
                raise InUseError(f"group {name!r} has {count} instances")
        return group

    def remove_group(self, group: Group) -> None:
        """Take a group out that has no instances any more."""
        if self.instances_of(group):
            raise InUseError(f"group {group.name!r} has instances")
        del self.groups[group.name]

    # Instances

    def get_instance(self, instance_id: bytes) -> Instance:
        """The instance, or NoInstanceError."""
        instance = self.instances.get(instance_id)
        if instance is None:
            raise NoInstanceError(b"no instance '%b'" % instance_id)
        return instance

    def register(self, registration: Registration, userdata: bytes) -> tuple[Instance, bool]:
        """The instance, and whether it is new. Equal content answers again, other is a duplicate.

        Of an instance that exists only USERDATA is taken over.
        """
        check_registration(registration)
        group = self.get_group(registration.group)
        existing = self.instances.get(registration.id)
        if existing is not None:
            if existing.registration != registration:
                different = _first_difference(existing.registration, registration)
                raise DuplicateError(
                    b"instance '%b' is registered with other content: %b"
                    % (registration.id, different.encode())
                )
            existing.userdata = userdata
            return existing, False
        count = len(self.instances_of(group)) if group.max_instances is not None else 0
        if group.max_instances is not None and count >= group.max_instances:
            raise CommandError(f"group {group.name!r} has MAXINSTANCES {count} instances")
        if len(self.instances) >= INSTANCES_MAX:
            raise CommandError(f"too many instances: {INSTANCES_MAX} exist")
        instance = Instance(self._next_instance, group, registration, userdata)
        self._next_instance += 1
        self.instances[registration.id] = instance
        return instance, True

    def enter_instance(self, instance: Instance) -> None:
        """Enter an instance that was registered before a restart."""
        self.instances[instance.id] = instance
        self._next_instance = max(self._next_instance, instance.number + 1)

    def remove_instance(self, instance: Instance) -> None:
        """Take an instance out; its blocks are dropped already."""
        del self.instances[instance.id]


def check_storage_options(storage: Storage) -> None:
    """CommandError for a size that cannot be."""
    for what, size in (("CAPACITY", storage.capacity_bytes), ("SEGMENT", storage.segment_bytes)):
        if size is not None and not 1 <= size <= BYTES_MAX:
            raise CommandError(f"{what} {size} is out of range")
    if storage.type == "file":
        if storage.path is None:
            raise CommandError("a storage of TYPE file needs a PATH, which engines mount too")
        if storage.segment_bytes is not None:
            raise CommandError("SEGMENT does not go with TYPE file, which has no segments")
        keys_per_file = 1 if storage.keys_per_file is None else storage.keys_per_file
        if not 1 <= keys_per_file <= KEYS_PER_FILE_MAX:
            raise CommandError(f"KEYSPERFILE {keys_per_file} must be 1..{KEYS_PER_FILE_MAX}")
    elif storage.keys_per_file is not None:
        raise CommandError("KEYSPERFILE goes with TYPE file only")
    if storage.options:
        raise CommandError(f"unknown storage option {next(iter(storage.options))!r}")


def check_registration(registration: Registration) -> None:
    """CommandError unless the content of an instance makes sense by itself."""
    size = len(registration.id)
    if not 1 <= size <= NAME_BYTES_MAX:
        raise CommandError(f"instance id of {size} bytes, must be 1..{NAME_BYTES_MAX}")
    if not 1 <= registration.block_tokens <= BLOCK_TOKENS_MAX:
        raise CommandError(f"BLOCKTOKENS {registration.block_tokens} is out of range")
    _check_specs(registration.specs)
    names = {spec.name for spec in registration.specs}
    if len(registration.spec_groups) > SPEC_GROUPS_MAX:
        raise CommandError(f"too many spec groups, at most {SPEC_GROUPS_MAX}")
    seen: set[str] = set()
    for group in registration.spec_groups:
        checked_name("spec group", group.name)
        if group.name in seen:
            raise CommandError(f"SPECGROUP {group.name!r} is given twice")
        seen.add(group.name)
        if not group.specs or len(set(group.specs)) != len(group.specs):
            raise CommandError(f"SPECGROUP {group.name!r} is empty or names a spec twice")
        for name in group.specs:
            if name not in names:
                raise CommandError(f"SPECGROUP {group.name!r} names the unknown spec {name!r}")
    deployment = registration.deployment
    for what, ranks in (("TP", deployment.tp), ("DP", deployment.dp), ("PP", deployment.pp)):
        if not 1 <= ranks <= BLOCK_TOKENS_MAX:
            raise CommandError(f"{what} {ranks} is out of range")


def _check_specs(specs: tuple[Spec, ...]) -> None:
    if not 1 <= len(specs) <= SPECS_MAX:
        raise CommandError(f"an instance has 1..{SPECS_MAX} specs, not {len(specs)}")
    seen: set[str] = set()
    for spec in specs:
        checked_name("spec", spec.name)
        if spec.name in seen:
            raise CommandError(f"SPEC {spec.name!r} is given twice")
        seen.add(spec.name)
        if not 1 <= spec.size_bytes <= BYTES_MAX >> 8:
            raise CommandError(f"SPEC {spec.name!r} of {spec.size_bytes} bytes is out of range")


def _first_difference(old: Registration, new: Registration) -> str:
    for item in fields(Registration):
        before, after = getattr(old, item.name), getattr(new, item.name)
        if before != after:
            return f"{item.name} is {before!r}, not {after!r}"
    raise AssertionError("equal registrations differ in nothing")
